"""The check of every path that a command writes to: an archive, or the log or socket beside one, is not overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

from archive.errors import ArchiveError
from archive.storage import wal

_MAGIC = slice(8, 12), b"DUCK"
"""Where a DuckDB file says what it is: after the checksum of its first block."""


def check_output(path: Path) -> None:
    """Raise ArchiveError if writing to ``path`` would destroy an archive. Links are followed; contents decide."""
    if (what := _what_is_lost(path)) is not None:
        raise ArchiveError(f"{path} is {what}, which would be overwritten; nothing was written. Name another file")


def _what_is_lost(path: Path) -> str | None:
    for each in {path.absolute(), path.resolve()}:
        for suffix in wal.SUFFIXES:
            archive = each.with_name(each.name.removesuffix(suffix))
            if archive != each and _head(archive)[_MAGIC[0]] == _MAGIC[1]:
                return f"the log of the archive {archive}"
    head = _head(path)
    if head[_MAGIC[0]] == _MAGIC[1]:
        return "an archive or another DuckDB file"
    return "the log of an archive" if head.startswith(wal.HEADER) else None


def _head(path: Path) -> bytes:
    """Return the first bytes of a regular file; empty if there is none. Raises ArchiveError."""
    try:
        facts = path.stat()
        if stat.S_ISSOCK(facts.st_mode):
            raise ArchiveError(f"{path} is a socket, expected a file; nothing was written. Name another file")
        if not stat.S_ISREG(facts.st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(16)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise ArchiveError(f"cannot see whether {path} is an archive ({error}); name another file") from error
