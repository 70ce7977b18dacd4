"""``overseer=rules``: notices a search that no longer gets anywhere, says so, and ends it if that goes on.

    repeated       the latest ``repeated`` screenings failed alike: same operator, outcome and reason
    no_gain        ``no_gain`` screenings without a new leader
    spend_rate     the language model costs more than ``dollars_per_hour`` in this session
    wall_clock     the session has lasted ``hours``

A rule that holds is told first: an event of kind ``overseer`` with the action ``notify``. If it still holds ``grace``
screenings later, the search ends as at a policy's stop, the claim included (action ``cancel``): what runs is awaited,
and no process is killed. A rule that holds no more is forgotten (action ``clear``). Every decision is an event.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archive.records import Evaluation
from operators.llm.meter import Meter
from search.run.controller import RunController, RunResult

KIND = "overseer"


@dataclass(frozen=True)
class Rules:
    """When to notify, and how many screenings later to end the search. None turns a rule off.

    Raises ValueError for limits that are not above 0.
    """

    repeated: int | None = 6
    no_gain: int | None = 60
    dollars_per_hour: float | None = None
    hours: float | None = None
    grace: int = 20

    def __post_init__(self) -> None:
        for name in ("repeated", "no_gain", "dollars_per_hour", "hours", "grace"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not 0 < value < math.inf):
                raise ValueError(f"overseer.{name} is {value!r}; expected a number above 0, or null")


class Overseer:
    """Applies the rules after each screening. Steers nothing but the end of the search."""

    def __init__(
        self,
        rules: Rules,
        controller: RunController,
        meter: Meter | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._meter = meter
        self._monotonic = monotonic
        self._began = monotonic()
        self._dollars_before = self._dollars()
        self._seen = 0
        self._leader = controller.engine.tree.leader()
        self._leader_at = 0
        self._failures: deque[tuple[str, str, str] | None] = deque(maxlen=rules.repeated or 1)
        self._told: dict[str, int] = {}
        """Rule -> screenings when it was told."""

    def landed(self, controller: RunController, evaluation: Evaluation) -> None:
        if evaluation.request.purpose != "screen" or evaluation.outcome == "lost":
            return
        tree = controller.engine.tree
        self._seen += 1
        if tree.leader() != self._leader:
            self._leader, self._leader_at = tree.leader(), self._seen
        operator = tree[evaluation.request.node_id].candidate.operator
        reason = getattr(evaluation, "reason", "")
        self._failures.append(None if evaluation.outcome == "scored" else (operator, evaluation.outcome, reason))
        self._decide(controller, dict(self._holding()))

    def ended(self, controller: RunController, result: RunResult, failed: bool) -> None:
        """Nothing is left to decide."""

    def _holding(self) -> Iterator[tuple[str, str]]:
        """Yield the rules that hold now, with what to say."""
        rules, first = self._rules, self._failures[0] if self._failures else None
        full = len(self._failures) == self._failures.maxlen
        if rules.repeated and full and first is not None and len(set(self._failures)) == 1:
            yield "repeated", f"the latest {rules.repeated} screenings failed alike: {first[0]}, {first[1]}"
        if rules.no_gain and self._seen - self._leader_at >= rules.no_gain:
            yield "no_gain", f"{self._seen - self._leader_at} screenings without a new leader"
        hours = (self._monotonic() - self._began) / 3600
        spent = self._dollars() - self._dollars_before
        if rules.dollars_per_hour and spent > rules.dollars_per_hour * max(hours, 1 / 60):
            yield "spend_rate", f"the language model has cost ${spent:.2f} in {hours:.2f} hours"
        if rules.hours and hours >= rules.hours:
            yield "wall_clock", f"the session has lasted {hours:.2f} hours"

    def _decide(self, controller: RunController, holding: dict[str, str]) -> None:
        for rule in [rule for rule in self._told if rule not in holding]:
            del self._told[rule]
            self._note(controller, rule, "clear", "no longer so")
        for rule, words in holding.items():
            if rule not in self._told:
                self._told[rule] = self._seen
                self._note(controller, rule, "notify", words)
            elif self._seen - self._told[rule] >= self._rules.grace and controller.engine.stopped is None:
                controller.engine.stopped = f"the overseer ended it: {words}"
                self._note(controller, rule, "cancel", f"{words}, {self._rules.grace} screenings after it was told")

    def _note(self, controller: RunController, rule: str, action: str, words: str) -> None:
        detail = {"rule": rule, "action": action, "screenings": self._seen}
        controller.engine.journal.note(KIND, f"{action}, {rule}: {words}", detail=detail)

    def _dollars(self) -> float:
        return self._meter.spending.charged_dollars if self._meter is not None and self._meter.priced else 0.0
