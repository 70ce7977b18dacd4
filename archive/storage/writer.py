"""The single writing connection: statements are collected, then committed in one transaction that can be retried.

Nothing is sent to DuckDB before the outermost ``transaction()`` ends, so a block that raises leaves no trace, and a
transaction that ran out of memory (a reader's query may have taken it) can be retried.

The rows of a block with ``later`` are committed together with those of the next block, before them: what a killed
process loses is always an end of what was written. A reader of this process sees them all the same.

A statement costs 0.2 ms of CPU time and 0.015 ms more for each column, a further row of it a tenth of that, a commit
0.4 ms and a wait for the disk. So all rows for a table in one transaction are one statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from archive.errors import ArchiveError
from archive.storage.checkpoints import Checkpoints
from archive.storage.database import CATALOG, damaged_error, full_error, is_damaged, is_full

_TRIES = 5
"""Of a transaction that finds no memory; other people's readers are interrupted before each but the first."""

CHECKPOINT_SECONDS = 30.0
"""From a commit to the checkpoint that brings its rows into the file."""

_READERS_END = 5.0
"""Seconds for interrupted readers to be gone when the archive is closed."""


_ROWS_AT_ONCE = 100
"""Rows of one INSERT."""

_MOST_PARSED = 500
"""Statements that are kept parsed; an INSERT of so many rows is one."""


@dataclass(frozen=True)
class _Statement:
    """One statement, or one row for an INSERT that ends at ``VALUES``."""

    sql: str
    parameters: tuple[Any, ...]
    is_row: bool = False


