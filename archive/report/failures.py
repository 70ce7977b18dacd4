"""Failures of a run grouped by reason, and proposals that were refused, for the page."""

from __future__ import annotations

from typing import Any

from archive.query.query import Reader
from archive.query.questions import rows
from archive.query.tables import one_line
from prepare.output import printable

_GROUPS = 60
"""Groups that are shown, the largest first."""
_NODES = 24
"""Nodes that a group names, the latest first."""
_REASON = 600
_SAME = "left(regexp_replace(reason, '[0-9]+', '#', 'g'), 200)"
"""Reasons that differ in numbers alone are one group."""


def failures(reader: Reader, run: str) -> dict[str, Any]:
    """Return the failed screenings by outcome and reason: counts, an example, and the latest nodes of each group."""
    sql = f"""
    WITH failed AS (
        SELECT node_id, operator, outcome, coalesce(reason, '') AS reason, finished_at
        FROM failures WHERE run = ? AND purpose = 'screen' AND outcome NOT IN ('lost', 'stopped')
    ),
    grouped AS (
        SELECT outcome, {_SAME} AS same, arg_max(reason, finished_at) AS reason, count(*) AS count,
               count(DISTINCT node_id) AS candidates,
               string_agg(DISTINCT operator, ', ' ORDER BY operator) AS operators,
               list(node_id ORDER BY finished_at DESC)[:{4 * _NODES}] AS nodes
        FROM failed GROUP BY ALL
    )
    SELECT * EXCLUDE (same), count(*) OVER () AS groups, sum(count) OVER ()::BIGINT AS failures
    FROM grouped ORDER BY count DESC, outcome, same LIMIT {_GROUPS}"""
    found = rows(reader, sql, [run])
    return {
        "groups": found[0]["groups"] if found else 0,
        "failures": found[0]["failures"] if found else 0,
        "rows": [
            {
                "outcome": row["outcome"],
                "reason": printable(row["reason"])[:_REASON],
                "count": row["count"],
                "candidates": row["candidates"],
                "operators": one_line(row["operators"], 200),
                "nodes": list(dict.fromkeys(row["nodes"]))[:_NODES],
            }
            for row in found
        ],
    }


def refusals(reader: Reader, run: str) -> dict[str, Any]:
    """Return why proposals came to nothing, and why calls of a model were not answered, each with its count."""
    return {
        "proposals": _reasons(reader, "SELECT operator, reason, move FROM refusals WHERE run = ?", run),
        "calls": _reasons(
            reader,
            "SELECT concat(model, ', ', operator, ', ', outcome) AS operator, reason, move "
            "FROM llm_calls WHERE run = ? AND outcome <> 'answered'",
            run,
        ),
    }


def _reasons(reader: Reader, source: str, run: str) -> dict[str, Any]:
    sql = f"""
    WITH found AS ({source}),
    grouped AS (
        SELECT operator, {_SAME} AS same, arg_max(reason, move) AS reason, count(*) AS count, max(move) AS last_move
        FROM found GROUP BY operator, same
    )
    SELECT operator, count, last_move, reason, count(*) OVER () AS groups
    FROM grouped ORDER BY count DESC, operator, same LIMIT {_GROUPS}"""
    found = rows(reader, sql, [run])
    shown = [
        {**row, "operator": one_line(row["operator"], 120), "reason": printable(row["reason"])[:_REASON]}
        for row in found
    ]
    return {"groups": found[0]["groups"] if found else 0, "rows": [_without_groups(row) for row in shown]}


def _without_groups(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "groups"}
