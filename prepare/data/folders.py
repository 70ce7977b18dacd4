"""Folders of prepared data: each is there as a whole, with its ``manifest.json``, or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

MANIFEST = "manifest.json"


def is_whole(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def make_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill`` put the files of a folder, its manifest included, where nobody sees them; then give it its name.

    Another process may be quicker: what it made, of the same data, is kept.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        staged = Path(scratch) / "data"
        staged.mkdir(mode=0o700)
        fill(staged)
        try:
            staged.rename(folder)  # atomic
        except OSError:
            if not is_whole(folder):
                raise


def sha256_of(path: Path) -> str:
    """Of a file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
