"""Budget of a run: evaluations, hours, device hours, tokens and dollars, alone or together; and a target score.

    evaluations   evaluations that landed; replicates and the claim count, ``lost`` ones do not
    hours         wall hours of the sessions; the time between two sessions does not count
    device_hours  busy hours of all slots together, ``lost`` evaluations included: what a cloud bills. An evaluation
                  that was killed together with its search has left no record, and is missing
    tokens        of the language model, and
    dollars       what it cost. These end the search when the model can no longer be asked within them

The use of earlier sessions counts. The first three pay for the claim, too, so the search ends while enough for the
claim is left: what the plan needs, and at most half of each of them. Nothing of tokens and dollars is reserved, since a
claim asks no model.

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
from dataclasses import dataclass, fields
from typing import Any, Literal

from archive.records import EventCode
from archive.tree import Tree
from operators.llm.base import Cap
from search.claims.claim import ClaimPlan, NoClaim, fit

DEFAULT_EVALUATIONS = 29
"""For ``evaluations: auto``, where no other limit is set."""

_MANY = 1_000_000
"""Evaluations, where nothing limits them."""
_LIMITS = ("evaluations", "hours", "device_hours", "tokens", "dollars")
_WHOLE = ("evaluations", "tokens")


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
class Budget:
    """Limits of one run; None means no limit. Raises ValueError for an invalid limit, and for no limit at all."""

    evaluations: int | None = None
    hours: float | None = None
    device_hours: float | None = None
    tokens: int | None = None
    dollars: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name, getattr(self, field.name))
        if all(getattr(self, field.name) is None for field in fields(self)):
            keys = ", ".join(f"budget.{name}" for name in _LIMITS)
            raise ValueError(f"no budget: set one of {keys} or budget.target, so that the search ends")

    def _check(self, name: str, value: Any) -> None:
        if value is None:
            return
        wanted = int if name in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not math.isfinite(value):
            whole = "whole " if name in _WHOLE else ""
            raise ValueError(f"budget.{name} is {value!r}; expected a {whole}number, or null for no limit")
        if name in _WHOLE and value < 1:
            raise ValueError(f"budget.{name} is {value}; expected at least 1")
        if name not in (*_WHOLE, "target") and value <= 0:
            raise ValueError(f"budget.{name} is {value}; expected a positive number")

    # ------------------------------------------------------------ evaluations

    def reserve(self, plan: ClaimPlan | None, use: BudgetUse) -> int:
        """Return the evaluations to keep for the claim: what the plan needs, and at most half of each budget."""
        if plan is None:
            return 0
        halves = [_MANY]
        if self.evaluations is not None:
            halves.append(self.evaluations // 2)
        if self.hours is not None:
            halves.append(int(1800 * self.hours / use.longest) * use.slots)
        if self.device_hours is not None:
            halves.append(int(1800 * self.device_hours / use.longest))
        affordable = fit(plan, min(halves))
        return 0 if isinstance(affordable, NoClaim) else affordable.evaluations

    def for_search(self, use: BudgetUse, reserved: int) -> BudgetRemaining:
        """Return what may be started for the search now, with ``reserved`` evaluations kept for the claim.

        At least one for a new run: without the root's score nothing is known, not even how long an evaluation takes.
        """
        remaining = _least(self._search_limits(use, reserved))
        return BudgetRemaining(1) if remaining.evaluations < 1 and use.evaluations == use.in_flight == 0 else remaining

    def _search_limits(self, use: BudgetUse, reserved: int) -> Iterator[BudgetRemaining]:
        if self.evaluations is not None:
            yield BudgetRemaining(self.evaluations - use.evaluations - use.in_flight - reserved, "evaluations")
        if self.hours is not None:
            left = 3600 * self.hours - use.seconds - math.ceil(reserved / use.slots) * use.longest
            yield BudgetRemaining(math.floor(left / use.each) * use.slots - use.in_flight, "hours")
        if self.device_hours is not None:
            left = 3600 * self.device_hours - use.device_seconds - reserved * use.longest
            yield BudgetRemaining(math.floor(left / use.each) - use.in_flight, "device_hours")

    def for_claim(self, use: BudgetUse) -> BudgetRemaining:
        """Return what a claim that starts now may cost. Hours are rounded: a claim may end half an evaluation late."""
        return _least(self._claim_limits(use))

    def _claim_limits(self, use: BudgetUse) -> Iterator[BudgetRemaining]:
        if self.evaluations is not None:
            yield BudgetRemaining(self.evaluations - use.evaluations - use.in_flight, "evaluations")
        if self.hours is not None:
            rounds = round((3600 * self.hours - use.seconds) / use.longest)
            yield BudgetRemaining(rounds * use.slots - use.in_flight, "hours")
        if self.device_hours is not None:
            left = 3600 * self.device_hours - use.device_seconds
            yield BudgetRemaining(round(left / use.longest) - use.in_flight, "device_hours")

    def seconds_left(self, use: BudgetUse) -> float | None:
        """Return the wall seconds until hours or device hours are used, all slots busy; None where neither is set."""
        left = []
        if self.hours is not None:
            left.append(3600 * self.hours - use.seconds)
        if self.device_hours is not None:
            left.append((3600 * self.device_hours - use.device_seconds) / use.slots)
        return max(0.0, min(left)) if left else None

    # ------------------------------------------------------------ the other ends

    def reached(self, tree: Tree) -> bool:
        """Return whether the leader's mean has reached the target."""
        leader = tree.leader()
        if self.target is None or leader is None:
            return False
        return not tree.better(self.target, tree.mean(leader))

    def model_used(self, closed: str | None, cap: Cap | None = None) -> SearchEnd | None:
        """Return the end of a search with a limit on tokens or dollars whose language model cannot be asked any more.

        ``closed``: why it cannot be asked; None if it can. ``cap``: the limit that is the reason, if one is.
        """
        limits = {name: value for name, value in self._model_limits.items() if value is not None}
        if closed is None or not limits:
            return None
        told = ", ".join(f"budget.{name}={value}" for name, value in limits.items())
        words = f"The {' or '.join(limits)} for searching are used ({told}): {closed}"
        if cap is not None and cap.limit == limits.get(cap.kind):
            return SearchEnd("llm_budget", words, self._model_limits)
        return SearchEnd("llm_closed", words)

    def model_used_before(self, end: SearchEnd) -> bool:
        """Return whether ``end`` ended an earlier session at these same limits: then they are used now, too.

        The meter does not know before the first call that the next call does not fit.
        """
        return end.code == "llm_budget" and end.detail == self._model_limits

    @property
    def _model_limits(self) -> dict[str, float | None]:
        return {"tokens": self.tokens, "dollars": self.dollars}

    def needs_model(self) -> str | None:
        """Return the error for a search without a language model that is limited by nothing else; None if it is."""
        others = (self.evaluations, self.hours, self.device_hours, self.target)
        if any(value is not None for value in others):
            return None
        names = " and ".join(f"budget.{name}" for name in ("tokens", "dollars") if getattr(self, name) is not None)
        return (
            f"{names} would never end this search, since it asks no language model. "
            "Set budget.evaluations, budget.hours or budget.device_hours."
        )

    def describe(self) -> str:
        """Return the limits in words: ``29 evaluations, 2 hours``."""
        words = {
            "evaluations": f"{self.evaluations} evaluations",
            "hours": f"{self.hours or 0:g} hours",
            "device_hours": f"{self.device_hours or 0:g} device hours",
            "tokens": f"{self.tokens or 0:,} tokens",
            "dollars": f"${self.dollars or 0:.2f}",
            "target": f"target {self.target or 0:g}",
        }
        return ", ".join(text for name, text in words.items() if getattr(self, name) is not None)


