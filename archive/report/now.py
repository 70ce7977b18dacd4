"""What of a run is in progress, its budget, and the runs of the archive: for the page's overview."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from archive.query.query import Reader
from archive.query.questions import rows
from archive.query.tables import one_line
from archive.steering import KIND
from prepare.command_line import command

_OPEN = 64
"""Moves in progress that are listed, the oldest first: more than a machine has slots."""
_RUNS = 200
"""Runs that are listed, the newest first."""
_RATE = 20
"""Evaluations over which the rate is taken: the latest."""
_IDEA = 200

_MOVES = f"""
SELECT n.node_id, coalesce(m.operator, m.purpose) AS does, m.purpose, epoch(m.chosen_at) AS since, n.idea,
       CASE WHEN t.move IS NOT NULL THEN 'waits for judgement' WHEN n.node_id IS NULL THEN 'proposal'
            ELSE 'evaluation' END AS stage
FROM (FROM moves WHERE run = $1) AS m
LEFT JOIN nodes AS n ON n.run = m.run AND (n.move = m.move OR n.node_id = m.node_id)
LEFT JOIN trainings AS t ON t.run = m.run AND t.move = m.move
WHERE NOT EXISTS (FROM evaluations AS e WHERE e.run = m.run AND e.move = m.move)
  AND NOT EXISTS (FROM refusals AS r WHERE r.run = m.run AND r.move = m.move)
ORDER BY m.move LIMIT {_OPEN}"""

_BUDGET = """
SELECT TRY_CAST(config->>'$.budget.evaluations' AS DOUBLE) AS evaluations,
       TRY_CAST(config->>'$.budget.hours' AS DOUBLE) AS hours,
       TRY_CAST(config->>'$.budget.device_hours' AS DOUBLE) AS device_hours,
       TRY_CAST(config->>'$.budget.tokens' AS DOUBLE) AS tokens,
       least(TRY_CAST(config->>'$.budget.dollars' AS DOUBLE), TRY_CAST(config->>'$.llm.max_dollars' AS DOUBLE))
           AS dollars
FROM runs WHERE run = ?"""

_PACE = f"""
SELECT count(*) AS evaluations, epoch(max(finished_at)) AS last,
       (count(*) - 1) * 3600 / nullif(epoch(max(finished_at)) - epoch(min(finished_at)), 0) AS an_hour
FROM (SELECT finished_at FROM evaluations WHERE run = ? ORDER BY arrival DESC LIMIT {_RATE})"""

_HOURS = """
WITH starts AS (SELECT happened_at AS at FROM events WHERE run = $1 AND kind = 'session'),
signs AS (
    SELECT chosen_at AS at FROM moves WHERE run = $1
    UNION ALL SELECT refused_at FROM refusals WHERE run = $1
    UNION ALL SELECT sealed_at FROM trainings WHERE run = $1
    UNION ALL SELECT finished_at FROM evaluations WHERE run = $1
    UNION ALL SELECT happened_at FROM events WHERE run = $1
    UNION ALL SELECT called_at FROM llm_calls WHERE run = $1
),
sessions AS (
    SELECT starts.at AS began, max(signs.at) AS ended FROM signs ASOF JOIN starts ON signs.at >= starts.at GROUP BY ALL
)
SELECT coalesce(sum(epoch(ended) - epoch(began)), 0) / 3600 AS hours FROM sessions"""
"""Wall hours of the run's sessions, by which ``budget.hours`` is measured: time between sessions does not count."""


def now(reader: Reader, run: str, place: Mapping[str, int]) -> dict[str, Any]:
    """Return the moves in progress, the pace of the latest evaluations, the limits with what was added to them, and the
    wall hours of the sessions so far."""
    return {
        "open": [
            {**row, "node": place.get(row.pop("node_id") or ""), "idea": one_line(row["idea"] or "", _IDEA)}
            for row in rows(reader, _MOVES, [run])
        ],
        "pace": rows(reader, _PACE, [run])[0],
        "limits": _limits(reader, run),
        "hours": round(rows(reader, _HOURS, [run])[0]["hours"], 4),
    }


def _limits(reader: Reader, run: str) -> dict[str, float]:
    """Return the limits that are set, with what commands to the running search added."""
    (set_at_first,) = rows(reader, _BUDGET, [run])
    sql = """
    SELECT detail->>'$.limit' AS name, sum(TRY_CAST(detail->>'$.added' AS DOUBLE)) AS added
    FROM events WHERE run = ? AND kind = ? AND code = 'budget' GROUP BY 1"""
    added = {row["name"]: row["added"] or 0 for row in rows(reader, sql, [run, KIND])}
    return {name: limit + added.get(name, 0) for name, limit in set_at_first.items() if limit is not None}


def runs(reader: Reader) -> list[dict[str, Any]]:
    """Return the archive's runs, the newest first, each with the command that makes its page."""
    sql = f"""
    SELECT r.run, r.task, r.policy, r.metric, epoch(r.created_at) AS began, count(n.node_id) AS candidates
    FROM runs AS r LEFT JOIN nodes AS n USING (run) GROUP BY ALL ORDER BY began DESC, r.run LIMIT {_RUNS}"""
    return [{**row, "command": _command(row["run"])} for row in rows(reader, sql)]


def _command(run: str) -> str:
    file = re.sub(r"[^\w.-]", "_", run).lstrip(".-")[:80] or "run"
    return command("archive", f"report --run {shlex.quote(run)} --out {shlex.quote(f'{file}.html')}")
