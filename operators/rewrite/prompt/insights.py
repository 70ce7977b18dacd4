"""Insights from the archive for prompts: which operators and kinds of change gained, by SQL over its views.

All runs of the same task under the same conditions (corpus, budget, hardware) count: their gains are comparable,
although their nodes cannot be parents here. Counts are made as in the view ``change_kind_stats``, and the sentences
those of the report (``archive.report.lessons``), so that people and the model read the same.

Only screening scores are used: the views have no others. A query costs some 20 ms of CPU time at 100 nodes, in the
thread that then waits for the model, and more in a large archive; so insights are kept until the run has grown by 2%.
"""

from __future__ import annotations

import threading
from contextlib import suppress

import duckdb

from archive.records import Conditions
from archive.report.lessons import LEAST, tally
from operators.base import Query
from operators.sanitize import one_line

_RUNS = """
    SELECT r.run FROM runs AS r JOIN present_conditions AS p USING (run)
    WHERE r.direction = (SELECT direction FROM runs WHERE run = ?)
      AND (p.fingerprint, p.budget_seconds, p.hardware) = (?, ?, ?)
      AND r.policy <> 'ablation'  -- removed steps are no kind of change
"""
_FACTS = f"""
    WITH here AS MATERIALIZED ({_RUNS}),
    gained AS MATERIALIZED (SELECT node_id, gain FROM gains WHERE run IN (FROM here)),
    screened AS MATERIALIZED (SELECT node_id, outcome FROM screenings WHERE run IN (FROM here)),
    tried AS (
        SELECT n.node_id, n.operator, n.aim, bool_or(s.outcome = 'scored') AS good
        FROM nodes AS n JOIN screened AS s USING (node_id) WHERE n.number > 0 GROUP BY ALL
    ),
    kinds AS (
        SELECT operator, aim, count(*) FILTER (gain > 0) AS improved, count(*) AS tried,
               count(*) FILTER (NOT good) AS failed, max(gain) AS best
        FROM tried LEFT JOIN gained USING (node_id) GROUP BY operator, aim HAVING count(*) >= {LEAST}
    ),
    best AS (
        SELECT gain, operator, aim, idea, node_id FROM gained JOIN nodes USING (node_id)
        WHERE gain > ? ORDER BY gain DESC, node_id LIMIT ?
    ),
    failures AS (SELECT outcome, count(*) AS count FROM screened WHERE outcome <> 'scored' GROUP BY outcome)
    SELECT (SELECT list((operator, aim, improved, tried, failed, best)
                        ORDER BY improved / tried DESC, tried DESC, operator, aim) FROM kinds),
           (SELECT list((gain, operator, aim, idea) ORDER BY gain DESC, node_id) FROM best),
           (SELECT list((outcome, count) ORDER BY count DESC, outcome) FROM failures)
"""
"""One row with three lists. Planning takes most of the time, so three queries of the same views took twice as long."""
_GAINS_SHOWN = 5
_GROWTH = 50
"""Insights are queried again after 1/50 more evaluations."""


class Insights:
    """Insights of a run, queried again when the run has grown. Thread-safe.

    Simultaneous proposals wait for one query instead of making one each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: tuple[str, ...] = ()
        self._again = 0
        """Number of evaluations from which on the archive is queried again."""

    def lines(
        self, query: Query | None, run: str, conditions: Conditions, sigma: float | None, evaluated: int
    ) -> tuple[str, ...]:
        """Return the insights; the earlier ones if the query was interrupted because the writer needed the memory.

        ``evaluated``: evaluations of the run so far.
        """
        with self._lock:
            if evaluated >= self._again:
                with suppress(duckdb.InterruptException):
                    self._lines = query_insights(query, run, conditions, sigma)
                    self._again = evaluated + max(1, evaluated // _GROWTH)
            return self._lines


def query_insights(query: Query | None, run: str, conditions: Conditions, sigma: float | None) -> tuple[str, ...]:
    """Return lines, the most informative first; none without an archive or without enough rows.

    ``sigma``: single gains are listed from two standard deviations of a difference on. Raises
    duckdb.InterruptException if the writer needed the memory.
    """
    if query is None:
        return ()
    here = [run, conditions.fingerprint, conditions.budget_seconds, conditions.hardware]
    least = 2 * 2**0.5 * sigma if sigma is not None else 0.0
    ((kinds, gains, failed),) = query(_FACTS, [*here, least, _GAINS_SHOWN])
    lines = [*(_kind(*kind) for kind in kinds or ()), *(_gain(*gain) for gain in gains or ())]
    if failed:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in failed)
        lines.append(f"- evaluations without a score: {counts}")
    return tuple(lines)


def kind_of(operator: str, aim: str | None) -> str:
    """Return an operator with its kind of change: ``improve (schedule)``."""
    return f"{operator} ({aim})" if aim else operator


def _kind(operator: str, aim: str | None, improved: int, tried: int, failed: int, best: float | None) -> str:
    at_best = f" The best of them gained {best:.2g}." if best is not None and best > 0 else ""
    return f"- {one_line(tally(kind_of(operator, aim), improved, tried, failed))}{at_best}"


def _gain(gain: float, operator: str, aim: str | None, idea: str) -> str:
    return f"- better by {gain:.2g}: {one_line(kind_of(operator, aim))}: {one_line(idea)}"
