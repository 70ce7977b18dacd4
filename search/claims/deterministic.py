"""The claim of a deterministic task: the finalist and the root, each evaluated once on the cases of ``holdout``.

    the same cases as val    a verification: both scores have to come out again, exactly
    one other case           exact: the gain on it
    several other cases      a sample of cases: Student's interval of the gains by case, paired

A gain counts if it is at least ``smallest_gain``, or above zero where the task sets none. No seed is repeated, since
none changes a score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive.difference import Difference, exact, gains_by_case, measurements, over_cases
from archive.interval import ROUNDING
from archive.records import Purpose, Scored, VerdictCode
from archive.tree import Tree
from search.claims.error_budget import percent


@dataclass(frozen=True)
class ExactVerdict:
    """How an exact claim ended."""

    code: VerdictCode
    words: str
    difference: Difference | None = None


@dataclass(frozen=True)
class _Side:
    """One program's evaluation on val, and the one on holdout."""

    node_id: str
    val: Scored
    holdout: Scored

    @property
    def same_cases(self) -> bool | None:
        """Whether both were judged on the same cases; None if neither says which those were."""
        sets = [None if e.windows is None else e.windows.position_set for e in (self.val, self.holdout)]
        return None if None in sets else sets[0] == sets[1]

    @property
    def repeated(self) -> bool:
        return self.val.score == self.holdout.score


def judge_exactly(tree: Tree, nominee: str, confidence: float, smallest_gain: float | None, unit: str) -> ExactVerdict:
    """Judge the last reports of the root and of ``nominee``; both have one."""
    sides = [_Side(node_id, _last(tree, node_id, "screen"), _last(tree, node_id, "report"))
             for node_id in (tree.root, nominee)]  # fmt: skip
    same = sides[0].same_cases
    if same is None:  # of two programs, one that comes out again shows that the cases are the same
        same = any(side.repeated for side in sides)
    if same and (odd := next((side for side in sides if not side.repeated), None)) is not None:
        return ExactVerdict("not_deterministic", _contradiction(odd))
    root, champion = (side.holdout for side in sides)
    gains = gains_by_case(measurements([root]), measurements([champion]), tree.direction)
    values = list(gains.values())
    if not same and len(gains) > 1 and np.ptp(values) > ROUNDING * float(np.abs(values).max()):
        return _by_interval(over_cases(gains, [root.score], [champion.score], confidence), unit)
    difference = exact([root.score], [champion.score], tree.direction, confidence)
    return _by_value(difference, smallest_gain, unit, same)


def _last(tree: Tree, node_id: str, purpose: Purpose) -> Scored:
    return [e for e in tree.comparable(node_id, purpose) if isinstance(e, Scored)][-1]


def _contradiction(side: _Side) -> str:
    return (
        "the task says deterministic: true, and two evaluations of the same program "
        f"({side.node_id[:8]}) gave {side.val.score!r} and {side.holdout.score!r}. Make the scorer and the program's "
        "calls reproducible, or set deterministic: false and start a new run"
    )


def _by_value(difference: Difference, smallest_gain: float | None, unit: str, same: bool) -> ExactVerdict:
    gain, words = difference.gain, _means(difference, unit)
    if gain <= 0 or gain < (smallest_gain or 0.0) * (1 - ROUNDING):
        least = "above 0" if smallest_gain is None else f"of at least {smallest_gain:g} (task.smallest_gain)"
        return ExactVerdict("too_small", f"{words}: a gain of {gain:.4g}, and a champion needs one {least}")
    how = "both scores came out again exactly" if same else "on cases that the search has not seen"
    return ExactVerdict("verified", f"{words} (gain {gain:.4g}; deterministic, verified: {how})", difference)


def _by_interval(difference: Difference, unit: str) -> ExactVerdict:
    d = difference
    interval = f"{percent(d.confidence)} interval {d.low:.4g} to {d.high:.4g} over {d.cases} cases"
    words = f"{_means(d, unit)} (gain {d.gain:.4g}, {interval}, paired; deterministic)"
    if difference.significant:
        return ExactVerdict("improvement", words, difference)
    return ExactVerdict("within_noise", f"no improvement beyond the spread between cases: {words}", difference)


def _means(difference: Difference, unit: str) -> str:
    return f"{difference.baseline_mean:.6g} -> {difference.champion_mean:.6g} {unit}".rstrip()
