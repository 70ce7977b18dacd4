"""A run from its first training to its verdict, as ask and tell: the search while the budget lasts, then the claim.

    course.ask() -> Request | None     one training to begin, or None
    course.tell(evaluation)            what came of it

``None`` means that nothing can be begun before something that was asked is told, or that the run has ended: then
``controller.result`` says how. The engine (``search/run/engine.py``) knows moves and proposals; when there is no more
budget for them, and what becomes of the winner, is decided here. ``search/run/loop.py`` keeps slots busy with it, and
``search/api.py`` puts one together for a notebook.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from archive.records import Decision, Evaluation, Request
from search.claims.claim import ClaimPlan, NoClaim, Verdict, fit, next_moves, sized, spent, verdict
from search.run.budget import Budget, BudgetRemaining, BudgetUse
from search.run.engine import Engine

_LATEST = 64
"""Scored trainings that say what one takes."""
_PATIENCE = 0.25
"""Seconds between looks whether a model's service that could not answer may be asked again."""

_WORDS = {"evaluations": "evaluations", "hours": "hours", "device_hours": "device hours"}


@dataclass(frozen=True)
class RunResult:
    """How a session of a run ended."""

    reason: str
    verdict: Verdict | None
    finished: bool
    """False if it was asked to stop before the budget was used: it can be resumed."""


@dataclass(frozen=True)
class Forecast:
    """What is still to come, for a person who looks on."""

    stage: Literal["searching", "claiming"]
    slots: int
    to_come: int | None
    """Trainings that have not landed yet, those of the claim included; None where no number of them is set."""
    seconds: float | None
    """Left of the hours (or device hours) for the whole run; None where they are not what ends it."""
    target: bool
    """Whether it may end sooner, by a score that is good enough."""


