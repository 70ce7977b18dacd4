"""Queries that the report and the summary share, with rows as plain JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from archive.errors import QueryError
from archive.query.query import Reader
from archive.query.tables import cell, plain
from prepare.best_known import BestKnown
from prepare.command_line import command
from prepare.config import typed

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


def best_lineage(reader: Reader, run: str) -> list[str]:
    """Return the ids of the champion and its ancestors (before a verdict: the leader's), the root's first."""
    found = last_verdict(reader, run) or {"node_id": None}
    best = found["node_id"] or reader.query("SELECT leader FROM run_summary WHERE run = ?", [run]).rows[0][0]
    if best is None:
        return []
    sql = "SELECT node_id FROM lineage(?) JOIN nodes USING (node_id) ORDER BY nodes.number"
    return [str(node_id) for (node_id,) in reader.query(sql, [best]).rows]


def holdout_reads(reader: Reader, run: str) -> int:
    """Count the evaluations on the holdout of the run's corpus, over all runs of the archive."""
    sql = (
        "SELECT count(*) FROM evaluations WHERE split = 'holdout' AND fingerprint IN "
        "(SELECT fingerprint FROM present_conditions WHERE run = ?)"
    )
    return int(reader.query(sql, [run]).rows[0][0])


RANKED_OUT = """(
    origin <> node_id OR node_id IN (SELECT node_id FROM scores)
    OR node_id IN (SELECT node_id FROM violations WHERE cheats)
)"""
"""Condition on the view ``suspects``: those worth showing. A suspect without a score that did not cheat, such as a
program that is too large, is an ordinary failure."""

TRUST = "SELECT DISTINCT trust, sandbox FROM evaluations WHERE run = ? ORDER BY ALL"
"""Query for how far the scores of a run can be trusted, and in which sandboxes they came about."""

_TRUST_WORDS = {
    "audited_shared": "audited, but one sandbox could tell another what it had seen",
    "verified": "verified: trusted code computed them from what the program produced",
}

KNOWN = """
SELECT r.config->'$.task.known' AS known, r.direction, s.score,
       coalesce((r.config->>'$.task.deterministic')::BOOLEAN, false)
       AND (SELECT bool_and(trust = 'verified') FROM evaluations AS e WHERE e.node_id = d.node_id AND score IS NOT NULL)
FROM runs AS r
JOIN (
    SELECT run, arg_max(kind, arrival) AS kind, arg_max(node_id, arrival) AS node_id
    FROM decisions WHERE kind IN ('champion', 'no_champion') GROUP BY run
) AS d ON d.run = r.run AND d.kind = 'champion'
JOIN scores AS s ON s.run = r.run AND s.node_id = d.node_id
WHERE r.run = ?"""
"""Query for the best known value of a run's task, and the champion's score on val with whether it is exact."""


def known_in_words(found: Iterable[Sequence[Any]]) -> str | None:
    """Return how the row of ``KNOWN`` compares; None without a champion, or if the task names no known value."""
    for known, direction, score, exact in found:
        if isinstance(values := json.loads(known or "null"), dict):
            try:
                best = typed(BestKnown, values, "task.known")
            except ValueError:  # written by another version, or by hand
                return None
            compared = best.compared(float(score), direction == "maximise", bool(exact))
            return cell(f"The champion, {float(score):.10g} on val, {compared}.", 400)
    return None


def trust_in_words(found: Iterable[Sequence[Any]]) -> str:
    """Return the rows (trust, sandbox) of ``TRUST`` as words; empty if there are none."""
    return ", ".join(f"{_TRUST_WORDS.get(trust, trust)} (sandbox {sandbox})" for trust, sandbox in found)


# ---------------------------------------------------------------- names of runs and nodes

_SHOWN_IDS = 8


def which_run(reader: Reader, run: str | None) -> str:
    """Return ``run``, or the most recently active run. Raises QueryError if there is none of that name.

    Ablation runs count only if named, or if there is no other run.
    """
    sql = (
        "SELECT run FROM runs AS r ORDER BY policy = 'ablation', greatest(created_at, "
        "(SELECT max(chosen_at) FROM moves AS m WHERE m.run = r.run)) DESC, r.rowid DESC"
    )
    known = [str(name) for (name,) in reader.query(sql).rows]
    if not known:
        raise QueryError(f"the archive holds no run yet; start one with: {command('search')}")
    if run is None:
        return known[0]
    if run not in known:
        raise QueryError(f"there is no run {run!r} in the archive; it holds: {', '.join(map(cell, known))}")
    return run


NAMED = (
    "SELECT node_id, operator, idea FROM nodes WHERE starts_with(node_id, ?) ORDER BY node_id = ? DESC, node_id "
    f"LIMIT {_SHOWN_IDS + 1}"
)
"""Query for the nodes whose ids start with its parameter (given twice), for ``the_one``."""


def full_id(reader: Reader, start: str) -> str:
    """Return the id of the only node whose id starts with ``start``. Raises QueryError, listing several matches."""
    return the_one(start, reader.query(NAMED, [start, start]).rows)


def the_one(start: str, found: Sequence[tuple[Any, ...]]) -> str:
    """Return the only id among the rows of ``NAMED``. Raises QueryError, listing several matches."""
    if start and found and (len(found) == 1 or found[0][0] == start):
        return str(found[0][0])
    if not start or not found:
        raise QueryError(f"no node has an id that starts with {start!r}; see: {command('archive')} leaderboard")
    shown = [f"  {node_id}  {cell(operator)}: {cell(idea)}" for node_id, operator, idea in found[:_SHOWN_IDS]]
    more = ["  ..."] if len(found) > _SHOWN_IDS else []
    raise QueryError("\n".join([f"{start!r} is the start of several ids; give more digits:", *shown, *more]))
