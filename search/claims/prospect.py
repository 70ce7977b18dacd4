"""What a claim could show before it is begun: whether there is a node to claim, and how likely its gain is found."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from archive.records import Decision
from archive.tree import Tree
from search.claims.claim import begun, contenders, narrowed
from search.claims.error_budget import confidence_of, last_claim_move
from search.claims.plan import NoClaim, claim_power, fit, gain_to_find, seeds_for
from search.claims.statistics import seed_deviation
from search.config import ClaimPlan

_MOST_SEEDS = 1000


def prospect(
    plan: ClaimPlan,
    tree: Tree,
    evaluations: int,
    standing: Decision | None,
    unit: str,
    *,
    grown: bool = True,
    concluded: bool = False,
) -> ClaimPlan | NoClaim:
    """Return the plan of a claim that may take so many evaluations, or why none is worth its cost yet.

    plan: as ``search.claims.plan.sized`` returns it. standing: the run's latest verdict. grown: whether the budget has
    grown since. concluded: whether the claim that the last move belongs to has its verdict; until then it keeps its
    plan. Without a leader that is better than the root, or with one that is the champion already, nothing can be
    claimed. Otherwise the gain must be found with a probability of ``plan.least_power``.
    """
    if begun(tree) and not concluded:
        return fit(narrowed(tree, plan), evaluations)
    if standing is not None and (settled := _settled(standing, tree, grown)):
        return NoClaim(settled)
    if isinstance(too_small := fit(plan, evaluations), NoClaim):
        return too_small
    found = len(list(islice(contenders(tree), plan.candidates)))
    if not found:
        return NoClaim("no claim was begun: no node has a better screening mean than the root.")
    wanted = narrowed(tree, plan)
    fitted = fit(wanted, evaluations)
    assert isinstance(fitted, ClaimPlan)
    return _weak(fitted, wanted, tree, unit) or fitted


def _settled(standing: Decision, tree: Tree, grown: bool) -> str:
    """Return why the verdict stands whatever evaluations are left; empty if another claim may follow it.

    Within the budget of a claim, what it left is for the search. A champion keeps its title: the later verdict would
    replace it, and a claim on the little that is left would find the leader's gain with a smaller probability, at a
    stricter level. Without a champion, only a leader that the search has found since may be claimed.
    """
    leader = tree.leader()
    champion = standing.kind == "champion"
    if champion and standing.node_id == leader:
        return f"no new claim was begun: the leader is {standing.node_id[:8]}, the champion of the last claim."
    if grown:
        return ""
    if champion:
        return (
            f"no new claim was begun: {standing.node_id[:8]} stays the champion of this budget. "
            "To claim again, raise the budget and resume."
        )
    last = last_claim_move(tree)
    if leader is None or (last is not None and tree[leader].move < last):
        return "no new claim was begun: the search has found no better node since the last one."
    return ""


def _weak(fitted: ClaimPlan, wanted: ClaimPlan, tree: Tree, unit: str) -> NoClaim | None:
    """Return why a claim with the seeds of ``fitted`` is not worth its cost; None if it is, or if that is unknown."""
    deviation = seed_deviation(tree)
    if wanted.smallest_gain is None or deviation is None or not deviation.value:
        return None
    sigma = deviation.value
    gain = gain_to_find(wanted, tree, sigma)
    chance = claim_power(fitted, gain / sigma, confidence_of(tree, wanted))
    if chance >= wanted.least_power:
        return None
    return NoClaim(
        f"no claim was begun: with {fitted.report_seeds} fresh seeds a side, for which there is room, a gain of "
        + f"{gain:.2g} {unit}".rstrip()
        + f" would be found with a probability of {chance:.0%}, with a seed deviation of {deviation.words(unit)}. "
        + _remedy(wanted, gain / sigma, confidence_of(tree, wanted))
    )


def _remedy(wanted: ClaimPlan, gain: float, confidence: float) -> str:
    """Return what a claim needs that finds a gain of so many deviations with ``least_power``."""
    seeds = seeds_for(wanted, gain, wanted.least_power, _MOST_SEEDS, confidence)
    needs = replace(wanted, report_seeds=seeds).evaluations
    many = f"{seeds:,} or more" if seeds == _MOST_SEEDS else f"{seeds:,}"
    settings = "" if seeds <= wanted.most_report_seeds else f" with claim.most_report_seeds={seeds}"
    return (
        f"{many} seeds a side would find it with {wanted.least_power:.0%}: resume{settings} and {2 * needs:,} more "
        "evaluations of budget, or claim anyway with claim.least_power=0."
    )
