"""The slot loop: starts evaluations on free slots as the run's controller asks for them, and records what lands.

    search phase    the policy's moves, until what is left of the budget is needed for the claim
    claim phase     the finalists and the root on fresh seeds; see ``search/claims/claim.py``

``run`` returns when both are over, or when a stop is requested; it can be called again on the same archive. The phases
are those of ``search/run/controller.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archive.records import Landed
from search.run.budget import Forecast
from search.run.controller import RunController, RunResult
from search.run.engine import Engine, SearchStopped
from search.run.lookahead import queued
from search.run.steering import SteeringOrders
from train.executors.base import Executor, Running

_SOON = 0.05
"""Seconds after which moves are committed by themselves, and no longer with the next evaluation that lands."""
_PATIENCE = 0.25
"""Seconds between checks of the clock and of the stop event; landed evaluations and proposals are taken at once."""

_STOPPING = (
    "\nStopping. What has finished is recorded. Ctrl-C again leaves at once, which loses nothing recorded either."
)


class Display(Protocol):
    """Progress output. ``search/display/live.py`` has the implementations."""

    def landed(self, engine: Engine, evaluation: Landed, total: int | None) -> None: ...

    def show(self, message: str) -> None: ...

    def tick(self, engine: Engine, running: Sequence[Running], total: int | None) -> None: ...


@dataclass
class SlotLoop:
    """One session: a run's controller on an executor."""

    controller: RunController
    executor: Executor
    display: Display
    stop: threading.Event
    steering: SteeringOrders | None = None
    """Commands of the user while the search runs; None: none can come."""
    _outage_shown: bool = False
    _spent_shown: int = 0

    def run(self) -> RunResult:
        """Search, then claim. Raises SearchStopped, and what the executor raises."""
        controller = self.controller
        controller.engine.wake = self.executor.wake  # a finished proposal is taken up at once
        controller.announce = self.display.show
        if self.steering is not None:
            self.steering.wake = self.executor.wake
        while not self.stop.is_set():
            if not self._held():
                self._submit()
            if controller.result is not None:
                return controller.result
            if self.steering is not None and self.steering.stopping and not self.executor.in_flight:
                return RunResult("stopped by you", None, finished=False)
            self._land()
        self.display.show(_STOPPING)
        return RunResult("stopped by you", None, finished=False)

    def forecast(self) -> Forecast:
        """Return what is still to come."""
        return self.controller.forecast()

    def drain(self) -> None:
        """Record what ended while the executor was being closed, so that it need not be evaluated again."""
        while landed := self.executor.wait(0):
            self._record(landed)

    def _held(self) -> bool:
        """Follow the commands that have come. Return whether nothing is to be started now."""
        if self.steering is None:
            return False
        self.steering.follow()
        return self.steering.holds

    def _submit(self) -> None:
        """Start an evaluation on every free slot. Proposals are made ahead even when none is free."""
        self.controller.slots = max(1, self.executor.free + self.executor.in_flight)
        self.controller.prepare(max(0, self.executor.free))
        while (free := self.executor.free) > 0 and (request := self.controller.ask(free, patient=False)) is not None:
            self.executor.submit(request)

    def _land(self) -> None:
        archive = self.controller.engine.archive
        landed = [] if archive.is_flushed else self.executor.wait(_SOON)
        if not landed:
            archive.flush()
            landed = self.executor.wait(_PATIENCE)
        ready = bool(landed) and not self.stop.is_set() and not self._held()
        at_once = ready and archive.is_flushed  # else the ready evaluations' nodes are committed with what has landed
        if at_once:
            self._submit_ready()
        self._record(landed)
        if ready and not at_once:
            self._submit_ready()
        self._show_outage()
        self._show_spent()
        self.display.tick(self.controller.engine, self.executor.running(), self.controller.budget.evaluations)

    def _show_outage(self) -> None:
        """Show once for each outage that the language model's service does not answer."""
        words = self.controller.engine.outage_words
        if words and not self._outage_shown:
            self.display.show(f"The language model is not available and is asked again after a pause: {words}")
        self._outage_shown = bool(words)

    def _show_spent(self) -> None:
        """Show once each thing that an operator has tried in full, while others go on."""
        spent = self.controller.engine.journal.spent
        for words in spent[self._spent_shown :]:
            self.display.show(words)
        self._spent_shown = len(spent)

    def _submit_ready(self) -> None:
        """Start on freed slots what is ready, without choosing a move, or queue it."""
        while self._room() > 0 and (request := self.controller.ask_ready()) is not None:
            self.executor.submit(request)

    def _room(self) -> int:
        """Return how many evaluations that are ready may be submitted: for free slots, and to be queued."""
        free = self.executor.free
        return free + queued(free + self.executor.in_flight, self.controller.use.each)

    def _record(self, landed: Sequence[Landed]) -> None:
        """Record all landed evaluations, even if one of them ends the search. Raises SearchStopped then."""
        ended: SearchStopped | None = None
        for evaluation in landed:
            try:
                self.controller.tell(evaluation)
            except SearchStopped as stopped:
                ended = stopped
            self.display.landed(self.controller.engine, evaluation, self.controller.budget.evaluations)
        if ended is not None:
            raise ended