class Writer:
    """Transactions on one connection, and cursors for its readers. Thread safe."""

    def __init__(
        self, path: Path, connection: duckdb.DuckDBPyConnection, checkpoint_seconds: float = CHECKPOINT_SECONDS
    ) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        self._statements: list[_Statement] = []
        self._postponed: list[_Statement] = []
        self._undo: list[Callable[[], object]] = []
        self._at_end: list[Callable[[], object]] = []
        self._at_commit: list[Callable[[], object]] = []
        self._failure: ArchiveError | None = None
        self._reader_lock = threading.Condition()
        self._reader_source = connection.cursor()
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._own: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False
        self._known: dict[str, duckdb.Statement] = {}
        self._checkpoints = Checkpoints(self.checkpoint, checkpoint_seconds)

    @contextmanager
    def transaction(self, later: bool = False) -> Iterator[None]:
        """Collect the statements of ``write`` and ``insert``, and commit them at the end of the outermost block.

        ``later``: commit them with the next block instead. Within another block it changes nothing.
        """
        with self._lock:
            self._must_be_usable()
            mark = len(self._statements), len(self._undo)
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._end(later)
            except BaseException:
                self._forget(*mark)
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._statements, self._undo = [], []
                    actions, self._at_end = self._at_end, []
                    for action in actions:
                        action()

    def _end(self, later: bool) -> None:
        """End an outermost block."""
        if later:
            self._postponed += self._statements
            self._at_commit += self._at_end
            self._at_end = []
        elif self._statements or self._postponed:
            self._commit([*self._postponed, *self._statements])
            self._postponed = []
            self._at_end = [*self._at_commit, *self._at_end]
            self._at_commit = []

    @property
    def is_flushed(self) -> bool:
        """True unless a block with ``later`` is still to be committed."""
        return not self._postponed

    def flush(self) -> None:
        """Commit what blocks with ``later`` have written. Inside a block, nothing: its end does it."""
        if self._postponed:
            with self.transaction():
                pass

    def write(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Add a statement to the open transaction."""
        self._statements.append(_Statement(sql, parameters))

    def insert(self, table: str, columns: str, row: tuple[Any, ...]) -> None:
        """Add a row to the open transaction; ``columns``: their names with commas between them."""
        self._statements.append(_Statement(f"INSERT INTO {table} ({columns}) VALUES ", row, is_row=True))

    def on_failure(self, undo: Callable[[], object]) -> None:
        """Call ``undo`` if the open transaction fails."""
        self._undo.append(undo)

    def at_end(self, action: Callable[[], object]) -> None:
        """Call ``action`` when the outermost open block has ended, with or without success."""
        self._at_end.append(action)

    def _forget(self, statements: int, undo: int) -> None:
        """Drop the statements of a block that raised, also if an outer block catches the exception."""
        del self._statements[statements:]
        while len(self._undo) > undo:
            self._undo.pop()()

    def _must_be_usable(self) -> None:
        if self._closed:
            raise ArchiveError(f"the archive {self._path} is closed")
        if self._failure is not None:
            raise self._failure

    def _commit(self, statements: Sequence[_Statement]) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                self._run(statements)
                self._checkpoints.committed()
                return
            except duckdb.OutOfMemoryException as error:
                self._roll_back()
                if attempt == _TRIES:
                    raise ArchiveError(
                        f"DuckDB found no memory to write to {self._path}, though its readers were stopped: {error}"
                    ) from error
                self._interrupt_readers()
                time.sleep(0.02 * attempt)
            except duckdb.Error as error:
                self._roll_back()
                raise self._explain(error) from error

    def _run(self, statements: Sequence[_Statement]) -> None:
        self._connection.execute(self._parsed("BEGIN"))
        for sql, parameters in _joined(statements):
            self._connection.execute(self._parsed(sql), parameters)
        self._connection.execute(self._parsed("COMMIT"))

    def _parsed(self, sql: str) -> duckdb.Statement:
        """Return a statement, which is parsed the first time only: a fifth of what it costs."""
        if sql not in self._known:
            if len(self._known) >= _MOST_PARSED:
                self._known.clear()
            (self._known[sql],) = self._connection.extract_statements(sql)
        return self._known[sql]

    def checkpoint(self) -> bool:
        """Bring the committed rows into the file. Return whether it was possible."""
        with self._lock:
            if self._closed or self._failure is not None:
                return True
            try:
                self._connection.execute("CHECKPOINT")
            except duckdb.Error as error:
                self._explain(error)  # a failure that lasts is raised by the next transaction
                return False
            return True

    def _roll_back(self) -> None:
        with suppress(duckdb.Error):  # a failed COMMIT has rolled back already
            self._connection.execute("ROLLBACK")

    def _explain(self, error: duckdb.Error) -> Exception:
        """Translate an error of DuckDB. A full disk ends the session: memory and file may differ from then on."""
        text = str(error)
        if is_damaged(text):
            self._failure = damaged_error(f"the archive {self._path}", text)
            return self._failure
        if is_full(text):
            self._failure = full_error(self._path)
            return self._failure
        if isinstance(error, duckdb.ConstraintException):
            return ValueError(f"the archive {self._path} refuses the row: {text.splitlines()[0]}")
        if isinstance(error, duckdb.IOException | duckdb.FatalException):
            self._failure = ArchiveError(
                f"cannot write to the archive {self._path}: {text.splitlines()[0]}. What was recorded before is safe; "
                "fix this, then resume the search with run=NAME"
            )
            return self._failure
        return error

    # ------------------------------------------------------------ readers

    @contextmanager
    def reading(self, ours: bool = False, *, as_it_is: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a cursor on the same database, which sees the committed rows.

        ``ours``: for a query of the search itself. It is small and its caller waits for it, so it is interrupted only
        when the archive is closed. ``as_it_is``: wait for no thread that writes, and see only what it has committed.
        """
        if not as_it_is:
            self._flush_for_reader(wait=ours)
        with self._reader_lock:
            if self._closed:
                raise ArchiveError(f"the archive {self._path} is closed")
            cursor = self._reader_source.cursor()
            self._readers.add(cursor)
            if ours:
                self._own.add(cursor)
        try:
            self._turn_to_archive(cursor)
            yield cursor
        except duckdb.Error as error:
            if is_damaged(str(error)):
                raise damaged_error(f"the archive {self._path}", str(error)) from error
            raise
        finally:
            with self._reader_lock:
                cursor.close()
                self._readers.discard(cursor)
                self._own.discard(cursor)
                self._reader_lock.notify_all()

    def _flush_for_reader(self, wait: bool) -> None:
        """Commit what is still to be committed. While another thread's block is open, ``wait`` for its end, or do not.

        Who does not wait sees neither that block's rows nor those before it that are to be committed with it. A failure
        is raised by the next transaction: readers see what is committed.
        """
        if self._postponed and self._lock.acquire(blocking=wait):
            try:
                with suppress(ArchiveError):
                    self.flush()
            finally:
                self._lock.release()

    def _turn_to_archive(self, cursor: duckdb.DuckDBPyConnection) -> None:
        try:
            cursor.execute(f"USE {CATALOG}")
        except duckdb.InterruptException as error:
            raise ArchiveError(f"the archive {self._path} is being closed, or its search needs the memory") from error

    def _interrupt_readers(self) -> None:
        with self._reader_lock:
            for cursor in self._readers - self._own:
                cursor.interrupt()

    def close(self) -> None:
        """Interrupt the readers, checkpoint, and release the file. Raises ArchiveFull if the disk is full."""
        self._checkpoints.close()
        with self._lock, self._reader_lock:
            if self._closed:
                return
            self._closed = True
            self._stop_readers()
            try:
                self._reader_source.close()
                if self._failure is None:
                    self._commit_postponed()
                    self._connection.execute("CHECKPOINT")
            except duckdb.Error as error:
                if is_full(str(error)):
                    raise full_error(self._path) from error
                raise ArchiveError(f"cannot close the archive {self._path}: {error}") from error
            finally:
                self._connection.close()

    def _commit_postponed(self) -> None:
        if self._postponed:
            self._commit(self._postponed)

    def _stop_readers(self) -> None:
        """Interrupt all readers until they are gone: an interrupt between two statements has no effect."""
        give_up = time.monotonic() + _READERS_END
        while self._readers and time.monotonic() < give_up:
            for cursor in self._readers:
                cursor.interrupt()
            self._reader_lock.wait(0.02)


def _joined(statements: Sequence[_Statement]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the statements of a transaction with their parameters: the rows of one table, in order, as one INSERT."""
    groups: dict[tuple[str, bool], list[tuple[Any, ...]]] = {}
    for each in statements:
        groups.setdefault((each.sql, each.is_row), []).append(each.parameters)
    for (sql, are_rows), values in groups.items():
        size = _ROWS_AT_ONCE if are_rows else 1
        for first in range(0, len(values), size):
            part = values[first : first + size]
            ending = ", ".join([f"({', '.join('?' * len(part[0]))})"] * len(part)) if are_rows else ""
            yield sql + ending, tuple(value for row in part for value in row)
