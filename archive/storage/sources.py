"""Texts by their SHA-256: row numbers in a dictionary, recently used texts in memory.

A dictionary instead of a DuckDB index: with an index a commit took 8 ms after 2,000 programs and kept growing; without
one it stays below 1 ms.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from archive.records import sha256
from archive.storage.lazy import Query
from archive.storage.writer import Writer

_CACHE_BYTES = 64 * 2**20
_PREFETCH = 128
"""Texts read at once when they are read in order, as a resumed search does."""


class Sources:
    """The table ``sources``, for the writer. Thread safe; texts are added inside a transaction of ``writer``."""

    def __init__(self, path: Path, writer: Writer, query: Query, cache_bytes: int = _CACHE_BYTES) -> None:
        """``query``: must not wait for a thread that writes, which may wait for the lock of this object."""
        self._path = path
        self._writer = writer
        self._query = query
        self._cache = _Cache(cache_bytes)
        self._lock = threading.RLock()
        self._places: dict[bytes, int] | None = None
        self._uncommitted: dict[str, str] = {}
        self._last_read = -_PREFETCH

    def add(self, text: str) -> str:
        """Store ``text`` (encodable as UTF-8) unless it is stored already. Return its SHA-256."""
        sha = sha256(text)
        with self._lock:
            places, key = self._known(), bytes.fromhex(sha)
            if key not in places:
                self._writer.insert("sources", "sha, text", (sha, text))
                places[key] = len(places)
                self._uncommitted[sha] = text
                self._writer.on_failure(lambda: self._forget(key))
                self._writer.at_end(lambda: self._uncommitted.pop(sha, None))
            self._cache.put(sha, text)
        return sha

    def text(self, sha: str) -> str:
        """Return the text of that SHA-256. Raises KeyError if there is none."""
        for known in (self._cache.get(sha), self._uncommitted.get(sha)):
            if known is not None:
                return known
        return self._read(sha)

    def _read(self, sha: str) -> str:
        """Read one text (6 ms), or a stretch of them if they are read in order (less than 0.1 ms each)."""
        with self._lock:
            place = self._known().get(bytes.fromhex(sha), -1)
            in_order = 0 < place - self._last_read <= 2 * _PREFETCH
            self._last_read = place + (_PREFETCH - 1 if in_order else 0)
            sql = "SELECT sha, text FROM sources WHERE rowid BETWEEN ? AND ?"
            found: dict[str, str] = dict(self._query(sql, [place, self._last_read]))
            for near, text in found.items():
                self._cache.put(near, text)
        if sha not in found:
            raise KeyError(f"the archive {self._path} has no source {sha}")
        return found[sha]

    def _known(self) -> dict[bytes, int]:
        """Return SHA-256 -> row number. Rows are never deleted, so numbers are contiguous from 0."""
        if self._places is None:
            found = self._query("SELECT sha, rowid FROM sources ORDER BY rowid")
            self._places = {bytes.fromhex(sha): place for sha, place in found}
        return self._places

    def _forget(self, key: bytes) -> None:
        with self._lock:
            self._known().pop(key, None)


class _Cache:
    """A least-recently-used cache: SHA-256 -> text."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._used = 0
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha: str) -> str | None:
        with self._lock:
            text = self._texts.get(sha)
            if text is not None:
                self._texts.move_to_end(sha)
            return text

    def put(self, sha: str, text: str) -> None:
        with self._lock:
            if sha not in self._texts:
                self._texts[sha] = text
                self._used += len(text)
            self._texts.move_to_end(sha)
            while self._used > self._most and len(self._texts) > 1:
                _, dropped = self._texts.popitem(last=False)
                self._used -= len(dropped)
