"""Folders of prepared data, created atomically: a folder with a ``manifest.json`` is complete."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"


def is_complete(folder: Path) -> bool:
    """Return whether the folder exists with its manifest."""
    return (folder / MANIFEST).is_file()


def create_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Create a folder atomically: ``fill`` writes its files and manifest to a temporary folder, which is then renamed.

    If another process has created the folder meanwhile, from the same data, that one is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
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
