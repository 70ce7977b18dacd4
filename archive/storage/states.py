"""States of a claim's trainings, as files beside the archive until the verdict: ``treewright.duckdb.states/``.

The folder is readable by its owner alone. A file that does not have the hash of its row is not used. An archive in
memory has a temporary folder.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from archive.errors import ArchiveError
from archive.records import sha256


class States:
    """The files of one archive."""

    def __init__(self, archive: Path) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="states-") if str(archive) == ":memory:" else None
        self._folder = Path(f"{archive}.states" if self._temporary is None else self._temporary.name)

    def keep(self, run: str, move: int, state: bytes) -> str:
        """Write the state of a move; return its SHA-256. After a kill the file is complete or absent."""
        path = self._path(run, move)
        unfinished = path.with_suffix(".part")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with open(unfinished, "wb", opener=_for_owner) as file:
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            raise ArchiveError(
                f"cannot keep the state of a training ({len(state):,} bytes) in {self._folder}: {error}. Nothing "
                "recorded is lost: fix this, then resume the search with run=NAME"
            ) from error
        return hashlib.sha256(state).hexdigest()

    def read(self, run: str, move: int, size: int, sha: str) -> bytes | None:
        """Return the state of a move; None if the file is missing, or has another content than was written."""
        try:
            with open(self._path(run, move), "rb") as file:
                state = file.read(size + 1)
        except OSError:
            return None
        return state if hashlib.sha256(state).hexdigest() == sha else None

    def drop(self, run: str, kept: Collection[int]) -> None:
        """Remove the files of a run but for those of the moves ``kept``."""
        names = {self._path(run, move).name for move in kept}
        for path in self._folder.glob(f"{_prefix(run)}-*"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        with suppress(OSError):  # missing, or not empty
            self._folder.rmdir()

    def close(self) -> None:
        """Remove a temporary folder."""
        if self._temporary is not None:
            self._temporary.cleanup()

    def _path(self, run: str, move: int) -> Path:
        return self._folder / f"{_prefix(run)}-{move}.safetensors"


def _prefix(run: str) -> str:
    """Return a name that any run can have in a file system."""
    return sha256(run)[:16]


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
