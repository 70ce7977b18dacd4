"""What the parts of the report ask an archive with: rows as plain JSON values, in bounded parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archive.display import plain
from archive.query import Reader

PART = 2_000
"""Rows that are asked for at once: below the cap of a running search."""


def rows(reader: Reader, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a query as objects of plain JSON values."""
    result = reader.query(sql, parameters)
    return [dict(zip(result.columns, map(plain, row), strict=True)) for row in result.rows]


def parts(reader: Reader, sql: str, run: str, last: int) -> Iterator[dict[str, Any]]:
    """The rows of a query over node numbers, ``sql`` holding ``? AND number BETWEEN ? AND ?``, part after part."""
    for first in range(0, last + 1, PART):
        yield from rows(reader, sql, [run, first, first + PART - 1])
