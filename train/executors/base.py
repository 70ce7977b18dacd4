"""Interfaces of executors and evaluators.

An executor runs evaluations on slots: ``LocalExecutor`` on those of this machine, ``RayExecutor`` on those of a Ray
cluster. ``executor._target_`` in the configuration names its class. Before one is made, its class (``ExecutorType``)
says which preset of the task applies and how many slots there are, and refuses what is not available.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from archive.records import Conditions, Landed, Request, Split
from prepare.config import Part, Plain
from prepare.task import Task
from train.hardware.slots import Slot
from train.progress import ProgressCallback
from train.sandbox.base import Sandbox


class ExecutorError(Exception):
    """Evaluations cannot be run or continued; the message says what was expected, what was found, what to do."""


class Scorer(Protocol):
    """Part of an evaluator that the search uses in its own process."""

    def gate(self, files: Mapping[str, str]) -> str | None:
        """Check a candidate's files without running them; return the reason for a refusal, or None."""
        ...

    def conditions(self, slot: Slot) -> Conditions:
        """Return the conditions of scores made on this slot; only scores of equal conditions are compared."""
        ...


@runtime_checkable
class Evaluator(Scorer, Protocol):
    """Evaluates candidates; ``AuditedEvaluator`` is the one for language models."""

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, on_progress: ProgressCallback
    ) -> Landed:
        """Run one evaluation on ``slot``. Setting ``cancelled`` ends it as ``lost``. Raises only for bugs.

        An evaluator that can end after the training does so for a request with ``seal``, and begins there for one with
        ``trained``. Any other returns an ``Evaluation`` for every request.
        """
        ...


@runtime_checkable
class KeepsProcesses(Protocol):
    """An evaluator that can keep processes between the evaluations of a slot."""

    def keep(self, slot: Slot) -> None:
        """Have the slot's processes started before they are needed. Call both in the thread that serves the slot."""
        ...

    def release(self, slot: Slot) -> None:
        """End what is kept for the slot."""
        ...


@runtime_checkable
class CountsCases(Protocol):
    """An evaluator that knows how many cases a split has."""

    def count_cases(self, slot: Slot, split: Split) -> int:
        """Return how many cases of a split are used; no candidate is judged. Raises TaskError."""
        ...


@runtime_checkable
class AsksModel(Protocol):
    """An evaluator whose candidates can ask the search's language model."""

    def name_model(self, name: str) -> None:
        """Have them ask it, instead of a scripted one. Call it before the first evaluation."""
        ...

    def lend_model(self, model: Any) -> None:
        """Set what answers: a ``train.program.model.ModelService``."""
        ...


@dataclass(frozen=True)
class ExecutionConfig:
    """The parts of a run's configuration from which an executor makes evaluators elsewhere."""

    task: Plain
    evaluator: Part
    executor: Part
    sandbox: str

    def __getitem__(self, section: str) -> Any:
        """Return a section as plain values."""
        found = getattr(self, section)
        return found.plain if isinstance(found, Part) else found


def evaluator_from(config: Part, task: Task, sandbox: Sandbox) -> Evaluator:
    """Build the evaluator that ``evaluator`` in the configuration names.

    Raises TaskError if there is no such class, and the class's errors for its options: TypeError, ValueError.
    """
    return config.make(task, sandbox)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Running:
    """A busy slot's state, for the progress display."""

    slot: Slot
    request: Request
    phase: str
    share: float
    """Used part of the time budget, in [0, 1]."""
    since: float
    """Start of the evaluation, as time.monotonic()."""
    losses: Sequence[tuple[float, float]] = ()
    """(share, loss) points that the candidate has reported so far, unverified. Grows until the evaluation ends."""


class Executor(Protocol):
    """Runs evaluations on slots. Use as a context manager."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, busy or not."""
        ...

    @property
    def evaluator(self) -> Scorer:
        """The static gate, and the conditions under which scores are made."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes and warnings for the user before the search begins, one line each."""
        ...

    @property
    def free(self) -> int:
        """Slots minus submitted evaluations; negative while requests queue."""
        ...

    @property
    def in_flight(self) -> int:
        """Evaluations submitted and not yet returned by ``wait``."""
        ...

    @property
    def conditions(self) -> Conditions:
        """Conditions of the scores made here."""
        ...

    def running(self) -> Sequence[Running]:
        """Return the state of each busy slot."""
        ...

    def submit(self, request: Request) -> None:
        """Queue one evaluation; requests start in order. Raises RuntimeError after ``close``."""
        ...

    def wait(self, seconds: float) -> list[Landed]:
        """Return finished evaluations; wait up to ``seconds`` for the first. Raises slot errors and ExecutorError."""
        ...

    def wake(self) -> None:
        """Make ``wait`` return at once. Thread-safe."""
        ...

    def close(self) -> None:
        """End running evaluations. Finished ones are still returned by ``wait(0)``."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class ExecutorType(Protocol):
    """The class of an executor. ``options``: the keys of ``executor`` in the configuration but for ``_target_``.

    All methods raise ValueError for an invalid option, and ExecutorError if what is asked for is not available.
    """

    def device(self, options: Plain) -> str:
        """Return the device's name in ``prepare.presets`` (``cpu``, ``mps``, ``cuda_80gb``), which selects a preset."""
        ...

    def find_slots(self, options: Plain) -> tuple[Slot, ...]:
        """Return the slots that an executor with these options would have."""
        ...

    def survey(self, options: Plain) -> str:
        """Describe the slots in words."""
        ...

    def of(self, config: ExecutionConfig, evaluator: Evaluator, slots: tuple[Slot, ...]) -> Executor:
        """Make the executor. ``evaluator``: the one of this process."""
        ...
