"""The files of nodes, read in bounded parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from archive.query.query import Reader
from archive.query.questions import PART, rows

Item = TypeVar("Item")


class Texts:
    """The files of some nodes, released with the next ones."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._files: dict[str, dict[str, str]] = {}
        self._sources: dict[str, str] = {}

    def fetch(self, ids: Sequence[str]) -> None:
        """Load the files of these nodes, and release all others."""
        self._files = {}
        for some in chunks(list(dict.fromkeys(ids)), PART):
            marks = ", ".join("?" * len(some))
            for row in rows(self._reader, f"SELECT node_id, path, sha FROM files WHERE node_id IN ({marks})", some):
                self._files.setdefault(row["node_id"], {})[row["path"]] = row["sha"]
        needed = {sha for files in self._files.values() for sha in files.values()}
        self._sources = {sha: text for sha, text in self._sources.items() if sha in needed}
        for some in chunks(sorted(needed - set(self._sources)), 500):
            marks = ", ".join("?" * len(some))
            for row in rows(self._reader, f"SELECT sha, text FROM sources WHERE sha IN ({marks})", some):
                self._sources[row["sha"]] = row["text"]

    def of(self, node_id: str) -> dict[str, str]:
        """Return the files of a node of the last ``fetch``, by path; empty for any other."""
        return {path: self._sources.get(sha, "") for path, sha in self._files.get(node_id, {}).items()}


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
