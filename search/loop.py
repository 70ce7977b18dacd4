"""The loop: slots are kept busy, what lands is recorded, and the budget decides when to search and when to claim.

    search phase    the policy's moves, until what is left of the budget is needed for the claim
    claim phase     the finalists and the root on fresh seeds; see ``search/claim.py``

``run`` returns when both are over, or when it is asked to stop; it can be called again on the same archive.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from archive.records import Conditions, Decision, Evaluation, Purpose, Request
from search.budget import Budget
from search.claim import ClaimPlan, NoClaim, Verdict, fit, next_moves, spent, verdict
from search.engine import Search, SearchStopped
from train.local import Running

_PATIENCE = 0.25  # seconds between looks at the clock and at a wish to stop; what lands or comes back is taken at once


class Executor(Protocol):
    """Where evaluations run. ``LocalExecutor`` is one."""

    @property
    def free(self) -> int: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def conditions(self) -> Conditions: ...

    def running(self) -> Sequence[Running]: ...

    def submit(self, request: Request) -> None: ...

    def wait(self, seconds: float) -> list[Evaluation]: ...

    def wake(self) -> None:
        """Let ``wait`` return at once, from any thread."""
        ...


class Display(Protocol):
    """What a person sees while the search runs."""

    def landed(self, search: Search, evaluation: Evaluation, total: int | None) -> None: ...

    def said(self, message: str) -> None: ...

    def tick(self, search: Search, running: Sequence[Running], total: int | None) -> None: ...


@dataclass(frozen=True)
class Outlook:
    """What is still to come, for a person who looks on."""

    stage: Literal["searching", "claiming"]
    slots: int
    to_come: int | None
    """Trainings that have not landed yet, those of the claim included; None where no number of them is set."""
    seconds: float | None
    """Left of the hours for the whole run; None where they are not what ends it."""
    target: bool
    """Whether it may end sooner, by a score that is good enough."""


@dataclass(frozen=True)
class Ending:
    """How a session of a run ended."""

    reason: str
    verdict: Verdict | None
    finished: bool
    """False if it was asked to stop before the budget was used: it can be resumed."""


@dataclass
class Session:
    """One stretch of running a search on an executor. ``used`` are the seconds of the run's earlier sessions."""

    search: Search
    executor: Executor
    budget: Budget
    plan: ClaimPlan
    display: Display
    stop: threading.Event
    used: float = 0.0
    monotonic: Callable[[], float] = time.monotonic
    _claiming: ClaimPlan | None = field(default=None, init=False)

    def run(self) -> Ending:
        """Search, then claim."""
        began = self.monotonic()
        self._began = began - self.used
        self.search.wake = self.executor.wake  # an answer of a model is taken up as it comes
        reason = self._search()
        if self.stop.is_set():
            return Ending("stopped by you", None, finished=False)
        self.display.said(reason)
        return self._claim(reason)

    # ------------------------------------------------------------ searching

    def _search(self) -> str:
        """Search until the budget or the policy says that it is over, and what runs has landed; returns why."""
        search = self.search
        while not self.stop.is_set():
            over = self._over()
            if over is None:
                affordable = self._affordable()
                free = min(self.executor.free, affordable)
                # No answer is bought that cannot be tried.
                search.fill(free, min(search.ahead, affordable - free, self._timely()))
                self._submit(free, "screen")
                idle = self.executor.in_flight == 0 and search.thinking == 0 and not search.pausing
                if idle and search.stopped is None:
                    search.stopped = self._no_move()
            elif self.executor.in_flight == 0:
                return over
            self._land(self._hand_on)
        return "stopped by you"

    def _hand_on(self, landed: Sequence[Evaluation]) -> None:
        """Give freed slots what is ready, before what landed is recorded: a slot need not wait for the disk.

        Nothing is chosen here, so the moves stay those of the recorded tree. With a target the record comes first,
        since it may end the search.
        """
        if landed and self.budget.target is None and not self.stop.is_set() and self._over() is None:
            self._submit(min(self.executor.free, self._affordable() - len(landed)), "screen")

    def _no_move(self) -> str:
        """Why nothing is left to do: most often, since only a language model could and it cannot be asked."""
        closed = self.search.parts.llm_closed()
        model = f" The language model cannot be asked any more: {closed}" if closed is not None else ""
        return f"the policy has no move, and nothing that could change that is under way.{model}"

    def _over(self) -> str | None:
        tree, search = self.search.tree, self.search
        if search.stopped is not None:
            return f"The search stopped: {search.stopped}"
        if self.budget.reached(tree):
            return f"The target of {self.budget.target:g} is reached by the leader."
        if self._affordable() <= 0:
            return "The budget for searching is used."
        if self._seconds_left() <= self._claim_seconds():
            return "The hours for searching are used."
        return None

    def _affordable(self) -> int:
        """Trainings that may still be started for the search, the claim's share set aside."""
        left = self.budget.evaluations_left(self.search.tree, self.executor.in_flight)
        if left == float("inf"):
            return 1_000_000
        return max(0, int(left) - self.claim_cost)

    @property
    def claim_cost(self) -> int:
        """Evaluations set aside for the claim: what fits into half of the budget."""
        if self.budget.evaluations is None:
            return self.plan.evaluations
        affordable = fit(self.plan, self.budget.evaluations // 2)
        return 0 if isinstance(affordable, NoClaim) else affordable.evaluations

    def _seconds_left(self) -> float:
        return self.budget.seconds_left(self.monotonic() - self._began)

    def _timely(self) -> int:
        """Proposals that the slots can still take up in the hours left for searching."""
        left = self._seconds_left() - self._claim_seconds()
        return 1_000_000 if left == float("inf") else math.ceil(left * self._slots / self._each_seconds())

    def _claim_seconds(self) -> float:
        """Wall seconds that the claim will take, from what evaluations took so far; at most half of the hours."""
        half = float("inf") if self.budget.hours is None else 1800 * self.budget.hours
        return min(half, self._each_seconds() * -(-self.plan.evaluations // self._slots))

    @property
    def _slots(self) -> int:
        return max(1, self.executor.free + self.executor.in_flight)

    def _each_seconds(self) -> float:
        """Wall seconds of an evaluation, by the latest that were scored."""
        walls = [
            e.resources.wall_seconds
            for evaluations in list(self.search.tree.evaluations.values())[-50:]
            for e in evaluations
            if e.outcome == "scored"
        ]
        return max(1e-3, sum(walls) / len(walls) if walls else 2 * self.search.parts.task.seconds)

    # ------------------------------------------------------------ claiming

    def _claim(self, reason: str) -> Ending:
        """Train the finalists and the root on fresh seeds, and say what may be claimed."""
        search, tree, unit = self.search, self.search.tree, self.search.parts.task.metric.unit
        plan = self._claim_plan()
        if isinstance(plan, NoClaim):
            search.note("no_claim", plan.reason)
            return Ending(f"{reason} {plan.reason}", None, finished=True)
        self._claiming = plan
        while not self.stop.is_set():
            # No more than can start now: when a finalist fails, its other runs are not worth their cost.
            for move in next_moves(tree, plan)[: max(0, self.executor.free - search.queued("confirm", "report"))]:
                search.replicate(move)
            self._submit(self.executor.free, "confirm", "report")
            if self.executor.in_flight == 0:
                break
            self._land()
        if self.stop.is_set():
            return Ending("stopped by you", None, finished=False)
        found = verdict(tree, plan, unit)
        if found is not None:
            self._write_down(found)
        return Ending(reason, found, finished=True)

    def _claim_plan(self) -> ClaimPlan | NoClaim:
        if self.budget.evaluations is None:
            return self.plan
        tree = self.search.tree
        return fit(self.plan, int(self.budget.evaluations_left(tree, 0)) + spent(tree))

    def _write_down(self, found: Verdict) -> None:
        """One row a verdict, also when a finished run is started again."""
        search = self.search
        decision = Decision(
            search.run.run, found.kind, found.node_id, found.reason, dict(found.detail), search.parts.clock()
        )
        if search.archive.last_verdict(search.run.run) != (found.kind, found.node_id, found.reason):
            search.archive.decide(decision)

    # ------------------------------------------------------------ both

    def outlook(self) -> Outlook:
        """What is still to come, while it runs."""
        tree, claiming = self.search.tree, self._claiming
        if claiming is not None:
            return Outlook("claiming", self._slots, max(0, claiming.evaluations - spent(tree)), None, target=False)
        trainings, seconds = self.budget.evaluations_left(tree, 0), self._seconds_left()
        return Outlook(
            "searching",
            self._slots,
            None if math.isinf(trainings) else max(0, int(trainings)),
            None if math.isinf(seconds) else max(0.0, seconds),
            target=self.budget.target is not None,
        )

    def drain(self) -> None:
        """Record what ended while the executor was being closed: it was trained, and is not trained again."""
        while landed := self.executor.wait(0):
            self._take(landed)

    def _submit(self, most: int, *purposes: Purpose) -> None:
        for _ in range(most):
            if (request := self.search.ask(*purposes)) is None:
                return
            together = {"confirm": self.plan.confirm_seeds, "report": self.plan.report_seeds}.get(request.purpose, 1)
            self.executor.submit(self.search.with_bar(request, together))

    def _land(self, first: Callable[[Sequence[Evaluation]], None] = lambda landed: None) -> None:
        landed = self.executor.wait(_PATIENCE)
        first(landed)
        self._take(landed)
        self.display.tick(self.search, self.executor.running(), self.budget.evaluations)

    def _take(self, landed: Sequence[Evaluation]) -> None:
        """Record all of them, also when one of them ends the search. Raises SearchStopped then."""
        ended: SearchStopped | None = None
        for evaluation in landed:
            try:
                self.search.tell(evaluation)
            except SearchStopped as stopped:
                ended = stopped
            self.display.landed(self.search, evaluation, self.budget.evaluations)
        if ended is not None:
            raise ended
