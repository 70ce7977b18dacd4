"""Lessons: what the whole archive supports about kinds of change, by SQL over its views, as lines for a prompt.

All runs of the same task count whose scores were made under the conditions of this one (corpus, budget, hardware):
their gains can be compared, although their nodes cannot be parents here. The counts are those of the view
``change_kind_stats``, and the sentences those of the report (``archive.report.lessons``), so that a person and the
model read the same.

Screening scores only: the views have no others. Asking costs 45 ms of CPU time at 1,000 nodes, in the thread that then
waits for the model, and more in a large archive; so what was learned holds until the run has grown by a fiftieth.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import duckdb

from archive.records import Conditions
from archive.report.lessons import LEAST, tally
from operators.sanitize import one_line

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one statement over what is committed to the archive, for reading: ``Archive.query``."""

_RUNS = """
    SELECT r.run FROM runs AS r JOIN present_conditions AS p USING (run)
    WHERE r.direction = (SELECT direction FROM runs WHERE run = ?)
      AND (p.fingerprint, p.budget_seconds, p.hardware) = (?, ?, ?)
      AND r.policy <> 'ablation'  -- steps that were taken out again are no kind of change
"""
_KINDS = f"""
    SELECT operator, aim, sum(improved)::BIGINT, sum(tried)::BIGINT, sum(failed)::BIGINT,
           max(best_gain)
    FROM change_kind_stats WHERE run IN ({_RUNS})
    GROUP BY operator, aim HAVING sum(tried) >= {LEAST}
    ORDER BY sum(improved) / sum(tried) DESC, sum(tried) DESC, operator, aim
"""
_BEST = f"""
    SELECT g.gain, n.operator, n.aim, n.idea FROM gains AS g JOIN nodes AS n USING (node_id)
    WHERE g.run IN ({_RUNS}) AND g.gain > ? ORDER BY g.gain DESC, n.node_id LIMIT ?
"""
_FAILED = f"""
    SELECT outcome, count(*) FROM screenings
    WHERE run IN ({_RUNS}) AND outcome <> 'scored' GROUP BY outcome ORDER BY count(*) DESC, outcome
"""
_GAINS_SHOWN = 5
_GROWTH = 50
"""The share of a run's evaluations, as its inverse, after which lessons are asked for again."""


class Insights:
    """What was learned, asked again whenever the run has grown enough to know better. Thread-safe.

    Proposals that come at the same time wait for one answer instead of asking for it each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: tuple[str, ...] = ()
        self._again = 0
        """The number of evaluations from which on it is asked again."""

    def lines(
        self, query: Query | None, run: str, conditions: Conditions, sigma: float | None, evaluated: int
    ) -> tuple[str, ...]:
        """As ``learned``, or what is known already where the writer needed the memory: the next proposal asks again.

        ``evaluated``: the run's evaluations so far.
        """
        with self._lock:
            if evaluated >= self._again:
                with suppress(duckdb.InterruptException):
                    self._lines = learned(query, run, conditions, sigma)
                    self._again = evaluated + max(1, evaluated // _GROWTH)
            return self._lines


def learned(query: Query | None, run: str, conditions: Conditions, sigma: float | None) -> tuple[str, ...]:
    """Lines, the most telling first; none without an archive, or where it supports none yet.

    ``sigma``: a single gain is told from two deviations of a difference on. Raises duckdb.InterruptException where the
    writer needed the memory.
    """
    if query is None:
        return ()
    here = [run, conditions.fingerprint, conditions.budget_seconds, conditions.hardware]
    kinds = [_kind(*row) for row in query(_KINDS, here)]
    least = 2 * 2**0.5 * sigma if sigma is not None else 0.0
    gains = [_gain(*row) for row in query(_BEST, [*here, least, _GAINS_SHOWN])]
    failed = query(_FAILED, here)
    lines = [*kinds, *gains]
    if failed:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in failed)
        lines.append(f"- trainings without a score: {counts}")
    return tuple(lines)


def kind_of(operator: str, aim: str | None) -> str:
    """``improve (schedule)``."""
    return f"{operator} ({aim})" if aim else operator


def _kind(operator: str, aim: str | None, improved: int, tried: int, failed: int, best: float | None) -> str:
    at_best = f" The best of them gained {best:.2g}." if best is not None and best > 0 else ""
    return f"- {one_line(tally(kind_of(operator, aim), improved, tried, failed))}{at_best}"


def _gain(gain: float, operator: str, aim: str | None, idea: str) -> str:
    return f"- better by {gain:.2g}: {one_line(kind_of(operator, aim))}: {one_line(idea)}"
