"""Cost of a right answer of each agent, with the Pareto front of share right against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archive.query.query import Reader
from archive.query.questions import parts

_SQL = """
SELECT node_id, items, "right" / items AS share, tokens_per_right AS tokens, dollars_per_right AS dollars
FROM items
JOIN (SELECT run, node_id, number FROM nodes WHERE run = ? AND number BETWEEN ? AND ?) AS n USING (run, node_id)
ORDER BY number"""


def costs(reader: Reader, run: str, place: Mapping[str, int], suspect: Sequence[str | None]) -> dict[str, Any]:
    """Return unit, rows (node's position, share, items, cost, front), and how many agents are without a right answer.

    The unit is dollars where the price of every answer is known and one is not 0, else tokens.
    """
    found = list(parts(reader, _SQL, run, len(place) - 1))
    known = [row for row in found if row["tokens"] is not None and not suspect[place[row["node_id"]]]]
    priced = any(row["dollars"] for row in known) and all(row["dollars"] is not None for row in known)
    unit = "dollars" if priced else "tokens"
    points = [
        {"node": place[row["node_id"]], "share": row["share"], "items": row["items"], "cost": row[unit]}
        for row in known
    ]
    front = pareto_front([(point["share"], point["cost"]) for point in points])
    rows = [{**point, "front": i in front} for i, point in enumerate(points)]
    return {"unit": unit, "rows": rows, "none_right": sum(row["share"] == 0 for row in found)}


def pareto_front(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the positions of (share, cost) for which no other point has as large a share at as low a cost."""
    best, front = float("-inf"), set()
    for i in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0])):
        if points[i][0] > best:
            best = points[i][0]
            front.add(i)
    return front
