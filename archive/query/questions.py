"""Queries that the report and the summary share, with rows as plain JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archive.query.query import Reader
from archive.query.tables import plain

PART = 2_000
"""Rows of one query: below the cap of a running search."""


def rows(reader: Reader, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Return the rows of a query as objects of plain JSON values."""
    result = reader.query(sql, parameters)
    return [dict(zip(result.columns, map(plain, row), strict=True)) for row in result.rows]


def parts(reader: Reader, sql: str, run: str, last: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query over node numbers in parts; ``sql`` contains ``? AND number BETWEEN ? AND ?``."""
    for first in range(0, last + 1, PART):
        yield from rows(reader, sql, [run, first, first + PART - 1])


def last_verdict(reader: Reader, run: str) -> dict[str, Any] | None:
    """Return ``kind``, ``node_id`` and ``reason`` of the run's last verdict, or None."""
    sql = (
        "SELECT kind, node_id, reason FROM decisions WHERE run = ? AND kind IN ('champion', 'no_champion') "
        "ORDER BY arrival DESC LIMIT 1"
    )
    found = rows(reader, sql, [run])
    return found[0] if found else None


def holdout_reads(reader: Reader, run: str) -> int:
    """Count the evaluations on the holdout of the run's corpus, over all runs of the archive."""
    sql = (
        "SELECT count(*) FROM evaluations WHERE split = 'holdout' AND fingerprint IN "
        "(SELECT fingerprint FROM present_conditions WHERE run = ?)"
    )
    return int(reader.query(sql, [run]).rows[0][0])
