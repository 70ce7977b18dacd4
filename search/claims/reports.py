"""The reports of a claim: the difference of both sides, the looks at it, and both in words.

Scores are compared by the text that judged them, so that each look may have text of its own (``search.claims.looks``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from archive.difference import Difference, Sampled, ScoreStage, paired_sampling, welch_in_stages
from archive.interval import NoInterval
from archive.tree import Tree
from search.claims.error_budget import confidence_of, percent
from search.claims.looks import Boundary, Stopped, boundary, stopped
from search.claims.state import ClaimState, Side
from search.config import ClaimPlan

STOPPED: Mapping[Stopped, str] = {
    "success": "the gain is clear",
    "futility": "more seeds would hardly show a gain",
}


@dataclass(frozen=True)
class Look:
    """A look at the reports of a claim, which may end it."""

    number: int
    of: int
    seeds: int
    """Per side, up to this look."""
    planned: int
    """Per side, up to the last look."""
    level: float
    """One-sided, of the crowning at this look."""
    stopped: Stopped | None
    """Why the claim ended with this look; None if it did not, and for the last."""


def take_look(tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str) -> Look | None:
    """Return the first of two looks; None if a side has fewer scores than it needs, so that no second can follow."""
    levels, seeds = _levels(tree, plan), plan.look_seeds[0]
    if levels is None or min(len(side.scores) for side in report_sides(tree, claim, nominee)) < seeds:
        return None
    difference = difference_of(tree, plan, claim, nominee, seeds=seeds)
    why = None if isinstance(difference, NoInterval) else stopped(difference, levels)
    return Look(1, 2, seeds, plan.report_seeds, levels.first, why)


def _levels(tree: Tree, plan: ClaimPlan) -> Boundary | None:
    """Return the levels of the looks of a claim; None for a single look."""
    if len(plan.look_seeds) < 2:
        return None
    return boundary((1 - confidence_of(tree, plan)) / 2, plan.look_seeds[0] / plan.look_seeds[1])


def report_sides(tree: Tree, claim: ClaimState, nominee: str) -> tuple[Side, Side]:
    return claim.side(tree.root, "report"), claim.side(nominee, "report")


def difference_of(
    tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str, seeds: int | None = None, level: float | None = None
) -> Difference | NoInterval:
    """Return the gain of the reports, or of the first ``seeds`` a side, compared by the text that judged them.

    level: one-sided, of the interval; None: that of the claim.
    """
    what: Sampled = "cases" if any(e.cases for e in tree.comparable(nominee, "report")) else "secret positions"
    root, other = (side.first(seeds) for side in report_sides(tree, claim, nominee))
    names = dict.fromkeys([*root.sets, *other.sets])
    stages = [_stage(root.of(name), other.of(name), what) for name in names]
    both = [stage for stage in stages if stage.baseline and stage.champion] or [_stage(root, other, what)]
    return welch_in_stages(both, tree.direction, confidence_of(tree, plan) if level is None else 1 - 2 * level)


def _stage(baseline: Side, champion: Side, what: Sampled) -> ScoreStage:
    before, after = ([windows.scores for windows in side.windows] for side in (baseline, champion))
    return ScoreStage(baseline.scores, champion.scores, paired_sampling(before, after, what))


def last_look(tree: Tree, plan: ClaimPlan, claim: ClaimState, nominee: str) -> Look | None:
    """Return the look that the verdict follows: the first if it stopped the claim, else the last."""
    levels, first = _levels(tree, plan), take_look(tree, plan, claim, nominee)
    if levels is None or first is None or first.stopped:
        return first
    seeds = min(len(side.scores) for side in report_sides(tree, claim, nominee))
    return Look(2, 2, seeds, plan.report_seeds, levels.last, None)


def look_words(look: Look | None) -> str:
    if look is None or not look.stopped:
        return ""
    return f"; stopped after the first look, at {look.seeds} of {look.planned} seeds a side: {STOPPED[look.stopped]}"


def describe(difference: Difference, unit: str = "") -> str:
    """Format a difference: ``3.41 -> 3.08 bpb (gain 0.33, 95% interval 0.30 to 0.36, 4 fresh seeds each)``."""
    d, digits = difference, _digits(difference)
    seeds = (
        f"{d.baseline_n} fresh seeds each"
        if d.baseline_n == d.champion_n
        else f"{d.baseline_n} and {d.champion_n} fresh seeds"
    )
    means = f"{d.baseline_mean:.{digits}f} -> {d.champion_mean:.{digits}f} {unit}".rstrip()
    interval = f"{percent(d.confidence)} interval {d.low:.{digits}f} to {d.high:.{digits}f}"
    if d.sampling is not None:
        seeds += f", {d.sampling.windows:,} {d.sampling.what}"
    note = f"; {d.note}" if d.note else ""
    return f"{means} (gain {d.gain:.{digits}f}, {interval}, {seeds}{note})"


def _digits(difference: Difference) -> int:
    """Return decimals that fit the interval's width, and enough that neither end is rounded to zero."""
    half = (difference.high - difference.low) / 2 or abs(difference.gain) / 10
    digits = min(6, max(2, math.ceil(-math.log10(half)))) if half > 0 else 2
    while digits < 6 and 0 in (round(difference.low, digits), round(difference.high, digits)):
        digits += 1
    return digits
