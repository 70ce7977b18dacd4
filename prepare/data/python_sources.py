"""Python sources that are installed on this machine: a corpus that needs no network.

Only packages that no sandbox mounts are taken. A candidate can read the interpreter's library, /usr and the installed
packages of the environment that the search runs in, and what it can read is never data. So a package counts by its
name: what exists in a mounted folder under the same name, in whatever version, is left out, and so is every file that
is the same as a mounted one but for layout (packages carry copies of each other).

Whole files go into one split, a file that is in several environments or versions once. A file of an evaluation split
of which more than half of the telling lines stand in training files, or in another evaluation split, is left out.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prepare.data.copies import is_near_copy, lines, trace
from prepare.data.corpora import EVALUATION, SPLITS, CachedCorpus, PreparationError, Splits, cache_directory

_PLACES = (
    "~/.local/lib", "~/.local/share/*", "~/.virtualenvs/*", "~/.venv", "~/venv", "~/.cache/uv", "~/.pyenv/versions/*",
    "~/anaconda3", "~/anaconda3/envs/*", "~/miniconda3", "~/miniconda3/envs/*", "~/miniforge3", "~/miniforge3/envs/*",
    "/opt/*", "/opt/conda/envs/*", "/srv/*",
)  # fmt: skip
"""Where virtual environments, conda environments and caches of packages usually are."""
_PACKAGES = ("site-packages", "dist-packages")
_SMALLEST, _LARGEST = 200, 1_000_000
"""Bytes of a file: less says nothing, more is a table."""


@dataclass(frozen=True)
class PythonSources(CachedCorpus):
    """``.py`` files of the packages below ``roots``, or below the usual places."""

    roots: Sequence[str] | None = None
    least_mb: float = 50.0
    evaluation_mb: float = 10.0
    name: str = "python"
    forbidden_packages: tuple[str, ...] = ()

    def directory(self) -> Path:
        return self._directory

    def locations(self) -> tuple[Path, ...]:
        """The copies, and the folders that they were taken from: none of them may be mounted."""
        return (self.directory(), *self._folders)

    @cached_property
    def _directory(self) -> Path:
        """By where was looked, and how it is split: what was found there at first is kept."""
        facts = repr((sorted(map(str, self._roots())), float(self.evaluation_mb))).encode()
        return cache_directory() / f"{self.name}-{hashlib.sha256(facts).hexdigest()[:12]}"

    def _roots(self) -> tuple[Path, ...]:
        if self.roots is None:
            return tuple(root for place in _PLACES for root in _matching(place))
        if isinstance(self.roots, str):
            raise PreparationError(f"data.roots is {self.roots!r}; expected a list: 'data.roots=[{self.roots}]'")
        missing = [root for root in self.roots if not Path(root).expanduser().is_dir()]
        if missing:
            raise PreparationError(f"data.roots names {missing[0]!r}, which is no folder")
        return tuple(Path(root).expanduser().resolve() for root in self.roots)

    @cached_property
    def _folders(self) -> tuple[Path, ...]:
        """Folders of packages below the roots that no sandbox mounts."""
        mounted = mounted_folders()
        found = dict.fromkeys(folder.resolve() for root in self._roots() for folder in _package_folders(root))
        return tuple(folder for folder in found if not any(_inside(folder, place) for place in mounted))

    def _read(self) -> Splits:
        names, traces = _mounted_packages(mounted_folders())
        texts: dict[str, bytes] = {}
        for name, path in _files(self._folders, names):
            text = _text(path)
            if text is not None and name not in texts and (mark := trace(text)) not in traces:
                traces.add(mark)
                texts[name] = text
        self._refuse_little(texts)
        return _dealt(texts, self.evaluation_mb * 1e6)

    def _refuse_little(self, texts: dict[str, bytes]) -> None:
        size = sum(map(len, texts.values())) / 1e6
        if size >= self.least_mb and len(texts) >= 40:
            return
        looked = ", ".join(map(str, self._folders[:6])) or "none of the usual places holds any packages"
        raise PreparationError(
            f"data=python found {size:.1f} MB of Python sources in {len(texts):,} files that no sandbox mounts; "
            f"{self.least_mb:g} MB are wanted (data.least_mb). Looked in: {looked}. Packages that are also installed "
            f"in {sys.prefix} or in the interpreter's library do not count, since candidates can read them there. To "
            "have more, put packages into a folder of their own, which nothing mounts, and name it:\n"
            "  pip install --no-deps --target ~/python-sources PACKAGE ...    (such as django sqlalchemy twisted)\n"
            "  python -m prepare task=gpt data=python 'data.roots=[~/python-sources]'\n"
            "Or choose other text: data=folder data.path=FOLDER, or data=climbmix with a network."
        )


def mounted_folders() -> tuple[Path, ...]:
    """What a sandbox of this process shows. The evaluator looks again, and refuses a corpus that lies in there."""
    paths = sysconfig.get_paths()
    places = ["/usr", "/lib", "/lib64", "/bin", sys.base_prefix, paths["stdlib"], paths["purelib"], paths["platlib"]]
    return tuple(dict.fromkeys(Path(place).resolve() for place in places if Path(place).is_dir()))


def _matching(place: str) -> Iterator[Path]:
    path = Path(place).expanduser()
    anchor = Path(path.anchor)
    yield from (found.resolve() for found in sorted(anchor.glob(str(path.relative_to(anchor)))) if found.is_dir())


def _package_folders(root: Path) -> Iterator[Path]:
    """Every ``site-packages`` below a root; the root itself where it holds packages directly."""
    found = [folder for name in _PACKAGES for folder in sorted(root.glob(f"**/{name}")) if folder.is_dir()]
    yield from found
    if not found and any(root.glob("*/__init__.py")):
        yield root


def _inside(folder: Path, place: Path) -> bool:
    return folder.is_relative_to(place)


def _package(path: Path) -> str:
    """The name of the package or module that a file at this place below a folder of packages belongs to."""
    return path.parts[0].removesuffix(".py").lower()


def _mounted_packages(mounted: Iterable[Path]) -> tuple[set[str], set[bytes]]:
    """Names of packages and modules, and traces of files, that a candidate can read: wherever below these folders."""
    names, traces = set(sys.stdlib_module_names) | set(sys.builtin_module_names), set[bytes]()
    library = Path(sysconfig.get_paths()["stdlib"]).resolve()
    places = set(mounted)
    for place in places:
        if any(other != place and _inside(place, other) for other in places):
            continue  # it is read with that one
        for path in place.glob("**/*.py"):
            if (packages := _packages_around(path, library)) is not None:
                names.add(_package(path.relative_to(packages)))
            if (text := _text(path)) is not None:
                traces.add(trace(text))
    return {name.lower() for name in names}, traces


def _packages_around(path: Path, library: Path) -> Path | None:
    """The folder of packages that a file lies in; None for one that can only be read as a file."""
    folder = next((parent for parent in path.parents if parent.name in _PACKAGES), None)
    return library if folder is None and _inside(path, library) else folder


def _files(folders: Iterable[Path], without: set[str]) -> Iterator[tuple[str, Path]]:
    """(place below its folder, path) of sources; one place may come again, from another environment."""
    for folder in folders:
        for path in sorted(folder.glob("**/*.py")):
            place = path.relative_to(folder)
            if _package(place) not in without and not any(part in _PACKAGES for part in place.parts):
                yield place.as_posix(), path


def _text(path: Path) -> bytes | None:
    """A source as UTF-8; None for what is none, or too small or too large."""
    try:
        if path.is_symlink() or not _SMALLEST <= path.stat().st_size <= _LARGEST:
            return None
        text = path.read_bytes()
        text.decode()
    except (OSError, UnicodeDecodeError):
        return None
    return text


def _dealt(texts: dict[str, bytes], most: float) -> Splits:
    """By the hash of their names: a tenth to each evaluation split, at most ``most`` bytes, the rest to training."""
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
    """Leave out files of the evaluation splits that are much like training files, or like those of a split before."""
    known = {line for _, text in splits["train"] for line in lines(text)}
    for split in EVALUATION:
        own: set[int] = set()
        kept = []
        for name, text in splits[split]:
            found = lines(text)
            if not is_near_copy(found, known):
                kept.append((name, text))
                own |= found
        splits[split] = kept
        known |= own
    return splits
