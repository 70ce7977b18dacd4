"""Insights for prompts: which operators and kinds of change gained so far.

All runs of the same task under the same conditions (corpus, budget, hardware) count: their gains are comparable,
although their nodes cannot be parents here. This run's are counted in its tree, the others' once in a session by SQL,
which takes 16 ms of CPU time at 100 nodes. Both count as the view ``change_kind_stats`` does, and the sentences are
those of the report (``archive.report.lessons``), so that people and the model read the same. Only screening scores are
used.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import duckdb

from archive.records import Node
from archive.report.lessons import LEAST, tally
from archive.tree import Tree
from operators.base import Query
from operators.sanitize import one_line

_RUNS = """
    SELECT r.run FROM runs AS r JOIN present_conditions AS p USING (run)
    WHERE r.run <> ? AND r.direction = ? AND (p.fingerprint, p.budget_seconds, p.hardware) = (?, ?, ?)
      AND r.policy <> 'ablation'  -- removed steps are no kind of change
"""
_FACTS = """
    WITH here AS MATERIALIZED (SELECT unnest(?::VARCHAR[]) AS run),
    gained AS MATERIALIZED (SELECT node_id, gain FROM gains WHERE run IN (FROM here)),
    screened AS MATERIALIZED (SELECT node_id, outcome FROM screenings WHERE run IN (FROM here)),
    tried AS (
        SELECT n.node_id, n.operator, n.aim, bool_or(s.outcome = 'scored') AS good
        FROM nodes AS n JOIN screened AS s USING (node_id) WHERE n.number > 0 GROUP BY ALL
    ),
    kinds AS (
        SELECT operator, aim, count(*) FILTER (gain > 0) AS improved, count(*) AS tried,
               count(*) FILTER (NOT good) AS failed, max(gain) AS best
        FROM tried LEFT JOIN gained USING (node_id) GROUP BY operator, aim
    ),
    best AS (
        SELECT gain, node_id, operator, aim, idea FROM gained JOIN nodes USING (node_id)
        WHERE gain > 0 ORDER BY gain DESC, node_id LIMIT ?
    ),
    failures AS (SELECT outcome, count(*) AS count FROM screened WHERE outcome <> 'scored' GROUP BY outcome)
    SELECT (SELECT list((operator, aim, improved, tried, failed, best)) FROM kinds),
           (SELECT list((gain, node_id, operator, aim, idea)) FROM best),
           (SELECT list((outcome, count)) FROM failures)
"""
"""One row with three lists. Planning takes most of the time, so three queries of the same views took twice as long."""
_GAINS_SHOWN = 5
_GROWTH = 50
"""Insights are counted again after 1/50 more evaluations."""
_CHUNK = 2000
"""Nodes that are counted before the search may use the tree again."""

Kind = tuple[str, str | None]
"""An operator and the kind of change that it was asked for."""


@dataclass
class KindCounts:
    """The evaluated nodes of one kind."""

    improved: int = 0
    """Those better than the better of their parents."""
    tried: int = 0
    failed: int = 0
    """Those without a score."""
    best: float | None = None
    """The largest gain, or the smallest loss; None where none could be compared."""

    def add(self, other: KindCounts) -> None:
        self.improved += other.improved
        self.tried += other.tried
        self.failed += other.failed
        if other.best is not None:
            self.best = other.best if self.best is None else max(self.best, other.best)


@dataclass(frozen=True)
class Gain:
    """A node's gain over the better of its parents."""

    gain: float
    node_id: str
    operator: str
    aim: str | None
    idea: str


@dataclass
class Facts:
    """What was tried, what gained most, and what failed."""

    kinds: dict[Kind, KindCounts] = field(default_factory=dict)
    gains: list[Gain] = field(default_factory=list)
    """The largest positive ones, the largest first."""
    failures: Counter[str] = field(default_factory=Counter)
    """Outcome -> evaluations."""

    def add(self, other: Facts) -> None:
        for kind, counts in other.kinds.items():
            self.kinds.setdefault(kind, KindCounts()).add(counts)
        self.gains = _largest([*self.gains, *other.gains])
        self.failures += other.failures


