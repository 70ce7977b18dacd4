"""The loop: slots are kept busy with what the run's course asks for, and what lands is recorded.

    search phase    the policy's moves, until what is left of the budget is needed for the claim
    claim phase     the finalists and the root on fresh seeds; see ``search/claims/claim.py``

``run`` returns when both are over, or when it is asked to stop; it can be called again on the same archive. When one
phase is over is for ``search/run/controller.py`` to say.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archive.records import Evaluation
from search.run.controller import Forecast, RunController, RunResult
from search.run.engine import Engine, SearchStopped
from train.executors.base import Executor, Running

_PATIENCE = 0.25  # seconds between looks at the clock and at a wish to stop; what lands or comes back is taken at once


class Display(Protocol):
    """What a person sees while the search runs."""

    def landed(self, search: Engine, evaluation: Evaluation, total: int | None) -> None: ...

    def said(self, message: str) -> None: ...

    def tick(self, search: Engine, running: Sequence[Running], total: int | None) -> None: ...


@dataclass
class SlotLoop:
    """One stretch of running a course on an executor."""

    controller: RunController
    executor: Executor
    display: Display
    stop: threading.Event

    def run(self) -> RunResult:
        """Search, then claim."""
        controller = self.controller
        controller.engine.wake = self.executor.wake  # an answer of a model is taken up as it comes
        controller.said = self.display.said
        while not self.stop.is_set():
            self._submit()
            if controller.result is not None:
                return controller.result
            self._land()
        return RunResult("stopped by you", None, finished=False)

    def forecast(self) -> Forecast:
        """What is still to come, while it runs."""
        return self.controller.forecast()

    def drain(self) -> None:
        """Record what ended while the executor was being closed: it was trained, and is not trained again."""
        while landed := self.executor.wait(0):
            self._take(landed)

    def _submit(self) -> None:
        """Give every free slot what there is for it; with none free, proposals are made ahead all the same."""
        self.controller.slots = max(1, self.executor.free + self.executor.in_flight)
        self.controller.prepare(max(0, self.executor.free))
        while (free := self.executor.free) > 0 and (request := self.controller.ask(free, patient=False)) is not None:
            self.executor.submit(request)

    def _land(self) -> None:
        landed = self.executor.wait(_PATIENCE)
        if landed and not self.stop.is_set():
            self._hand_on()
        self._take(landed)
        self.display.tick(self.controller.engine, self.executor.running(), self.controller.budget.evaluations)

    def _hand_on(self) -> None:
        """Give freed slots what is ready, before what landed is recorded."""
        while self.executor.free > 0 and (request := self.controller.hand_on()) is not None:
            self.executor.submit(request)

    def _take(self, landed: Sequence[Evaluation]) -> None:
        """Record all of them, also when one of them ends the search. Raises SearchStopped then."""
        ended: SearchStopped | None = None
        for evaluation in landed:
            try:
                self.controller.tell(evaluation)
            except SearchStopped as stopped:
                ended = stopped
            self.display.landed(self.controller.engine, evaluation, self.controller.budget.evaluations)
        if ended is not None:
            raise ended
