"""One read-only statement of a user, run under a deadline and caps: in the same way on a file and on a running search.

SELECT, WITH, VALUES, FROM, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN      are run
everything that writes, changes a setting or reaches outside        is refused: QueryRefused
a statement that is wrong, too slow or too large                    fails: QueryError
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import duckdb

from archive.errors import ArchiveError, QueryError, QueryRefused
from archive.storage.database import damaged_error, is_damaged

MOST_ROWS = 10_000
MOST_BYTES = 64 * 2**20
"""Of text in one answer, so that `SELECT text FROM sources` cannot take the memory of a search."""

SECONDS = 10.0
_CHUNK = 200

_CHECKPOINT = re.compile(r"\b(force_)?checkpoint\s*\(", re.IGNORECASE)
"""A table function that makes the writer wait, and that a read-only transaction allows."""


@dataclass(frozen=True)
class Result:
    """The rows of a query. ``truncated``: there were more than the caps allow."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    truncated: bool = False
    types: tuple[str, ...] = ()
    """DuckDB's name of each column's type; empty if unknown."""


def run_select(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[Any] = (),
    *,
    seconds: float = SECONDS,
    most_rows: int = MOST_ROWS,
    most_bytes: int = MOST_BYTES,
) -> Result:
    """Run one statement on a cursor that nothing else uses meanwhile. Raises QueryError, ArchiveDamaged."""
    deadline = time.monotonic() + seconds
    with _interrupted_after(cursor, seconds):
        try:
            _check(cursor, sql)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                _execute(cursor, sql, list(parameters))
                return _fetch(cursor, most_rows, most_bytes, deadline)
            finally:
                with suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
        except duckdb.InterruptException as error:
            late = time.monotonic() >= deadline
            raise QueryError(
                f"the query was stopped after {seconds:g} s; ask for less, or give it more time with --timeout SECONDS"
                if late
                else "the query was stopped: the running search needed its memory, or came to its end"
            ) from error
        except duckdb.Error as error:
            raise _explain(error) from error
        except (ValueError, ArithmeticError, TypeError, ImportError) as error:  # e.g. a time beyond Python's
            raise QueryError(f"a value of the answer cannot be shown ({error}); cast it with ::VARCHAR") from error


def _check(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise QueryRefused unless ``sql`` is a single statement that only reads."""
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        if not statements:
            raise QueryRefused(
                "expected a single SELECT, got an empty statement: give one in quotes or on standard input, or a "
                "command such as summary"
            )
        raise QueryRefused(f"expected a single SELECT, got {len(statements)} statements")
    kind = statements[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        word = kind.name if kind != duckdb.StatementType.MULTI else "this statement"
        raise QueryRefused(
            f"{word} is refused: the archive is read-only here; use SELECT, WITH, VALUES, DESCRIBE, SHOW, SUMMARIZE "
            "or EXPLAIN"
        )
    if _CHECKPOINT.search(sql):
        raise QueryRefused("checkpoint() is refused: it would hold up the search that is writing")


def _execute(cursor: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> None:
    """Run ``sql``; times with a zone become UTC, since Python's need a package that may be missing."""
    cursor.execute(sql, parameters)
    types = [str(column[1]) for column in cursor.description or ()]
    if not any("TIME ZONE" in kind or kind.startswith(("TIMESTAMPTZ", "TIMETZ")) for kind in types):
        return
    names = [str(column[0]) for column in cursor.description or ()]
    places = [f"c{i}" for i in range(len(names))]
    columns = zip(places, names, types, strict=True)
    chosen = ", ".join(f"{place}{_without_zone(kind)} AS {_quoted(name)}" for place, name, kind in columns)
    cursor.execute(f"SELECT {chosen} FROM ({sql.strip().rstrip(';')}\n) AS q({', '.join(places)})", parameters)


def _without_zone(kind: str) -> str:
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"):
        return "::TIMESTAMP"
    return "::VARCHAR" if "TIME ZONE" in kind or "TIMETZ" in kind or "TIMESTAMPTZ" in kind else ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _fetch(cursor: duckdb.DuckDBPyConnection, most_rows: int, most_bytes: int, deadline: float) -> Result:
    columns = tuple(str(column[0]) for column in cursor.description or ())
    types = tuple(str(column[1]) for column in cursor.description or ())
    rows: list[tuple[Any, ...]] = []
    size = 0
    while chunk := cursor.fetchmany(min(_CHUNK, most_rows + 1 - len(rows))):
        for row in chunk:
            size += sum(len(value) if isinstance(value, str | bytes) else 16 for value in row)
            if len(rows) == most_rows or (size > most_bytes and rows):
                return Result(columns, rows, True, types)
            rows.append(row)
        if time.monotonic() >= deadline:
            raise QueryError("the query gave rows too slowly and was stopped; add LIMIT, or --timeout SECONDS")
    return Result(columns, rows, False, types)


def _explain(error: duckdb.Error) -> ArchiveError:
    """Shorten DuckDB's errors to what a reader of an archive needs."""
    text = str(error).strip()
    if is_damaged(text):
        return damaged_error("the archive", text)
    if "read-only mode" in text:
        return QueryRefused("the statement would write; the archive is read-only here")
    if "disabled by configuration" in text:
        return QueryRefused("the statement reaches for files or the network; queries see the archive and nothing else")
    if "configuration has been locked" in text:
        return QueryRefused("the statement changes a setting; settings are locked")
    if "automatically install" in text or "exists in the" in text:
        return QueryRefused("the statement needs a DuckDB extension, and none can be loaded here")
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryError("the query needs more memory than it may have (1 GB); select fewer rows or columns")
    text = re.sub(r"^[A-Za-z ]+ Error: ", "", text, count=1) if text.startswith("Invalid Input Error") else text
    return QueryError(text)


@contextmanager
def _interrupted_after(cursor: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