class Insights:
    """Insights of a run, counted again when the run has grown. Thread-safe.

    Simultaneous proposals wait for one count instead of making one each.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._elsewhere: Facts | None = None
        self._lines: tuple[str, ...] = ()
        self._again = 0
        """Number of evaluations from which on the tree is counted again."""

    def lines(self, tree: Tree, query: Query | None, sigma: float | None) -> tuple[str, ...]:
        """Return the insights, the most informative first; of this run alone without an archive.

        ``sigma``: single gains are listed from two standard deviations of a difference on. The other runs are asked for
        the next time if the query was interrupted because the writer needed the memory.
        """
        with self._lock:
            if tree.evaluated >= self._again:
                self._again = tree.evaluated + max(1, tree.evaluated // _GROWTH)
                facts = facts_of_tree(tree)
                facts.add(self._others(tree, query))
                self._lines = in_words(facts, sigma)
            return self._lines

    def _others(self, tree: Tree, query: Query | None) -> Facts:
        if self._elsewhere is None and query is not None:
            with suppress(duckdb.InterruptException):
                self._elsewhere = facts_of_other_runs(tree, query)
        return self._elsewhere or Facts()


def facts_of_tree(tree: Tree) -> Facts:
    """Count the comparable screenings of a tree."""
    facts, first = Facts(), 0
    while first < len(tree):
        with tree.lock:
            part = tree.nodes[first : first + _CHUNK]
            facts.add(_counted(tree, part))
        first += len(part)
    return facts


def _counted(tree: Tree, nodes: Iterable[Node]) -> Facts:
    facts, sound, means = Facts(), tree.eligible(), tree.means
    sign = -1.0 if tree.direction == "minimise" else 1.0
    gains = []
    for node in nodes:
        outcomes = [e.outcome for e in tree.comparable(node.node_id) if e.outcome != "lost"]
        facts.failures.update(outcome for outcome in outcomes if outcome != "scored")
        if not outcomes or not node.number:
            continue
        candidate, place = node.candidate, tree.index[node.node_id]
        counts = facts.kinds.setdefault((candidate.operator, candidate.aim), KindCounts())
        parents = [sign * means[i] for i in map(tree.index.__getitem__, node.parents) if sound[i]]
        gain = float(sign * means[place] - max(parents)) if sound[place] and parents else None
        counts.add(KindCounts(int(gain is not None and gain > 0), 1, int("scored" not in outcomes), gain))
        if gain is not None and gain > 0:
            gains.append(Gain(gain, node.node_id, candidate.operator, candidate.aim, candidate.idea))
    facts.gains = _largest(gains)
    return facts


def facts_of_other_runs(tree: Tree, query: Query) -> Facts:
    """Count the screenings of the other runs under the tree's conditions. Raises duckdb.InterruptException."""
    conditions = tree.conditions
    here = [tree.run, tree.direction, conditions.fingerprint, conditions.budget_seconds, conditions.hardware]
    runs = [run for (run,) in query(_RUNS, here)]
    if not runs:
        return Facts()
    ((kinds, gains, failed),) = query(_FACTS, [runs, _GAINS_SHOWN])
    return Facts(
        {(operator, aim): KindCounts(*counts) for operator, aim, *counts in kinds or ()},
        _largest(Gain(*gain) for gain in gains or ()),
        Counter(dict(failed or ())),
    )


def _largest(gains: Iterable[Gain]) -> list[Gain]:
    return sorted(gains, key=lambda each: (-each.gain, each.node_id))[:_GAINS_SHOWN]


def in_words(facts: Facts, sigma: float | None) -> tuple[str, ...]:
    """Return lines, the most informative first; none without enough evaluations."""
    least = 2 * 2**0.5 * sigma if sigma is not None else 0.0
    kinds = [(kind, counts) for kind, counts in facts.kinds.items() if counts.tried >= LEAST]
    lines = [_kind(kind, counts) for kind, counts in sorted(kinds, key=_usefulness)]
    lines += [_gain(each) for each in facts.gains if each.gain > least]
    if facts.failures:
        ordered = sorted(facts.failures.items(), key=lambda each: (-each[1], each[0]))
        lines.append(f"- evaluations without a score: {', '.join(f'{count} {outcome}' for outcome, count in ordered)}")
    return tuple(lines)


def _usefulness(item: tuple[Kind, KindCounts]) -> tuple[float, int, str, bool, str]:
    """Return a key that sorts the kinds that improved most often first."""
    (operator, aim), counts = item
    return -counts.improved / counts.tried, -counts.tried, operator, aim is None, aim or ""


def kind_of(operator: str, aim: str | None) -> str:
    """Return an operator with its kind of change: ``improve (schedule)``."""
    return f"{operator} ({aim})" if aim else operator


def _kind(kind: Kind, counts: KindCounts) -> str:
    best = counts.best
    at_best = f" The best of them gained {best:.2g}." if best is not None and best > 0 else ""
    return f"- {one_line(tally(kind_of(*kind), counts.improved, counts.tried, counts.failed))}{at_best}"


def _gain(each: Gain) -> str:
    return f"- better by {each.gain:.2g}: {one_line(kind_of(each.operator, each.aim))}: {one_line(each.idea)}"
