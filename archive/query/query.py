"""Reading an archive from another process: from its file if that is free, else through the search that has it open.

    reader = open_reader("treewright.duckdb")
    reader.query("SELECT node_id, score FROM leaderboard WHERE run = ?", ["shakespeare-1"])

The file is opened for each query (or for the few of one command: ``held``) and closed at once, since an open reader
would lock out the next search.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import duckdb

from archive import errors
from archive.errors import ArchiveError, ArchiveLocked, ArchiveMissing, QueryError
from archive.query.select import MOST_BYTES, MOST_ROWS, SECONDS, Result, run_select
from archive.query.wire import WireError, connected, decoded, encoded, receive, send, socket_path
from archive.storage import schema
from archive.storage.database import connect, normalised, opening_error
from prepare.command_line import command

DEFAULT_NAME = "treewright.duckdb"
ENVIRONMENT_VARIABLE = "TREEWRIGHT_ARCHIVE"

_MOST_ANSWER_BYTES = 4 * MOST_BYTES
"""Text grows in JSON, and a person's patience with it does not."""

_STARTING = 1.0
"""Seconds that a search may take between opening its archive and answering."""

_ERRORS = {
    kind.__name__: kind
    for kind in (
        QueryError,
        errors.QueryRefused,
        ArchiveError,
        errors.ArchiveFull,
        errors.ArchiveDamaged,
        ArchiveMissing,
    )
}


class Reader(Protocol):
    """Answers read-only SQL over an archive."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """Raises QueryError, QueryRefused or another ArchiveError."""
        ...


class ArchiveReader:
    """An archive by its path; each query goes to the file, or to the search that has it open."""

    def __init__(self, path: Path, *, seconds: float = SECONDS, most_rows: int = MOST_ROWS) -> None:
        self.path = path
        self._seconds = seconds
        self._most_rows = most_rows
        self._holds = False
        self._held: duckdb.DuckDBPyConnection | None = None

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Result:
        """Raises QueryError, QueryRefused, or another ArchiveError for a file that cannot be opened or read."""
        give_up = time.monotonic() + _STARTING
        while True:
            # The search first: that there is none is known at once, and a file that is locked takes long to fail.
            connection = self._connect() if self._held is None else None
            if connection is not None:
                with connection:
                    return self._from_search(connection, sql, parameters)
            try:
                return self._from_file(sql, parameters)
            except ArchiveLocked as locked:
                if time.monotonic() >= give_up:
                    raise self._unanswered(locked) from locked
                time.sleep(0.05)

    def is_live(self) -> bool:
        """Return whether a running search answers for the archive."""
        connection = self._connect() if self._held is None else None
        if connection is not None:
            connection.close()
        return connection is not None

    @property
    def is_held(self) -> bool:
        """Return whether a block of ``held`` is open."""
        return self._holds

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a free file open for all queries of the block. Keep the block short: a search waits meanwhile."""
        self._holds = True
        try:
            yield
        finally:
            self._holds = False
            if self._held is not None:
                self._held.close()
            self._held = None

    def _from_file(self, sql: str, parameters: Sequence[Any]) -> Result:
        connection = self._held or self._open()
        if self._holds:
            self._held = connection
        try:
            return run_select(connection, sql, parameters, seconds=self._seconds, most_rows=self._most_rows)
        finally:
            if not self._holds:
                connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = connect(self.path, read_only=True)
        try:
            schema.prepare_reading(connection, self.path)
        except duckdb.Error as error:
            connection.close()
            raise opening_error(self.path, error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> socket.socket | None:
        """Connect to the search's socket; None if no search listens there, or not to this user."""
        return connected(socket_path(self.path), self._seconds)

    def _from_search(self, connection: socket.socket, sql: str, parameters: Sequence[Any]) -> Result:
        question = {"sql": sql, "parameters": [encoded(value) for value in parameters], "seconds": self._seconds}
        deadline = time.monotonic() + self._seconds + 10.0
        try:
            send(connection, question, deadline)
            answer = receive(connection, _MOST_ANSWER_BYTES, deadline)
        except WireError as error:
            raise ArchiveError(f"the search that has {self.path} open gave no answer ({error}); try again") from error
        return _understood(answer)

    def _unanswered(self, locked: ArchiveLocked) -> ArchiveLocked:
        return ArchiveLocked(f"{locked}. It does not answer SQL on {socket_path(self.path)}", locked.pid)


@contextmanager
def held(reader: Reader) -> Iterator[Reader]:
    """Yield a reader that keeps a free file open until the end of the block, whichever threads use ``reader``."""
    if not isinstance(reader, ArchiveReader) or reader.is_held:
        yield reader
        return
    own = copy(reader)
    with own.held():
        yield own


def which_archive(path: Path | str | None = None) -> Path:
    """Return the archive's path, which need not exist: ``path``, $TREEWRIGHT_ARCHIVE, or the default name."""
    return normalised(path or os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_NAME)


def open_reader(
    path: Path | str | None = None, *, seconds: float = SECONDS, most_rows: int = MOST_ROWS
) -> ArchiveReader:
    """Return a reader of ``path``; by default of $TREEWRIGHT_ARCHIVE or ``treewright.duckdb`` in the current directory.

    Raises ArchiveMissing, with the path.
    """
    chosen = which_archive(path)
    if not chosen.exists():
        raise ArchiveMissing(
            f"there is no archive at {chosen}. Name one with --archive FILE or the environment variable "
            f"{ENVIRONMENT_VARIABLE}, or make one: {command('search')}"
        )
    return ArchiveReader(chosen, seconds=seconds, most_rows=most_rows)


def _understood(answer: Any) -> Result:
    """Decode the result that a search sent, or raise the error in it."""
    match answer:
        case {"columns": list(columns), "rows": list(rows), "truncated": bool(truncated)}:
            values = [tuple(decoded(value) for value in row) for row in rows]
            return Result(tuple(columns), values, truncated, tuple(map(str, answer.get("types", ()))))
        case {"error": str(kind), "message": str(message)}:
            raise _ERRORS.get(kind, ArchiveError)(message)
        case _:
            raise ArchiveError("the search's answer is not understood; do both sides run the same version?")
