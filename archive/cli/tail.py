"""``python -m archive tail``: a run's events, decisions and evaluations as they are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from archive.query.query import Reader
from archive.query.tables import cell

_SOURCES = {
    "events": "SELECT happened_at, kind, node_id, message FROM events WHERE run = ?",
    "decisions": "SELECT decided_at, kind, node_id, reason FROM decisions WHERE run = ?",
    # Scores and reasons of a claim's runs are for its verdict: see views.sql.
    "evaluations": (
        "SELECT finished_at, outcome, node_id, CASE WHEN purpose <> 'screen' THEN purpose || ' run' "
        "WHEN score IS NULL THEN reason ELSE 'score ' || format('{:.6g}', score) END FROM evaluations WHERE run = ?"
    ),
}
"""Table -> query for (time, kind, node, text) of its rows, in the order of writing."""


def follow(reader: Reader, run: str, last: int, wait: Callable[[], bool]) -> Iterator[str]:
    """Yield the ``last`` lines so far, then new ones, until ``wait()``, called between two polls, returns False."""
    seen = dict.fromkeys(_SOURCES, 0)
    lines = _news(reader, run, seen)
    yield from lines[len(lines) - min(last, len(lines)) :]
    while wait():
        yield from _news(reader, run, seen)


def _news(reader: Reader, run: str, seen: dict[str, int]) -> list[str]:
    """Return lines for the rows since ``seen``, and advance it."""
    rows: list[tuple[Any, ...]] = []
    for source, sql in _SOURCES.items():
        while fresh := reader.query(f"{sql} LIMIT 5000 OFFSET {seen[source]}", [run]).rows:
            seen[source] += len(fresh)
            rows += fresh
    rows.sort(key=lambda row: row[0])
    return [
        f"{at:%H:%M:%S}  {cell(kind):<12}  {(node or '-')[:8]:<8}  {cell(words, 200)}" for at, kind, node, words in rows
    ]
