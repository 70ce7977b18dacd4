"""Python sources that are installed on this machine: a corpus that needs no network.

Only packages that no sandbox mounts are used. A candidate can read the interpreter's library, /usr and the installed
packages of the environment that the search runs in, so their text cannot be evaluation data. A package is left out if
a mounted folder has one of the same name, in any version, and so is every file that differs from a mounted file in
layout only (packages carry copies of each other).

Each file belongs to one split; one that exists in several environments or versions is used once. A file of an
evaluation split is left out if more than half of its longer lines occur in training files or in another evaluation
split.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prepare.data.copies import is_near_copy, line_hashes, text_digest
from prepare.data.corpora import EVALUATION, SPLITS, CachedCorpus, PreparationError, Splits, cache_directory

_PLACES = (
    "~/.local/lib", "~/.local/share/*", "~/.virtualenvs/*", "~/.venv", "~/venv", "~/.cache/uv", "~/.pyenv/versions/*",
    "~/anaconda3", "~/anaconda3/envs/*", "~/miniconda3", "~/miniconda3/envs/*", "~/miniforge3", "~/miniforge3/envs/*",
    "/opt/*", "/opt/conda/envs/*", "/srv/*",
)  # fmt: skip
"""Usual places of virtual environments, conda environments and package caches."""
_PACKAGES = ("site-packages", "dist-packages")
_SMALLEST, _LARGEST = 200, 1_000_000
"""Bytes of a file: smaller ones have little content, larger ones are usually tables."""


@dataclass(frozen=True)
class PythonSources(CachedCorpus):
    """Corpus of the ``.py`` files of packages below ``roots``, by default the usual places."""

    roots: Sequence[str] | None = None
    least_mb: float = 50.0
    evaluation_mb: float = 10.0
    name: str = "python"
    forbidden_packages: tuple[str, ...] = ()

    def directory(self) -> Path:
        return self._directory

    def locations(self) -> tuple[Path, ...]:
        """Return the cache and the original folders; no sandbox may mount either."""
        return (self.directory(), *self._folders)

    @cached_property
    def _directory(self) -> Path:
        """The cache folder, named by the roots and the size of the splits: the files first found there are kept."""
        facts = repr((sorted(map(str, self._roots())), float(self.evaluation_mb))).encode()
        return cache_directory() / f"{self.name}-{hashlib.sha256(facts).hexdigest()[:12]}"

    def _roots(self) -> tuple[Path, ...]:
        if self.roots is None:
            return tuple(root for place in _PLACES for root in _matching(place))
        if isinstance(self.roots, str):
            raise PreparationError(f"data.roots is {self.roots!r}; expected a list: 'data.roots=[{self.roots}]'")
        missing = [root for root in self.roots if not Path(root).expanduser().is_dir()]
        if missing:
            found = Path(missing[0]).expanduser().absolute()
            raise PreparationError(f"data.roots names {missing[0]!r}, and {found} is not a folder; give absolute paths")
        return tuple(Path(root).expanduser().resolve() for root in self.roots)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        """Folders with packages below the roots that no sandbox mounts."""
        mounted = mounted_folders()
        found = dict.fromkeys(folder.resolve() for root in self._roots() for folder in _package_folders(root))
        return tuple(folder for folder in found if not any(_inside(folder, place) for place in mounted))

    def _read(self) -> Splits:
        names, digests = _mounted_packages(mounted_folders())
        texts: dict[str, bytes] = {}
        for name, path in _files(self._folders, names):
            text = _text(path)
            if text is not None and name not in texts and (digest := text_digest(text)) not in digests:
                digests.add(digest)
                texts[name] = text
        self._require_enough(texts)
        return _split(texts, self.evaluation_mb * 1e6)

    def _require_enough(self, texts: dict[str, bytes]) -> None:
        size = sum(map(len, texts.values())) / 1e6
        if size >= self.least_mb and len(texts) >= 40:
            return
        searched = ", ".join(map(str, self._folders[:6])) or "no packages in the usual places"
        raise PreparationError(
            f"data=python found {size:.1f} MB of Python sources in {len(texts):,} files that no sandbox mounts; "
            f"at least {self.least_mb:g} MB are needed (data.least_mb). Searched: {searched}. Packages that are also "
            f"installed in {sys.prefix} or in the interpreter's library are left out, since candidates can read them. "
            "To add more, install packages into a folder of their own, which no sandbox mounts, and name it:\n"
            "  pip install --no-deps --target ~/python-sources PACKAGE ...    (such as django sqlalchemy twisted)\n"
            "  python -m prepare task=gpt data=python 'data.roots=[~/python-sources]'\n"
            "Or choose another corpus: data=folder data.path=FOLDER, or (with a network) data=climbmix."
        )


def mounted_folders() -> tuple[Path, ...]:
    """Return the folders that a sandbox of this process mounts. (The evaluator also refuses a corpus inside them.)"""
    paths = sysconfig.get_paths()
    places = ["/usr", "/lib", "/lib64", "/bin", sys.base_prefix, paths["stdlib"], paths["purelib"], paths["platlib"]]
    return tuple(dict.fromkeys(Path(place).resolve() for place in places if Path(place).is_dir()))


def _matching(place: str) -> Iterator[Path]:
    path = Path(place).expanduser()
    anchor = Path(path.anchor)
    yield from (found.resolve() for found in sorted(anchor.glob(str(path.relative_to(anchor)))) if found.is_dir())


def _package_folders(root: Path) -> Iterator[Path]:
    """Yield every ``site-packages`` folder below a root, or the root itself if it holds packages directly."""
    found = [folder for name in _PACKAGES for folder in sorted(root.glob(f"**/{name}")) if folder.is_dir()]
    yield from found
    if not found and any(root.glob("*/__init__.py")):
        yield root


def _inside(folder: Path, place: Path) -> bool:
    return folder.is_relative_to(place)


def _package(path: Path) -> str:
    """Return the package or module of a file, given by its path below a folder of packages."""
    return path.parts[0].removesuffix(".py").lower()


def _mounted_packages(mounted: Iterable[Path]) -> tuple[set[str], set[bytes]]:
    """Return names of packages and modules, and digests of files, below the mounted folders."""
    names, digests = set(sys.stdlib_module_names) | set(sys.builtin_module_names), set[bytes]()
    library = Path(sysconfig.get_paths()["stdlib"]).resolve()
    places = set(mounted)
    for place in places:
        if any(other != place and _inside(place, other) for other in places):
            continue  # it lies inside another mounted folder
        for path in place.glob("**/*.py"):
            if (packages := _packages_around(path, library)) is not None:
                names.add(_package(path.relative_to(packages)))
            if (text := _text(path)) is not None:
                digests.add(text_digest(text))
    return {name.lower() for name in names}, digests


def _packages_around(path: Path, library: Path) -> Path | None:
    """Return the folder of packages that a file lies in; None if it belongs to no package."""
    folder = next((parent for parent in path.parents if parent.name in _PACKAGES), None)
    return library if folder is None and _inside(path, library) else folder


def _files(folders: Iterable[Path], without: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield (path below its folder, path) of sources; the same relative path may occur in several environments."""
    for folder in folders:
        for path in sorted(folder.glob("**/*.py")):
            place = path.relative_to(folder)
            if _package(place) not in without and not any(part in _PACKAGES for part in place.parts):
                yield place.as_posix(), path


