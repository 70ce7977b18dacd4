"""The plan of a claim: finalists, seeds for the present noise, and what is reduced first to fit the budget."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from archive.noise import SeedDeviation
from archive.tree import Tree
from search.claims.error_budget import confidence_of, since_last_search_move
from search.claims.looks import boundary
from search.claims.statistics import power, seed_deviation
from search.config import FIRST_LOOK, LOOK_SEEDS, ClaimPlan

CLEAR = 2.0
"""Seed deviations of a lead beyond luck from which on one confirm seed is enough."""
CERTAIN = 8.0
"""Seed deviations of a lead beyond luck for which three seeds a side are enough: Welch's interval finds 8 in every
claim, and 4, if the deviation is twice its estimate, in 89%."""


@dataclass(frozen=True)
class NoClaim:
    """No claim is possible, with the reason."""

    reason: str
    too_small: bool = False
    """Whether the budget is too small for any claim."""


def as_started(plan: ClaimPlan, config: Mapping[str, Any], elsewhere: int) -> ClaimPlan:
    """Return the plan with as many looks as the run was started with, so that a claim ends by the rule it began with.

    config: as the run recorded it; runs from before there were looks have one. elsewhere: claims of other runs.
    """
    recorded = config.get("claim")
    looks = recorded.get("looks", 1) if isinstance(recorded, Mapping) else plan.looks
    return replace(plan, looks=looks, claims_elsewhere=elsewhere)


def sized(plan: ClaimPlan, tree: Tree) -> ClaimPlan:
    """Return the plan with as many report seeds as detect ``smallest_gain`` with ``power``.

    Between ``report_seeds`` and ``most_report_seeds``, by the formula of ``claim_power``. Where the leader is ahead
    of the root by more than luck explains, that lead is the gain to detect, which takes fewer runs
    (``_sure_lead``). Runs of the claim are not used, so the number of seeds does not depend on their scores. The
    deviation is a coarse estimate after three runs of the root, so the upper end of its interval is used (Browne
    1995, "On the use of a pilot sample for sample size determination": sized by the estimate itself, a test has
    less power than intended more often than not). A deterministic task needs one evaluation of the leader and one
    of the root.

    With two looks: at least as many seeds as these need, and finalists are the nodes within a standard error of the
    best. Of a lead of ``CLEAR`` deviations and more, one confirm seed each instead of two gives away 0.03 to 0.06
    deviations of the gain (tests/benchmarks/claims.py). Of a lead of ``CERTAIN`` deviations, ``FIRST_LOOK`` seeds and
    no second look, so that the search has the evaluations that a second one would keep: not where the plan asks for
    more seeds than two looks need.
    """
    if tree.deterministic:
        return replace(plan, deterministic=True, candidates=1, report_seeds=1, least_report_seeds=None)
    sigma = _sigma_before(tree)
    if plan.smallest_gain is None or sigma is None or not sigma.high:
        return plan
    gain = gain_to_find(plan, tree, sigma.high)
    wanted = seeds_for(plan, gain / sigma.high, plan.power, plan.most_report_seeds, confidence_of(tree, plan))
    sure = replace(plan, report_seeds=max(plan.report_seeds, wanted), least_report_seeds=plan.report_seeds)
    return sure if plan.looks == 1 else _in_looks(sure, plan, _sure_lead(tree, sigma.high) / sigma.high, sigma)


def _in_looks(sure: ClaimPlan, plan: ClaimPlan, lead: float, sigma: SeedDeviation) -> ClaimPlan:
    """Return the plan with the seeds of two looks, or of the first alone. lead: beyond luck, in deviations."""
    certain = lead >= CERTAIN and sure.report_seeds < LOOK_SEEDS and plan.report_seeds < LOOK_SEEDS
    seeds = FIRST_LOOK if certain else max(sure.report_seeds, LOOK_SEEDS)
    return replace(
        sure,
        report_seeds=min(seeds, max(plan.report_seeds, plan.most_report_seeds)),
        least_report_seeds=min(seeds, plan.report_seeds),
        confirm_seeds=1 if lead >= CLEAR else plan.confirm_seeds,
        reach=sigma.value or None,
    )


def gain_to_find(plan: ClaimPlan, tree: Tree, sigma: float) -> float:
    """Return the gain that a claim is sized for: the smallest worth claiming, or a lead beyond luck."""
    return max(plan.smallest_gain or 0.0, _sure_lead(tree, sigma))


def claim_power(plan: ClaimPlan, gain: float, confidence: float) -> float:
    """Return the probability that a claim with this plan detects a gain of so many sigma, the last look included.

    confidence: of the claim. Of two looks it is that of the last alone, whose text differs from the first's. Student's
    power, as everywhere: of five seeds a side Welch's finds 66% instead of 76% of gains of 2 sigma.
    """
    if len(plan.look_seeds) == 1:
        return power(gain, plan.report_seeds, confidence)
    levels = boundary((1 - confidence) / 2, plan.look_seeds[0] / plan.look_seeds[1])
    return power(gain, plan.report_seeds, levels.confidence, stages=2)


def seeds_for(plan: ClaimPlan, gain: float, wanted: float, most: int, confidence: float) -> int:
    """Return the fewest report seeds per side, from 2 to ``most``, that detect a gain of so many sigma."""
    runs = range(2, max(2, most))
    return 2 + bisect_left(
        runs, wanted, key=lambda seeds: claim_power(replace(plan, report_seeds=seeds), gain, confidence)
    )


def _sigma_before(tree: Tree) -> SeedDeviation | None:
    """Return the seed deviation without the runs of the present claim."""
    return seed_deviation(tree, before=len(tree.moves) - len(tuple(since_last_search_move(tree))))


def _sure_lead(tree: Tree, sigma: float) -> float:
    """Return the lead of the leader's screening mean over the root's, less the selection bias of the best of n.

    The bias is ``sigma * sqrt(2 ln n)``, an upper bound of the expected maximum of n equal candidates. Screenings
    decide the size of a claim here, and never enter it.
    """
    leader = tree.leader()
    if leader is None or not tree.runs[0]:
        return 0.0
    lead = abs(tree.mean(leader) - tree.mean(tree.root))  # a leader is never worse than the root
    return lead - sigma * math.sqrt(2 * math.log(len(tree)))


def fit(plan: ClaimPlan, evaluations_left: int) -> ClaimPlan | NoClaim:
    """Return the plan shrunk to the budget: first fewer report seeds, down to the least, then fewer candidates.

    With one candidate left and still too little, fewer report seeds again, at least 2 per side. The whole budget
    becomes the plan's ``limit``, which pays for repeats of failed runs. During a claim pass ``evaluations_left +
    spent(tree)``, so that the plan does not shrink as its own evaluations land.
    """
    least = plan.least_report_seeds or plan.report_seeds
    for candidates in range(plan.candidates, 0, -1):
        for seeds in range(plan.report_seeds, least - 1, -1):
            smaller = replace(plan, candidates=candidates, report_seeds=seeds, limit=evaluations_left)
            if smaller.evaluations <= evaluations_left:
                return smaller
    seeds = evaluations_left // 2
    if seeds >= plan.least_seeds:
        return replace(plan, candidates=1, report_seeds=seeds, limit=evaluations_left)
    return NoClaim(
        f"a claim needs at least {2 * plan.least_seeds} evaluations with fresh seeds ({plan.least_seeds} each of the "
        f"root and the best node), and the budget has {max(evaluations_left, 0)} for it. "
        "Raise budget.evaluations and resume.",
        too_small=True,
    )


def paid_plans(plan: ClaimPlan, evaluations: int) -> Iterator[ClaimPlan]:
    """Yield the plans by which a claim may have ended that has taken so many evaluations.

    A claim that its first look has stopped was planned for more seeds than it has used.
    """
    if isinstance(used := fit(plan, evaluations), ClaimPlan):
        yield used
    for seeds in range(plan.report_seeds, LOOK_SEEDS - 1, -1):
        yield replace(plan, report_seeds=seeds, limit=evaluations)
