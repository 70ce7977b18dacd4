"""Evaluations on this machine: one thread and one candidate at a time for each slot.

    executor.submit(request)          # any number; they wait for a slot in order
    for evaluation in executor.wait(0.5): ...

A thread stays inside its evaluation until that ends, because a sandbox dies with the thread that launched it.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from archive.records import Conditions, Evaluation, Request
from train.curve import Watch
from train.slots import Slot

_LOSSES = 128
"""Points of a curve that are kept for the progress display."""


class Evaluator(Protocol):
    """What an executor needs of an evaluator: ``AuditedEvaluator`` is one, the tests have others."""

    def gate(self, files: Mapping[str, str]) -> str | None: ...

    def conditions(self, slot: Slot) -> Conditions: ...

    def evaluate(self, request: Request, slot: Slot, cancelled: threading.Event, watch: Watch) -> Evaluation: ...


@dataclass(frozen=True)
class Running:
    """What a slot is doing, for the progress display."""

    slot: Slot
    request: Request
    phase: str
    share: float
    """Of the training budget, in [0, 1]."""
    since: float
    """time.monotonic() when it began."""
    losses: Sequence[tuple[float, float]] = ()
    """(share, loss) as the candidate has reported them so far: its own words. Grows until the evaluation ends."""


def _keep(losses: list[tuple[float, float]], share: float, loss: float) -> None:
    """Add a point of the curve. A training that has begun again begins its curve again; a long one is thinned out."""
    if losses and share < losses[-1][0]:
        losses.clear()
    if len(losses) >= _LOSSES:
        del losses[1::2]
    losses.append((share, loss))


class LocalExecutor:
    """Slots of this machine. Use as a context manager: on leaving, running evaluations are ended."""

    def __init__(self, evaluator: Evaluator, slots: tuple[Slot, ...]) -> None:
        self.slots = slots
        self._evaluator = evaluator
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Evaluation | BaseException | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._running: dict[int, Running] = {}
        self._in_flight = 0
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"slot-{slot.index}", daemon=True) for slot in slots
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        """Submitted and not yet handed out by ``wait``."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Slots for which nothing is submitted; negative when requests wait."""
        return len(self.slots) - self._in_flight

    @property
    def conditions(self) -> Conditions:
        """What scores made here may be compared with; all slots of one executor are alike."""
        return self._evaluator.conditions(self.slots[0])

    def running(self) -> tuple[Running, ...]:
        """What each busy slot does now."""
        snapshot = self._running.copy()  # in one step: the slots' threads write to it
        return tuple(snapshot[index] for index in sorted(snapshot))

    def submit(self, request: Request) -> None:
        """Queue one evaluation. Raises RuntimeError after ``close``."""
        if self._cancelled.is_set():
            raise RuntimeError("the executor is closed; nothing more can be submitted")
        self._in_flight += 1
        self._waiting.put(request)

    def wait(self, seconds: float) -> list[Evaluation]:
        """The evaluations that have ended; waits up to ``seconds`` for the first. Raises what a slot raised.

        What had ended before an error is handed out first, and the error by the next call, so that nothing is lost.
        """
        done: list[Evaluation] = []
        woken = False
        while (error := self._error) is None:
            try:
                item = self._done.get_nowait() if done or woken else self._done.get(timeout=max(0.0, seconds))
            except queue.Empty:
                return done
            if item is None:
                woken = True
                continue
            self._in_flight -= 1
            if isinstance(item, BaseException):
                self._error = item
            else:
                done.append(item)
        if done:
            return done
        self._error = None
        raise error

    def wake(self) -> None:
        """Let ``wait`` return with what there is, now or when it is called next. From any thread."""
        self._done.put(None)

    def close(self) -> None:
        """End what runs and wait for the threads. What has not finished by then is given up, not recorded.

        What had finished is still handed out by ``wait(0)``.
        """
        self._cancelled.set()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _watch(self, slot: Slot, request: Request) -> Watch:
        began = time.monotonic()
        losses: list[tuple[float, float]] = []

        def watch(phase: str, share: float, loss: float | None = None, /) -> None:
            if loss is not None and math.isfinite(loss):
                _keep(losses, share, loss)
            self._running[slot.index] = Running(slot, request, phase, share, began, losses)

        return watch

    def _serve(self, slot: Slot) -> None:
        while (request := self._waiting.get()) is not None:
            if self._cancelled.is_set():
                return
            watch = self._watch(slot, request)
            watch("start", 0.0)
            try:
                evaluation: Evaluation | BaseException = self._evaluator.evaluate(request, slot, self._cancelled, watch)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits, which raises it
                evaluation = error
            finally:
                self._running.pop(slot.index, None)
            ended = isinstance(evaluation, BaseException) or evaluation.outcome != "lost"
            if ended or not self._cancelled.is_set():
                self._done.put(evaluation)