def _text(path: Path) -> bytes | None:
    """Return a source file's bytes; None if it is not UTF-8, too small or too large."""
    try:
        if path.is_symlink() or not _SMALLEST <= path.stat().st_size <= _LARGEST:
            return None
        text = path.read_bytes()
        text.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text


def _split(texts: dict[str, bytes], most: float) -> Splits:
    """Split files by the hash of their names: a tenth, at most ``most`` bytes, to each evaluation split."""
    order = sorted(texts, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest())
    share = min(most, sum(map(len, texts.values())) / 10)
    splits: Splits = {split: [] for split in SPLITS}
    rest = iter(order)
    for split in EVALUATION:
        size = 0
        while size < share and (name := next(rest, None)) is not None:
            splits[split].append((name, texts[name]))
            size += len(texts[name])
    splits["train"] = [(name, texts[name]) for name in rest]
    return _without_near_copies(splits)


def _without_near_copies(splits: Splits) -> Splits:
    """Drop files of evaluation splits that are near-copies of files in the training split or an earlier split."""
    known = {line for _, text in splits["train"] for line in line_hashes(text)}
    for split in EVALUATION:
        own: set[int] = set()
        kept = []
        for name, text in splits[split]:
            found = line_hashes(text)
            if not is_near_copy(found, known):
                kept.append((name, text))
                own |= found
        splits[split] = kept
        known |= own
    return splits