def _least(limits: Iterator[BudgetRemaining]) -> BudgetRemaining:
    least = min(limits, key=lambda limit: limit.evaluations, default=BudgetRemaining(_MANY))
    return BudgetRemaining(max(0, least.evaluations), least.limit)


def completed(config: Mapping[str, Any], typed: set[str]) -> dict[str, Any]:
    """Fill in what follows from the budget of a configuration. ``typed``: the keys set on the command line.

    ``budget.evaluations: auto`` becomes a number, or None where another limit is set. ``budget.tokens`` and
    ``budget.dollars`` replace the language model's own caps; where such a cap was typed, too, the smaller one holds.
    """
    budget, llm = dict(config["budget"]), dict(config["llm"] or {})
    if budget.get("evaluations") == "auto":
        limited = any(budget.get(name) is not None for name in _LIMITS if name != "evaluations")
        budget["evaluations"] = None if limited else DEFAULT_EVALUATIONS
    for name, cap in (("tokens", "max_total_tokens"), ("dollars", "max_dollars")):
        limit = budget.get(name)
        if cap in llm and isinstance(limit, int | float):
            own = llm[cap] if f"llm.{cap}" in typed else None
            llm[cap] = limit if own is None else min(own, limit)
    return {**config, "budget": budget, "llm": llm or config["llm"]}
