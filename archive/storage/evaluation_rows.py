"""Tables with several rows for each evaluation (its curve, its cases): written as columns, read on first access."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from archive.storage.lazy import Query, StoredRows
from archive.storage.writer import Writer

Key = tuple[str, int, str]
"""(node_id, seed, purpose) of an evaluation."""

T = TypeVar("T")

_KEPT = 64
"""Evaluations whose rows are kept in memory: those of one are read together."""


class EvaluationRows(Generic[T]):
    """One such table. Rows of one evaluation are neighbours, and none is ever deleted."""

    def __init__(
        self, query: Query, query_committed: Query, table: str, columns: dict[str, str], made: Callable[..., T]
    ) -> None:
        """``columns``: name -> type. ``made``: a record from the values of one row. For queries see ``History``."""
        self._query = query
        self._query_committed = query_committed
        self._table = table
        self._names = ", ".join(columns)
        values = ", ".join(f"unnest(?::{kind}[])" for kind in columns.values())
        self._insert = f"INSERT INTO {table} (node_id, seed, purpose, {self._names}) SELECT ?, ?, ?, {values}"
        self._made = made
        self._read = lru_cache(maxsize=_KEPT)(self._read_now)
        self._written: dict[Key, tuple[T, ...]] = {}
        """The latest rows that were written: prompts show them soon, and a query takes 2 ms."""
        self._next: int | None = None

    def add(self, writer: Writer, key: Key, columns: Sequence[Sequence[Any]]) -> StoredRows[T]:
        """Record the rows, given as columns, in the open transaction of ``writer``."""
        first = self._next = self._count() if self._next is None else self._next
        rows = tuple(map(self._made, *columns))
        writer.write(self._insert, (*key, *columns))
        self._next += len(rows)
        writer.on_failure(lambda: self._forget(key, first))
        self._written[key] = rows
        writer.at_end(self._drop_oldest)  # not before: other threads see these rows, by the tree, before the commit
        return self._stored(key, first, len(rows))

    def of_run(self, run: str) -> dict[Key, StoredRows[T]]:
        """Return the rows of all evaluations of a run."""
        sql = (
            f"SELECT node_id, seed, purpose, min({self._table}.rowid), count(*) FROM {self._table} "
            "JOIN nodes USING (node_id) WHERE run = ? GROUP BY ALL"
        )
        return {
            (node_id, seed, purpose): self._stored((node_id, seed, purpose), first, length)
            for node_id, seed, purpose, first, length in self._query(sql, [run])
        }

    def _count(self) -> int:
        return int(self._query(f"SELECT count(*) FROM {self._table}")[0][0])

    def _forget(self, key: Key, first: int) -> None:
        self._next = first
        self._written.pop(key, None)

    def _drop_oldest(self) -> None:
        for key in list(self._written)[:-_KEPT]:
            del self._written[key]

    def _stored(self, key: Key, first: int, length: int) -> StoredRows[T]:
        return StoredRows(length, lambda: self._written.get(key) or self._read(key, first, length))

    def _read_now(self, key: Key, first: int, length: int) -> tuple[T, ...]:
        sql = (
            f"SELECT {self._names} FROM {self._table} WHERE rowid BETWEEN ? AND ? "
            "AND node_id = ? AND seed = ? AND purpose = ? ORDER BY rowid"
        )
        return tuple(self._made(*row) for row in self._query_committed(sql, [first, first + length - 1, *key]))
