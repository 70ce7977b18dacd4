"""Evaluations on this machine: a thread and at most one candidate per slot.

    executor.submit(request)          # any number; requests queue in order
    for evaluation in executor.wait(0.5): ...

A thread stays inside its evaluation until the evaluation ends, because a sandbox dies with the thread that launched it.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass

from archive.records import Conditions, Landed, Request
from prepare.config import Plain, typed
from prepare.output import many
from prepare.presets import with_memory
from train.executors.base import Evaluator, ExecutionConfig, KeepsProcesses, Running, Scorer
from train.hardware.devices import gpu_warnings
from train.hardware.slots import Slot, device_kind, make_slots, shared_cores_warning
from train.hardware.vendors import hardware_tag, require_same_hardware
from train.progress import ProgressCallback, append_loss


@dataclass(frozen=True)
class LocalOptions:
    """The keys of ``executor`` in the configuration."""

    slots: int | None = None
    """None: one per GPU, or one per core."""
    threads: int | None = None
    """Of a slot."""


class LocalExecutor:
    """Slots of this machine. Use as a context manager: on leaving, running evaluations are ended."""

    def __init__(self, evaluator: Evaluator, slots: tuple[Slot, ...]) -> None:
        self.slots = slots
        self._evaluator = evaluator
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Landed | BaseException | None] = queue.SimpleQueue()
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
    def device(options: Plain) -> str:
        return with_memory(device_kind())

    @staticmethod
    def find_slots(options: Plain) -> tuple[Slot, ...]:
        wanted = typed(LocalOptions, options, "executor")
        slots = make_slots(wanted.slots, wanted.threads)
        require_same_hardware(slots)
        return slots

    @staticmethod
    def survey(options: Plain) -> str:
        slots = LocalExecutor.find_slots(options)
        gpus = (
            many(len(slots), "GPU") if slots[0].gpu is not None else "no GPU" if slots[0].device == "cpu" else "a GPU"
        )
        return f"{gpus}; {many(len(slots), 'slot')} on {hardware_tag(slots[0])}"

    @classmethod
    def of(cls, config: ExecutionConfig, evaluator: Evaluator, slots: tuple[Slot, ...]) -> LocalExecutor:
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
        shared = shared_cores_warning(self.slots)
        return (*([f"NOTE: {shared}."] if shared else []), *(f"NOTE: {note}." for note in gpu_warnings(self.slots)))

    @property
    def in_flight(self) -> int:
        """Evaluations submitted and not yet returned by ``wait``."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Slots minus submitted evaluations; negative while requests queue."""
        return len(self.slots) - self._in_flight

    @property
    def conditions(self) -> Conditions:
        """Conditions of the scores made here, the same for all slots."""
        return self._evaluator.conditions(self.slots[0])

    def running(self) -> tuple[Running, ...]:
        """Return the state of each busy slot."""
        snapshot = self._running.copy()  # atomic: the slots' threads write to it
        return tuple(snapshot[index] for index in sorted(snapshot))

    def submit(self, request: Request) -> None:
        """Queue one evaluation. Raises RuntimeError after ``close``."""
        if self._cancelled.is_set():
            raise RuntimeError("the executor is closed; nothing more can be submitted")
        self._in_flight += 1
        self._waiting.put(request)

    def wait(self, seconds: float) -> list[Landed]:
        """Return finished evaluations; wait up to ``seconds`` for the first. Raises a slot's error.

        Results that arrived before an error are returned first, and the next call raises it, so that nothing is lost.
        """
        done: list[Landed] = []
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
        """Make the current or next ``wait`` return at once. Thread-safe."""
        self._done.put(None)

    def close(self) -> None:
        """End running evaluations and join the threads. Unfinished evaluations are not recorded.

        Finished ones are still returned by ``wait(0)``.
        """
        self._cancelled.set()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _progress_callback(self, slot: Slot, request: Request) -> ProgressCallback:
        began = time.monotonic()
        losses: list[tuple[float, float]] = []

        def on_progress(phase: str, share: float, loss: float | None = None, /) -> None:
            append_loss(losses, share, loss)
            self._running[slot.index] = Running(slot, request, phase, share, began, losses)

        return on_progress

    def _serve(self, slot: Slot) -> None:
        keeper = self._evaluator if isinstance(self._evaluator, KeepsProcesses) else None
        if keeper is not None:
            keeper.keep(slot)
        try:
            self._evaluate_all(slot)
        finally:
            if keeper is not None:
                keeper.release(slot)

    def _evaluate_all(self, slot: Slot) -> None:
        while (request := self._waiting.get()) is not None:
            if self._cancelled.is_set():
                return
            on_progress = self._progress_callback(slot, request)
            on_progress("start", 0.0)
            try:
                evaluation: Landed | BaseException
                evaluation = self._evaluator.evaluate(request, slot, self._cancelled, on_progress)
            except BaseException as error:  # noqa: BLE001 - ``wait`` raises it in the caller's thread
                evaluation = error
            finally:
                self._running.pop(slot.index, None)
            ended = isinstance(evaluation, BaseException) or evaluation.outcome != "lost"
            if ended or not self._cancelled.is_set():
                self._done.put(evaluation)
