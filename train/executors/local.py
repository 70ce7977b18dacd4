"""Evaluations on this machine: one thread and one candidate at a time for each slot.

    executor.submit(request)          # any number; they wait for a slot in order
    for evaluation in executor.wait(0.5): ...

A thread stays inside its evaluation until that ends, because a sandbox dies with the thread that launched it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from typing import Any

from archive.records import Conditions, Evaluation, Request
from prepare.presets import with_memory
from train.executors.base import Evaluator, Running, Scorer, keep_loss
from train.hardware.devices import neighbours
from train.hardware.slots import Slot, device_kind, hardware_tag, make_slots, refuse_unlike, sharing
from train.language_model.curve import ProgressCallback


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

    @staticmethod
    def device(options: Mapping[str, Any]) -> str:
        return with_memory(device_kind())

    @staticmethod
    def find_slots(options: Mapping[str, Any]) -> tuple[Slot, ...]:
        slots = make_slots(options.get("slots"), options.get("threads"))
        refuse_unlike(slots)
        return slots

    @staticmethod
    def survey(options: Mapping[str, Any]) -> str:
        slots = LocalExecutor.find_slots(options)
        gpus = f"{len(slots)} GPU(s)" if slots[0].gpu is not None else "no GPU" if slots[0].device == "cpu" else "a GPU"
        return f"{gpus}; {len(slots)} slot(s) on {hardware_tag(slots[0])}"

    @classmethod
    def of(cls, config: Mapping[str, Any], evaluator: Evaluator, slots: tuple[Slot, ...]) -> LocalExecutor:
        return cls(evaluator, slots)

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def evaluator(self) -> Scorer:
        return self._evaluator

    @property
    def notes(self) -> tuple[str, ...]:
        shared = sharing(self.slots)
        return (*([f"NOTE: {shared}."] if shared else []), *(f"NOTE: {note}." for note in neighbours(self.slots)))

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

    def _watch(self, slot: Slot, request: Request) -> ProgressCallback:
        began = time.monotonic()
        losses: list[tuple[float, float]] = []

        def watch(phase: str, share: float, loss: float | None = None, /) -> None:
            keep_loss(losses, share, loss)
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
