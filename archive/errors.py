"""Exceptions of the archive. Every message says what to do next.

ArchiveError
├── ArchiveMissing   there is no such file
├── NotAnArchive     the file is something else, or made by a newer Treewright or DuckDB
├── ArchiveLocked    another process writes to it
├── ArchiveFull      no space is left on its disk
├── ArchiveDamaged   bytes of it or of its log have changed on the disk
│   └── ForeignLog   the log beside it belongs to another state of the file
└── QueryError       a statement of a reader failed
    └── QueryRefused     ... or was not run: it would write, or reach outside the archive
"""

from __future__ import annotations


class ArchiveError(Exception):
    """An error of the archive, with a message for the user."""


class ArchiveMissing(ArchiveError):
    """There is no archive at the path."""


class NotAnArchive(ArchiveError):
    """The file cannot be used as an archive by this version."""


class ArchiveLocked(ArchiveError):
    """Another process has the file open: ``pid``, if known."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class ArchiveFull(ArchiveError):
    """The disk is full. All committed rows are safe."""


class ArchiveDamaged(ArchiveError):
    """A checksum of the file, or of the log beside it, does not hold."""


class ForeignLog(ArchiveDamaged):
    """The log beside the file was written before or after another state of the file, or for another file."""


class QueryError(ArchiveError):
    """A reader's statement failed."""


class QueryRefused(QueryError):
    """A reader's statement would have written, changed a setting or reached outside the archive."""
