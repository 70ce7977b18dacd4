"""What every executor is: where evaluations run, and what may be asked of it before it is made.

An executor is a class that ``executor._target_`` names. ``LocalExecutor`` has the slots of this machine,
``RayExecutor`` those of a Ray cluster. Its class is asked first (``Kind``): which preset of the task applies, and how
many slots there are. What cannot be had is refused there, before anything is spent.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from archive.records import Conditions, Evaluation, Request
from prepare.load import locate
from prepare.task import Task
from train.hardware.slots import Slot
from train.language_model.curve import ProgressCallback
from train.sandbox.base import Sandbox

_LOSSES = 128
"""Points of a curve that are kept for the progress display."""


class ExecutorError(Exception):
    """Evaluations cannot be run, or cannot go on; the message says what was expected, what is there, what to do."""


class Scorer(Protocol):
    """What a search needs of an evaluator in its own process: the gate before a training, and what compares."""

    def gate(self, files: Mapping[str, str]) -> str | None: ...

    def conditions(self, slot: Slot) -> Conditions: ...


@runtime_checkable
class Evaluator(Scorer, Protocol):
    """What an executor needs of an evaluator: ``AuditedEvaluator`` is one, the tests have others."""

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, watch: ProgressCallback
    ) -> Evaluation: ...


def evaluator_from(settings: Mapping[str, Any], task: Task, sandbox: Sandbox) -> Evaluator:
    """The evaluator that the settings name (``evaluator`` in the configuration).

    Raises TaskError if there is no such class, and what that raises for its options: TypeError, ValueError.
    """
    options = {key: value for key, value in settings.items() if key != "_target_"}
    evaluator: Evaluator = locate(settings["_target_"])(task, sandbox, **options)
    return evaluator


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


def keep_loss(losses: list[tuple[float, float]], share: float, loss: float | None) -> None:
    """Add a point of the curve. A training that has begun again begins its curve again; a long one is thinned out."""
    if loss is None or not math.isfinite(loss):
        return
    if losses and share < losses[-1][0]:
        losses.clear()
    if len(losses) >= _LOSSES:
        del losses[1::2]
    losses.append((share, loss))


class Executor(Protocol):
    """Slots that take requests and hand out evaluations. Use as a context manager."""

    @property
    def slots(self) -> tuple[Slot, ...]: ...

    @property
    def evaluator(self) -> Scorer:
        """The gate, and the conditions under which scores are made here."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of this executor before it begins, a line each."""
        ...

    @property
    def free(self) -> int:
        """Slots for which nothing is submitted; negative when requests wait."""
        ...

    @property
    def in_flight(self) -> int:
        """Submitted and not yet handed out by ``wait``."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What scores made here may be compared with."""
        ...

    def running(self) -> Sequence[Running]: ...

    def submit(self, request: Request) -> None: ...

    def wait(self, seconds: float) -> list[Evaluation]:
        """What has ended; waits for the first up to ``seconds``. Raises what a slot raised, and ExecutorError."""
        ...

    def wake(self) -> None:
        """Let ``wait`` return at once, from any thread."""
        ...

    def close(self) -> None:
        """End what runs. What had finished is still handed out by ``wait(0)``."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Kind(Protocol):
    """The class of an executor. ``options`` are the keys of ``executor`` in the configuration.

    All raise ValueError for a value that makes no sense, ExecutorError where there is not what was asked for.
    """

    def device(self, options: Mapping[str, Any]) -> str:
        """Its name in ``prepare.presets`` (``cpu``, ``mps``, ``cuda_80gb``): which of a task's presets applies."""
        ...

    def find_slots(self, options: Mapping[str, Any]) -> tuple[Slot, ...]: ...

    def survey(self, options: Mapping[str, Any]) -> str:
        """The slots in words, for the doctor."""
        ...

    def of(self, config: Mapping[str, Any], evaluator: Evaluator, slots: tuple[Slot, ...]) -> Executor:
        """Make it. ``config``: the whole resolved configuration; ``evaluator``: the one of this process."""
        ...