class RunController:
    """One stretch of a run. Not thread-safe: one thread asks and tells."""

    def __init__(
        self,
        engine: Engine,
        budget: Budget,
        plan: ClaimPlan | None,
        *,
        slots: int = 1,
        used: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        said: Callable[[str], None] = lambda message: None,
    ) -> None:
        """``plan``: None for no claim. ``slots``: trainings at a time. ``used``: seconds of the run's earlier sessions.

        ``said`` is told why the search is over, before the claim begins.
        """
        self.engine = engine
        self.budget = budget
        self.plan = plan
        self.slots = slots
        self.said = said
        self.result: RunResult | None = None
        """How the run ended, once it has."""
        self._monotonic = monotonic
        self._began = monotonic() - used
        self._woken = threading.Event()
        engine.wake = self._woken.set
        self._claiming: ClaimPlan | None = None
        self._sized = -1, plan  # the number of evaluations that it was reckoned with
        self._reason = ""
        self._ended_before = self._last_end()
        self._device_seconds = self._longest = 0.0
        self._walls: deque[float] = deque(maxlen=_LATEST)
        for evaluations in engine.tree.evaluations.values():
            for evaluation in evaluations:
                self._count(evaluation)

    # ------------------------------------------------------------ ask and tell

    def ask(self, free: int = 1, *, patient: bool = True) -> Request | None:
        """A training to begin now, where ``free`` of them could be; see above for None.

        ``patient``: wait for a language model where nothing but its answer can come next.
        """
        while self.result is None:
            self.prepare(free)
            if (request := self._take()) is not None:
                return request
            if self._change_over():
                continue
            if not patient or self.engine.in_flight:
                return None
            self._woken.wait(_PATIENCE)
            self._woken.clear()
        return None

    def tell(self, evaluation: Evaluation) -> None:
        """Record what came of a training. Raises SearchStopped if the search cannot go on after it."""
        self._count(evaluation)
        self.engine.tell(evaluation)

    def prepare(self, free: int) -> None:
        """Choose moves for slots that are free, and have proposals made ahead, as far as the budget can try them."""
        engine, tree = self.engine, self.engine.tree
        if self._claiming is not None:
            # No more than can start now: when a finalist fails, its other runs are not worth their cost.
            for move in next_moves(tree, self._claiming)[: max(0, free - engine.queued("confirm", "report"))]:
                engine.replicate(move)
        elif self.result is None and self._over() is None:
            room = 0 if self._model_used() else self.room
            free = min(free, room)
            engine.fill(free, min(engine.wanted_ahead, room - free))

    def hand_on(self) -> Request | None:
        """A training to begin before what has landed is told: a slot need not wait for the disk.

        Nothing is chosen here, so the moves stay those of the recorded tree. With a target nothing is given: what has
        landed may end the search.
        """
        return self._take() if self._claiming is None and self.budget.target is None else None

    def _take(self) -> Request | None:
        if self._claiming is not None:
            request = self.engine.ask("confirm", "report")
        else:
            request = self.engine.ask("screen") if self._over() is None else None
        if request is None:
            return None
        plan = self._claiming
        runs = {} if plan is None else {"confirm": plan.confirm_seeds, "report": plan.report_seeds}
        return self.engine.annotate(request, runs.get(request.purpose, 1))

    # ------------------------------------------------------------ the stages

    @property
    def room(self) -> int:
        """Trainings that may still be begun for the search, the claim's share set aside."""
        return self._search_room().trainings

    def _search_room(self) -> BudgetRemaining:
        use = self.use
        return self.budget.for_search(use, self.budget.set_aside(self._wanted(), use))

    def _over(self) -> str | None:
        """Why nothing more is begun for the search, or None."""
        engine = self.engine
        if engine.stopped is not None:
            return f"The search stopped: {engine.stopped}"
        if self.budget.reached(engine.tree):
            return f"The target of {self.budget.target:g} is reached by the leader."
        room = self._search_room()
        if room.trainings < 1:
            return f"The {_WORDS[room.limit]} for searching are used."
        return None if engine.pending or engine.ready else self._model_used()  # what is paid for is tried

    def _last_end(self) -> str:
        """Why the search of an earlier session was over; empty if none was."""
        asked = "SELECT message FROM events WHERE run = ? AND kind = 'searched' ORDER BY happened_at DESC LIMIT 1"
        found = self.engine.archive.query(asked, [self.engine.run.run])
        return str(found[0][0]) if found else ""

    def _model_used(self) -> str | None:
        if self._ended_before and self.budget.model_used_before(self._ended_before):
            return self._ended_before
        return self.budget.model_used(self.engine.parts.llm_closed())

    def _change_over(self) -> bool:
        """From searching to claiming, or to the end, if it is time. Returns whether it was."""
        engine = self.engine
        if engine.in_flight:
            return False
        if self._claiming is not None:
            self._conclude(self._claiming)
        elif (over := self._over()) is not None:
            self._begin_claim(over)
        elif engine.pending or engine.paused:
            return False
        else:
            engine.stopped = self._no_move()
        return True

    def _no_move(self) -> str:
        """Why nothing is left to do: most often, since only a language model could and it cannot be asked."""
        model = self.engine.closed_sentence()
        return f"the policy has no move, and nothing that could change that is under way.{model}"

    # ------------------------------------------------------------ claiming

    def _begin_claim(self, reason: str) -> None:
        """Train the finalists and the root on fresh seeds from now on, if that can be paid."""
        self._reason = reason
        self.engine.note("searched", reason)
        self.said(reason)
        plan = self._claim_plan()
        if plan is None:
            self.result = RunResult(reason, None, finished=True)
        elif isinstance(plan, NoClaim):
            self.engine.note("no_claim", plan.reason)
            self.said(plan.reason[0].upper() + plan.reason[1:])
            self.result = RunResult(f"{reason} {plan.reason}", None, finished=True)
        else:
            self._claiming = plan

    def _conclude(self, plan: ClaimPlan) -> None:
        found = verdict(self.engine.tree, plan, self._unit)
        if found is not None:
            self._write_down(found)
        self.result = RunResult(self._reason, found, finished=True)

    def _claim_plan(self) -> ClaimPlan | NoClaim | None:
        """The plan as far as it can be paid. One that has had its verdict stays as it was: nobody adds seeds to it."""
        if (wanted := self._wanted()) is None:
            return None
        done = spent(self.engine.tree)
        paid = fit(wanted, done)
        if isinstance(paid, ClaimPlan) and self._is_written(verdict(self.engine.tree, paid, self._unit)):
            return paid
        room = self.budget.for_claim(self.use)
        if not room.limit:
            return wanted
        plan = fit(wanted, room.trainings + done)
        if isinstance(plan, NoClaim) and room.limit != "evaluations":
            return NoClaim(
                f"a claim needs at least 4 trainings with fresh seeds, and budget.{room.limit} has room for "
                f"{room.trainings + done}. Raise it and resume."
            )
        return plan

    def _wanted(self) -> ClaimPlan | None:
        """The plan with as many seeds as the noise asks for, by the screenings so far."""
        tree = self.engine.tree
        if self.plan is not None and self._sized[0] != tree.evaluated:
            self._sized = tree.evaluated, sized(self.plan, tree)
        return self._sized[1]

    @property
    def _unit(self) -> str:
        return self.engine.parts.task.metric.unit

    def _is_written(self, found: Verdict | None) -> bool:
        engine = self.engine
        known = engine.archive.last_verdict(engine.run.run)
        return found is not None and known == (found.kind, found.node_id, found.reason)

    def _write_down(self, found: Verdict) -> None:
        """One row a verdict, also when a finished run is started again."""
        engine = self.engine
        if not self._is_written(found):
            engine.archive.decide(
                Decision(
                    engine.run.run, found.kind, found.node_id, found.reason, dict(found.detail), engine.parts.clock()
                )
            )

    # ------------------------------------------------------------ what is used

    @property
    def use(self) -> BudgetUse:
        """What the run has used so far, and what is in flight; ``search/run/budget.py`` states how it is reckoned."""
        walls = self._walls or [2 * self.engine.parts.task.seconds]
        return BudgetUse(
            evaluations=self.engine.tree.evaluated,
            in_flight=self.engine.in_flight,
            seconds=self._monotonic() - self._began,
            device_seconds=self._device_seconds,
            each=max(1e-3, sum(walls) / len(walls)),
            longest=max(1e-3, self._longest, *walls),
            slots=max(1, self.slots),
        )

    def _count(self, evaluation: Evaluation) -> None:
        wall = evaluation.resources.wall_seconds
        self._device_seconds += wall
        if evaluation.outcome == "scored" and evaluation.conditions == self.engine.tree.conditions:
            self._walls.append(wall)
            self._longest = max(self._longest, wall)

    def forecast(self) -> Forecast:
        """What is still to come, while it runs."""
        tree, claiming, use = self.engine.tree, self._claiming, self.use
        if claiming is not None:
            return Forecast("claiming", use.slots, max(0, claiming.evaluations - spent(tree)), None, target=False)
        total = self.budget.evaluations
        return Forecast(
            "searching",
            use.slots,
            None if total is None else max(0, total - use.evaluations),
            self.budget.seconds_left(use),
            target=self.budget.target is not None,
        )
