"""Scores of nodes by cases, bounded, for the heat map of the page."""

from __future__ import annotations

from typing import Any

from archive.query.query import Reader
from archive.query.questions import PART, best_lineage, rows
from archive.query.tables import one_line
from archive.query.texts import chunks

_NODES = 60
"""Nodes: the root, the lineage of the leader, and the best others."""
_CASES = 120
"""Cases: those in which the nodes differ most."""


def heatmap(reader: Reader, run: str) -> dict[str, Any]:
    """Return the mean screening score of ``nodes`` (rows) by ``cases`` (columns), with how many there are of both."""
    nodes, judged = _nodes(reader, run)
    names, count = _cases(reader, run)
    place = {name: i for i, name in enumerate(names)}
    values: dict[str, list[float | None]] = {node_id: [None] * len(names) for node_id in nodes}
    for some in chunks(nodes, max(1, PART // max(1, len(names)))):
        marks, wanted = ", ".join("?" * len(some)), ", ".join("?" * len(names))
        sql = f"""
        SELECT node_id, case_name, value FROM cases
        WHERE run = ? AND node_id IN ({marks}) AND case_name IN ({wanted})"""
        for row in rows(reader, sql, [run, *some, *names]):
            values[row["node_id"]][place[row["case_name"]]] = row["value"]
    return {
        "nodes": nodes,
        "cases": [one_line(name, 60) for name in names],
        "values": [values[node_id] for node_id in nodes],
        "all_nodes": judged,
        "all_cases": count,
    }


def _nodes(reader: Reader, run: str) -> tuple[list[str], int]:
    """Return the chosen nodes in order of their numbers, and how many nodes have scores by case."""
    kin = best_lineage(reader, run)
    always = f"n.number = 0 OR n.node_id IN ({', '.join('?' * len(kin))})" if kin else "n.number = 0"
    sql = f"""
    WITH judged AS (SELECT DISTINCT node_id FROM cases WHERE run = ?),
    ranked AS (
        SELECT n.node_id, n.number, {always} AS always,
               if(r.direction = 'minimise', s.score, -s.score) AS badness, q.node_id IS NOT NULL AS suspect
        FROM judged JOIN nodes AS n USING (node_id) JOIN runs AS r ON r.run = n.run
        LEFT JOIN scores AS s ON s.node_id = n.node_id AND s.run = n.run
        LEFT JOIN suspects AS q ON q.node_id = n.node_id
    ),
    chosen AS (
        SELECT node_id, number, count(*) OVER () AS judged,
               row_number() OVER (ORDER BY always DESC, suspect, badness, number) AS place
        FROM ranked
    )
    SELECT node_id, judged FROM chosen WHERE place <= {_NODES} ORDER BY number"""
    found = rows(reader, sql, [run, *kin])
    return [row["node_id"] for row in found], found[0]["judged"] if found else 0


def _cases(reader: Reader, run: str) -> tuple[list[str], int]:
    """Return the chosen cases by name, and how many there are."""
    sql = f"""
    WITH spread AS (
        SELECT case_name, max(value) - min(value) AS spread, count(*) OVER () AS cases
        FROM cases WHERE run = ? GROUP BY case_name
    )
    SELECT case_name, cases FROM spread
    QUALIFY row_number() OVER (ORDER BY spread DESC, case_name) <= {_CASES} ORDER BY case_name"""
    found = rows(reader, sql, [run])
    return [row["case_name"] for row in found], found[0]["cases"] if found else 0
