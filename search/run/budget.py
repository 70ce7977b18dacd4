"""What a run may use: evaluations, hours, device hours, tokens and dollars, alone or together; and a score to stop at.

    evaluations   trainings that landed; replicates and the claim count, ``lost`` ones do not
    hours         wall hours of the sessions; the time between two sessions does not count
    device_hours  hours that slots were busy, of all slots together, ``lost`` trainings included: what a cloud bills.
                  A training that was killed with its search has left no record, and is missing
    tokens        of the language model, and
    dollars       what it cost. These end the search when the model can no longer be asked within them

What earlier sessions used counts. The first three pay for the claim, too, so the search ends while enough for it is
left: what the plan needs, and at most half of each of them. Nothing is set aside of tokens and dollars, since a claim
asks no model.

**What is in flight** counts as if it had landed. An evaluation is one evaluation. By the hour, a training under way
takes what its like took: the mean of the latest that were scored; before there is one, twice the task's seconds. One
more is begun only if it would land, by that mean, before the claim's share begins. A training of a claim is audited
like a leader's, and so it is taken to last as long as the longest so far. For tokens and dollars a call counts
as the most that it may take until its bill is there (``operators/llm/meter.py``). So evaluations, tokens and dollars
are never exceeded; hours and device hours by what a training takes beyond its like.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from archive.tree import Tree
from search.claims.claim import ClaimPlan, NoClaim, fit

DEFAULT_EVALUATIONS = 29
"""For ``evaluations: auto``, where no other limit is set."""

_MANY = 1_000_000
"""Trainings, where nothing limits them."""
_LIMITS = ("evaluations", "hours", "device_hours", "tokens", "dollars")
_WHOLE = ("evaluations", "tokens")


@dataclass(frozen=True)
class BudgetUse:
    """What a run has used, earlier sessions counted in, and what is under way. Seconds are wall seconds."""

    evaluations: int = 0
    in_flight: int = 0
    """Trainings that were begun and have not landed."""
    seconds: float = 0.0
    device_seconds: float = 0.0
    """Of the trainings that landed."""
    each: float = 1.0
    """A training of the search, as its like took."""
    longest: float = 1.0
    """A training of the claim, as its like took."""
    slots: int = 1


@dataclass(frozen=True)
class BudgetRemaining:
    """Trainings that may still be begun, and the budget that allows no more."""

    trainings: int
    limit: str = ""
    """``evaluations``, ``hours`` or ``device_hours``; empty where nothing limits them."""


@dataclass(frozen=True)
class Budget:
    """Limits of one run; None means no limit. Raises ValueError for nonsense, and for no limit at all."""

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

    # ------------------------------------------------------------ trainings

    def set_aside(self, plan: ClaimPlan | None, use: BudgetUse) -> int:
        """Trainings that are kept for the claim: what the plan needs, in half of each budget at most."""
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

    def for_search(self, use: BudgetUse, aside: int) -> BudgetRemaining:
        """What may be begun for the search now, ``aside`` trainings being kept for the claim.

        One training may always be: without the root's score nothing is known, not even what a training takes.
        """
        room = _least(self._search_rooms(use, aside))
        return BudgetRemaining(1) if room.trainings < 1 and use.evaluations == use.in_flight == 0 else room

    def _search_rooms(self, use: BudgetUse, aside: int) -> Iterator[BudgetRemaining]:
        if self.evaluations is not None:
            yield BudgetRemaining(self.evaluations - use.evaluations - use.in_flight - aside, "evaluations")
        if self.hours is not None:
            left = 3600 * self.hours - use.seconds - math.ceil(aside / use.slots) * use.longest
            yield BudgetRemaining(math.floor(left / use.each) * use.slots - use.in_flight, "hours")
        if self.device_hours is not None:
            left = 3600 * self.device_hours - use.device_seconds - aside * use.longest
            yield BudgetRemaining(math.floor(left / use.each) - use.in_flight, "device_hours")

    def for_claim(self, use: BudgetUse) -> BudgetRemaining:
        """What a claim may cost that begins now. By the hour it is rounded: a claim may end half a training late."""
        return _least(self._claim_rooms(use))

    def _claim_rooms(self, use: BudgetUse) -> Iterator[BudgetRemaining]:
        if self.evaluations is not None:
            yield BudgetRemaining(self.evaluations - use.evaluations - use.in_flight, "evaluations")
        if self.hours is not None:
            rounds = round((3600 * self.hours - use.seconds) / use.longest)
            yield BudgetRemaining(rounds * use.slots - use.in_flight, "hours")
        if self.device_hours is not None:
            left = 3600 * self.device_hours - use.device_seconds
            yield BudgetRemaining(round(left / use.longest) - use.in_flight, "device_hours")

    def seconds_left(self, use: BudgetUse) -> float | None:
        """Wall seconds until hours or device hours are used, all slots being busy; None where neither is set."""
        left = []
        if self.hours is not None:
            left.append(3600 * self.hours - use.seconds)
        if self.device_hours is not None:
            left.append((3600 * self.device_hours - use.device_seconds) / use.slots)
        return max(0.0, min(left)) if left else None

    # ------------------------------------------------------------ the other ends

    def reached(self, tree: Tree) -> bool:
        """Whether the leader's mean has reached the target."""
        leader = tree.leader()
        if self.target is None or leader is None:
            return False
        return not tree.better(self.target, tree.mean(leader))

    def model_used(self, closed: str | None) -> str | None:
        """Why the search is over since the language model is, or None. ``closed``: why it cannot be asked any more."""
        return f"{words}: {closed}" if closed is not None and (words := self._model_words()) else None

    def model_used_before(self, said: str) -> bool:
        """Whether ``said`` has ended an earlier session for these very limits: then they are used for this one, too.

        The model itself does not know before it is asked that the next call does not fit.
        """
        words = self._model_words()
        caps = [f"${self.dollars:.2f}"] if self.dollars is not None else []
        caps += [f"{self.tokens:,} tokens"] if self.tokens is not None else []
        return bool(words) and said.startswith(f"{words}: ") and any(cap in said[len(words) :] for cap in caps)

    def _model_words(self) -> str:
        limits = {name: getattr(self, name) for name in ("tokens", "dollars") if getattr(self, name) is not None}
        told = ", ".join(f"budget.{name}={value}" for name, value in limits.items())
        return f"The {' or '.join(limits)} for searching are used ({told})" if limits else ""

    def needs_model(self) -> str | None:
        """What to tell somebody who has no language model and only set budgets that such a one would use."""
        others = (self.evaluations, self.hours, self.device_hours, self.target)
        if any(value is not None for value in others):
            return None
        names = " and ".join(f"budget.{name}" for name in ("tokens", "dollars") if getattr(self, name) is not None)
        return (
            f"{names} would never end this search, since it asks no language model. "
            "Set budget.evaluations, budget.hours or budget.device_hours."
        )

    def describe(self) -> str:
        """The limits in words: ``29 trainings, 2 hours``."""
        words = {
            "evaluations": f"{self.evaluations} trainings",
            "hours": f"{self.hours or 0:g} hours",
            "device_hours": f"{self.device_hours or 0:g} device hours",
            "tokens": f"{self.tokens or 0:,} tokens",
            "dollars": f"${self.dollars or 0:.2f}",
            "target": f"target {self.target or 0:g}",
        }
        return ", ".join(text for name, text in words.items() if getattr(self, name) is not None)


def _least(rooms: Iterator[BudgetRemaining]) -> BudgetRemaining:
    least = min(rooms, key=lambda room: room.trainings, default=BudgetRemaining(_MANY))
    return BudgetRemaining(max(0, least.trainings), least.limit)


def completed(config: Mapping[str, Any], typed: set[str]) -> dict[str, Any]:
    """The configuration with what follows from its budget. ``typed``: the keys that were set on the command line.

    ``budget.evaluations: auto`` becomes a number, or None where another limit is set. ``budget.tokens`` and
    ``budget.dollars`` become caps of the language model, in the place of its own; where such a one was typed, too, the
    smaller holds.
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
