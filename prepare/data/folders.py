"""Folders of prepared data, created atomically: a folder with a ``manifest.json`` is complete."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"


class PreparationError(Exception):
    """The data could not be prepared; the message tells the user what to do."""


def is_complete(folder: Path) -> bool:
    """Return whether the folder exists with its manifest."""
    return (folder / MANIFEST).is_file()


def make(folder: Path) -> None:
    """Create a folder of the cache, and make sure that files can be written in it. Raises PreparationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PreparationError(_unwritable(folder, error)) from error
    if (problem := why_unwritable(folder)) is not None:
        raise PreparationError(problem)


def why_unwritable(folder: Path) -> str | None:
    """Return why nothing can be written in a folder, which need not exist, or None if something can; leaves nothing."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    try:
        # Names say less: a file system may be mounted for reading only, or have no room for files.
        with tempfile.TemporaryDirectory(dir=existing, prefix=".treewright-"):
            return None
    except OSError as error:
        return _unwritable(folder, error)


def _unwritable(folder: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{folder} cannot be written ({reason}). Set TREEWRIGHT_CACHE to a folder of your own for prepared data"


def create_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create a folder atomically: ``fill`` writes its files and manifest to a temporary folder, which is then renamed.

    If another process has created the folder meanwhile, from the same data, that one is kept.
    """
    make(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        staged = Path(scratch) / "data"
        staged.mkdir(mode=0o700)
        fill(staged)
        try:
            staged.rename(folder)  # atomic
        except OSError:
            if not is_complete(folder):
                raise


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex; reads it in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
