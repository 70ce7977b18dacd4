"""Budget of a run: evaluations, hours, device hours, tokens and dollars, alone or together; and a target score.

    evaluations   evaluations that landed; replicates and the claim count, ``lost`` ones do not
    hours         wall hours of the sessions; the time between two sessions does not count
    device_hours  busy hours of all slots together, ``lost`` evaluations included: what a cloud bills. An evaluation
                  that was killed together with its search has left no record, and is missing; so is a sealed training
                  that was not judged, since its claim was over before
    tokens        of the language model, and
    dollars       what it cost. These end the search when the model can no longer be asked within them

The use of earlier sessions counts. The first three pay for the claim, too, so the search ends while enough for the
claim is left: what the plan needs, and at most half of each of them; after an earlier claim, half of what was added
since. Nothing is kept while there is nothing to claim, or too little to be found (``search/claims/prospect.py``). What
was kept and a claim did not need, as one that its first look has stopped, is searched with after it. Nothing of tokens
and dollars is reserved, since a claim asks no model.

**Evaluations in flight** count as if they had landed. By the hour, an evaluation in flight is assumed to take the mean
of the latest scored ones; before there is one, twice the task's seconds. One more is started only if it would land, by
that mean, before the claim's share begins. An evaluation of a claim is audited like a leader's, so it is assumed to
take as long as the longest so far. For tokens and dollars a call counts as the most that it may take until its bill is
known (``operators/llm/meter.py``). So evaluations, tokens and dollars are never exceeded; hours and device hours only
by what an evaluation takes beyond its estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from archive.records import EventCode
from archive.tree import Tree
from operators.llm.base import Cap
from search.claims.plan import fit
from search.config import Budget, ClaimPlan

_MANY = 1_000_000
"""Evaluations, where nothing limits them."""


@dataclass(frozen=True)
class BudgetUse:
    """The use of a run, earlier sessions included, and its evaluations in flight. Seconds are wall seconds."""

    evaluations: int = 0
    in_flight: int = 0
    """Evaluations that were started and have not landed."""
    seconds: float = 0.0
    device_seconds: float = 0.0
    """Of the evaluations that landed."""
    each: float = 1.0
    """Estimated seconds of an evaluation of the search."""
    longest: float = 1.0
    """Estimated seconds of an evaluation of the claim."""
    slots: int = 1
    evaluations_before: int = 0
    """Evaluations that had landed when the latest finished claim ended; 0 if there was none. So with the seconds."""
    seconds_before: float = 0.0
    device_seconds_before: float = 0.0


@dataclass(frozen=True)
class BudgetRemaining:
    """Evaluations that may still be started, and the budget that allows no more."""

    evaluations: int
    limit: Literal["evaluations", "hours", "device_hours"] | None = None
    """None where nothing limits them."""


@dataclass(frozen=True)
class SearchEnd:
    """Why no more evaluations are started for the search."""

    code: EventCode
    words: str
    """For the user."""
    detail: Mapping[str, object] | None = None
    """The limits of tokens and dollars, for ``llm_budget``."""


@dataclass(frozen=True)
class Forecast:
    """The remainder of a run, for the display."""

    stage: Literal["searching", "claiming"]
    slots: int
    to_come: int | None
    """Evaluations that have not landed yet, those of the claim included; None where their number is not limited."""
    seconds: float | None
    """Left of the hours (or device hours) for the whole run; None where neither is limited."""
    target: bool
    """Whether the run may end sooner, at the target score."""


# ---------------------------------------------------------------- evaluations


def claim_share(budget: Budget, use: BudgetUse) -> int:
    """Return the most evaluations that may be kept for a claim: half of each budget, less what earlier claims ended."""
    halves = [_MANY]
    if budget.evaluations is not None:
        halves.append((budget.evaluations - use.evaluations_before) // 2)
    if budget.hours is not None:
        seconds = 1800 * budget.hours - use.seconds_before / 2
        halves.append(int(seconds / use.longest) * use.slots)
    if budget.device_hours is not None:
        halves.append(int((1800 * budget.device_hours - use.device_seconds_before / 2) / use.longest))
    return max(0, min(halves))


def claim_room(budget: Budget, use: BudgetUse) -> int:
    """Return the most evaluations that a claim could still get: its share, and no more than the number that is left.

    Nothing is kept for a claim that would need more than that: it would be refused when it is to begin.
    """
    left = _MANY if budget.evaluations is None else budget.evaluations - use.evaluations - use.in_flight
    return max(0, min(claim_share(budget, use), left))


def affordable(budget: Budget, plan: ClaimPlan | None, use: BudgetUse) -> int:
    """Return the evaluations of a claim within its share of the budget; 0 if that is too small for one."""
    fitted = None if plan is None else fit(plan, claim_share(budget, use))
    return fitted.evaluations if isinstance(fitted, ClaimPlan) else 0


def limits_of(budget: Budget) -> dict[str, float | None]:
    """Return the limits that end a search by what its evaluations use."""
    return {"evaluations": budget.evaluations, "hours": budget.hours, "device_hours": budget.device_hours}


def grown(budget: Budget, then: object, unknown: bool) -> bool:
    """Return whether a limit is larger than ``then``, or gone; ``unknown`` if it was not recorded."""
    if not isinstance(then, Mapping):
        return unknown
    limits = ((then.get(name), now) for name, now in limits_of(budget).items())
    return any(now is None or now > before for before, now in limits if isinstance(before, int | float))


def remaining_for_search(budget: Budget, use: BudgetUse, reserved: int) -> BudgetRemaining:
    """Return what may be started for the search now, with ``reserved`` evaluations kept for the claim.

    At least one for a new run: without the root's score nothing is known, not even how long an evaluation takes.
    """
    remaining = _least(_search_limits(budget, use, reserved))
    return BudgetRemaining(1) if remaining.evaluations < 1 and use.evaluations == use.in_flight == 0 else remaining


def _search_limits(budget: Budget, use: BudgetUse, reserved: int) -> Iterator[BudgetRemaining]:
    if budget.evaluations is not None:
        yield BudgetRemaining(budget.evaluations - use.evaluations - use.in_flight - reserved, "evaluations")
    if budget.hours is not None:
        left = 3600 * budget.hours - use.seconds - math.ceil(reserved / use.slots) * use.longest
        yield BudgetRemaining(math.floor(left / use.each) * use.slots - use.in_flight, "hours")
    if budget.device_hours is not None:
        left = 3600 * budget.device_hours - use.device_seconds - reserved * use.longest
        yield BudgetRemaining(math.floor(left / use.each) - use.in_flight, "device_hours")


def remaining_for_claim(budget: Budget, use: BudgetUse) -> BudgetRemaining:
    """Return what a claim that starts now may cost. Hours are rounded: a claim may end half an evaluation late."""
    return _least(_claim_limits(budget, use))


def _claim_limits(budget: Budget, use: BudgetUse) -> Iterator[BudgetRemaining]:
    if budget.evaluations is not None:
        yield BudgetRemaining(budget.evaluations - use.evaluations - use.in_flight, "evaluations")
    if budget.hours is not None:
        rounds = round((3600 * budget.hours - use.seconds) / use.longest)
        yield BudgetRemaining(rounds * use.slots - use.in_flight, "hours")
    if budget.device_hours is not None:
        left = 3600 * budget.device_hours - use.device_seconds
        yield BudgetRemaining(round(left / use.longest) - use.in_flight, "device_hours")


def seconds_left(budget: Budget, use: BudgetUse) -> float | None:
    """Return the wall seconds until hours or device hours are used, all slots busy; None where neither is set."""
    left = []
    if budget.hours is not None:
        left.append(3600 * budget.hours - use.seconds)
    if budget.device_hours is not None:
        left.append((3600 * budget.device_hours - use.device_seconds) / use.slots)
    return max(0.0, min(left)) if left else None


# ---------------------------------------------------------------- the other ends


def target_reached(budget: Budget, tree: Tree) -> bool:
    """Return whether the leader's mean has reached the target."""
    leader = tree.leader()
    if budget.target is None or leader is None:
        return False
    return not tree.better(budget.target, tree.mean(leader))


