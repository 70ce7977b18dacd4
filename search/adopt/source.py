"""The files of a folder that is to be adopted, read as data: untrusted, bounded, without links."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prepare.globs import matches

LARGEST_FILE = 8_000_000
LARGEST_FOLDER = 32_000_000
_MOST_FILES = 1000
_SKIPPED = ("__pycache__", "node_modules", "venv", "openevolve_output", "results", "wandb")
_KEPT = (".auto",)


@dataclass(frozen=True)
class Source:
    """The plain files of a folder."""

    path: Path
    files: Mapping[str, bytes]
    left_out: Sequence[str]
    """What was not read, with the reason."""

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a folder. Raises OSError if it cannot be listed."""
        files: dict[str, bytes] = {}
        left_out: list[str] = []
        size = 0
        for name, reason in _found(path):
            if not reason and (size + os.path.getsize(path / name) > LARGEST_FOLDER or len(files) == _MOST_FILES):
                reason = f"more than {_MOST_FILES:,} files or {LARGEST_FOLDER // 10**6} MB in all"
            if reason:
                left_out.append(f"{name}: {reason}")
                continue
            files[name] = (path / name).read_bytes()
            size += len(files[name])
        return cls(path, files, left_out)

    def matching(self, patterns: Sequence[str]) -> list[str]:
        return [name for name in self.files if matches(name, patterns)]

    def named(self, stem: str) -> str | None:
        """Return the file of the top folder with this stem (``initial_program.rs``), a Python file first."""
        found = [name for name in self.files if "/" not in name and Path(name).stem == stem]
        return min(found, key=lambda name: (not name.endswith(".py"), name), default=None)

    def listed(self) -> str:
        """Return the names of the folder's first files, for messages."""
        names = list(self.files)
        return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "") if names else "no files"


def _found(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the path of each file below a folder with the reason why it is not read, or with an empty one."""
    for folder, folders, names in os.walk(path):
        here = Path(folder)
        for name in sorted(folders):
            if (here / name).is_symlink():
                yield (here / name).relative_to(path).as_posix(), "a link"
        folders[:] = sorted(name for name in folders if _is_read(name) and not (here / name).is_symlink())
        for name in sorted(names):
            if not name.startswith("."):
                yield (here / name).relative_to(path).as_posix(), _unfit(here / name)


def _is_read(folder: str) -> bool:
    return folder in _KEPT or not (folder in _SKIPPED or folder.startswith("."))


def _unfit(path: Path) -> str:
    """Return why a file is not read; empty if it is."""
    if path.is_symlink():
        return "a link"
    if not path.is_file():
        return "no plain file"
    if any(character in path.name for character in "*?[]\\") or not path.name.isprintable():
        return "its name has one of * ? [ ] \\ or a control character"
    if path.stat().st_size > LARGEST_FILE:
        return f"larger than {LARGEST_FILE // 10**6} MB"
    return "" if os.access(path, os.R_OK) else "not readable"