def model_end(budget: Budget, closed: str | None, cap: Cap | None = None) -> SearchEnd | None:
    """Return the end of a search with a limit on tokens or dollars whose language model cannot be asked any more.

    ``closed``: why it cannot be asked; None if it can. ``cap``: the limit that is the reason, if one is.
    """
    limits = {name: value for name, value in _model_limits(budget).items() if value is not None}
    if closed is None or not limits:
        return None
    told = ", ".join(f"budget.{name}={value}" for name, value in limits.items())
    words = f"The {' or '.join(limits)} for searching are used ({told}): {closed}"
    if cap is not None and cap.limit == limits.get(cap.kind):
        return SearchEnd("llm_budget", words, _model_limits(budget))
    return SearchEnd("llm_closed", words)


def model_end_before(budget: Budget, end: SearchEnd) -> bool:
    """Return whether ``end`` ended an earlier session at these same limits: then they are used now, too.

    The meter does not know before the first call that the next call does not fit.
    """
    return end.code == "llm_budget" and end.detail == _model_limits(budget)


def _model_limits(budget: Budget) -> dict[str, float | None]:
    return {"tokens": budget.tokens, "dollars": budget.dollars}


def _least(limits: Iterator[BudgetRemaining]) -> BudgetRemaining:
    least = min(limits, key=lambda limit: limit.evaluations, default=BudgetRemaining(_MANY))
    return BudgetRemaining(max(0, least.evaluations), least.limit)
