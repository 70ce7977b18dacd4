"""The training of a candidate, on the parent's side of the sandbox: clock, reports, state, one check of ``predict``.

The result is a state, as bytes. The candidate's own reports can end the run early and count for nothing else.

With ``limits.rehearsal_seconds`` the whole program first runs on synthetic text for about a second (see
``prepare.smoke_test``), in a sandbox of its own, which ends with it: a process, a file or a thread that it leaves could
train on before the clock starts. A failure there costs no training time.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import safetensors

from archive.records import CurvePoint
from prepare.clock import PATIENCE
from prepare.language_model import Buffer, LanguageModelTask
from prepare.output import many
from prepare.smoke_test import TEXT_BYTES
from train.faults import fault
from train.language_model.curve import Divergence
from train.language_model.predict_sandbox import check_computing
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted
from train.sandbox.clock import BudgetClock, BudgetDeadline
from train.sandbox.factory import SandboxFactory
from train.sandbox.process import SandboxProcess

_GRACE = 0.02
"""Tolerated delay of the state, as a share of the budget."""
_CURVE_POINTS = 2000
_REPORT_BYTES = 4096
_REPORTS_PER_SECOND = 200  # ten times as many as a session sends
_HEADER_BYTES = 1_000_000
"""Largest header of a state: 10,000 tensors. Parsing one takes 0.2 s and 40 MB; 300,000 tensors take 4 s and 440 MB."""
_STRAY_FRAMES = 1000  # a thread of the candidate may still report while predict is checked


_TOO_LONG = "the rehearsal took too long"
_FOUND = "found in the rehearsal, before any training time was spent"
_FIRST = "predict(), with its first batch alone,"
_UNASKED = "train() sent {!r} before it called session.start()"


@contextlib.contextmanager
def _before_any_budget() -> Iterator[None]:
    """Add to a failure's reason that no budget was spent; a rehearsal that timed out says nothing of the training."""
    try:
        yield
    except Aborted as ended:
        if ended.outcome == "timed_out":
            return
        if ended.outcome == "lost":
            raise
        raise Aborted(ended.outcome, f"{ended.reason} ({_FOUND})", ended.violation) from None


@dataclass(frozen=True)
class _Spent:
    """What a process had computed when it began to predict."""

    began: float
    cpu_seconds: float

    @classmethod
    def by(cls, process: SandboxProcess) -> _Spent:
        return cls(time.monotonic(), process.usage.cpu_seconds)

    def too_dear(self, sandboxes: SandboxFactory[LanguageModelTask], process: SandboxProcess) -> Aborted | None:
        """Return why scoring would end the program, if its first batch alone computes for too long."""
        cpu = process.usage.cpu_seconds - self.cpu_seconds
        try:
            check_computing(sandboxes, time.monotonic() - self.began, cpu, what=_FIRST)
        except Aborted as ended:
            return ended
        return None


@dataclass(frozen=True)
class Training:
    """One training of a candidate: ``run`` returns its state."""

    sandboxes: SandboxFactory[LanguageModelTask]
    on_progress: ProgressCallback
    divergence: Divergence = field(default_factory=Divergence)

    @property
    def task(self) -> LanguageModelTask:
        return self.sandboxes.task

    @property
    def progress(self) -> Progress:
        return self.sandboxes.progress

    def run(self, stream: Buffer) -> bytes:
        """Train the candidate; return its state as the bytes of a safetensors file. Raises Aborted."""
        if self.task.limits.rehearsal_seconds > 0:
            self._rehearse(len(stream))
        with self.sandboxes.open("training", mode="train") as process:
            fault("launch")
            with self._logged(process):
                with self.progress.phase("startup"):
                    budget = self._until_start(process, self._clock(process))
                with self.progress.phase("train"):
                    state = self._until_state(process, budget, stream)
                fault("train")
                self._within_cores(process)
                self.progress.metrics.update(_state_metrics(state, self.task))
                with self.progress.phase("check"):
                    self._check(process, state)
        return state

    def _clock(self, process: SandboxProcess) -> BudgetClock:
        """Return a clock that begins now."""
        slot = self.sandboxes.slot
        return BudgetClock(process, self.task.clock_on(slot.device), slot.width)

    @contextlib.contextmanager
    def _logged(self, process: SandboxProcess) -> Iterator[None]:
        """Keep the process's output, also that of its last moments, and end it."""
        try:
            yield
        finally:
            self.progress.log = process.log
            process.kill()
            self.progress.log = process.log

    # ------------------------------------------------------------ rehearsal

    def _rehearse(self, size: int) -> None:
        """Run the program once on synthetic text. Raises Aborted for an error that the training would meet as well.

        The messages come from the candidate; false ones only harm itself, since the same limits are checked on the real
        state.
        """
        limits, too_dear = self.task.limits, None
        plan = {"seconds": limits.rehearsal_seconds, "bytes": min(size, TEXT_BYTES), "shapes": self._shapes()}
        with _before_any_budget(), self.sandboxes.open("training", mode="rehearse", rehearsal=plan) as process:
            deadline = time.monotonic() + limits.startup_seconds
            with self._logged(process), self.progress.phase("rehearse"):
                frame = process.receive(deadline=deadline, max_payload=0, late=_TOO_LONG)
                if frame.kind == "returned":
                    elements, state_bytes = frame.message.get("elements"), frame.message.get("bytes")
                    if _is_count(elements) and _is_count(state_bytes):
                        _within_limits(elements, state_bytes, self.task)
                    spent, deadline = _Spent.by(process), max(deadline, time.monotonic() + limits.check_seconds)
                    frame = process.receive(deadline=deadline, max_payload=0, late=_TOO_LONG)
                    if frame.kind == "predicted":
                        too_dear = spent.too_dear(self.sandboxes, process)
                        frame = process.receive(deadline=deadline, max_payload=0, late=_TOO_LONG)
                if frame.kind != "rehearsed":
                    raise Aborted("invalid", _UNASKED.format(frame.kind[:40]), violation=True)
        if too_dear is not None:  # even if no training second is used
            raise Aborted(too_dear.outcome, f"{too_dear.reason} ({_FOUND})")
        self.progress.log = ""  # it keeps the output of the training only

    # ------------------------------------------------------------ training

    def _until_start(self, process: SandboxProcess, clock: BudgetClock) -> float:
        """Wait for ``session.start()``; return the training seconds, less the start-up time beyond its allowance."""
        allowance, stalled = self.task.limits.startup_seconds, process.stalled
        deadline = BudgetDeadline(clock, allowance + self.task.seconds)
        late = f"session.start() was not called within {deadline.seconds:.0f} s of start-up"
        frame = process.receive(deadline=deadline, max_payload=self._state_cap(), late=late)
        if frame.kind != "start":
            raise Aborted("invalid", _UNASKED.format(frame.kind[:40]), violation=True)
        late_by = clock.seconds() - (process.stalled - stalled) - allowance
        return max(0.0, self.task.seconds - max(0.0, late_by))

    def _until_state(self, process: SandboxProcess, budget: float, stream: Buffer) -> bytes:
        """Send the training data, receive reports, and return the state. Raises Aborted."""
        data = _sealed_memfd(stream)
        clock = self._clock(process)
        deadline = BudgetDeadline(clock, budget + max(_GRACE * budget, 0.05))
        with clock.shared() as page:
            try:
                message: dict[str, object] = {"type": "data", "bytes": len(stream), "seconds": budget}
                process.send(message, deadline=deadline, fds=[data, *page])
            finally:
                os.close(data)
            return self._reports_until_state(process, deadline, self._late(budget))

    def _late(self, budget: float) -> str:
        """Return the reason of a training that is over its time."""
        late = f"the state had not arrived when the {budget:.3g} s of training and the grace of {_GRACE:.0%} were over"
        if self.task.clock_on(self.sandboxes.slot.device) == "wall":
            return late
        return (
            f"{late} (CPU seconds of all processes and threads together, or wall seconds / {PATIENCE:g} if that is "
            "more; session.remaining() tells what is left)"
        )

    def _reports_until_state(self, process: SandboxProcess, deadline: BudgetDeadline, late: str) -> bytes:
        """Receive reports, and return the state. Raises Aborted."""
        reports = 0
        while True:
            try:
                frame = process.receive(
                    deadline=deadline, max_payload=self._state_cap(), late=late, too_large=self._too_large()
                )
            finally:  # also recorded for a failure, which is retried if it was early
                self.progress.seconds = deadline.clock.seconds()
            if frame.kind == "state":
                return frame.payload
            if frame.kind == "report":
                reports += 1
                if reports > _REPORTS_PER_SECOND * (1.0 + self.progress.seconds):
                    reason = f"train() sent {reports:,} reports in {self.progress.seconds:.1f} s"
                    raise Aborted("invalid", f"{reason}; report with session.report(), which sends 20 a second", True)
                self._reported(frame.message)
            else:
                raise Aborted("invalid", f"train() sent an unexpected message, {frame.kind[:40]!r}", violation=True)

    def _reported(self, message: Mapping[str, Any]) -> None:
        """Add a point to the candidate's curve, and stop the run if its losses are hopeless. Raises Aborted."""
        step, loss = message.get("step"), message.get("loss")
        if not isinstance(step, int) or not isinstance(loss, float) or abs(step) > 2**60:
            raise Aborted("invalid", "session.report() sent something else than a step and a loss", violation=True)
        if not math.isfinite(loss):
            raise Aborted("stopped", f"it reported a loss of {loss} at step {step}: the training has diverged")
        self.progress.steps = step
        curve = self.progress.curve
        if len(curve) >= _CURVE_POINTS:
            del curve[1::2]  # halve the resolution of the curve of a long training
        curve.append(CurvePoint(step, self.progress.seconds, loss))
        if (reason := self.divergence.reason(curve, self.task.seconds)) is not None:
            raise Aborted("stopped", reason)
        self.on_progress("train", min(1.0, self.progress.seconds / self.task.seconds), loss)

    def _within_cores(self, process: SandboxProcess) -> None:
        """Raise Aborted if the process used more CPU time than its cores have: CPU affinity can be changed by it."""
        cores, wall = len(self.sandboxes.slot.cores), time.monotonic() - process.launched
        if cores and process.usage.cpu_seconds > 1.1 * cores * wall + 0.5:
            raise Aborted(
                "invalid",
                f"it used {process.usage.cpu_seconds:.1f} s of CPU time in {wall:.1f} s, but its slot has "
                f"{many(cores, 'core')}: the number of threads and their cores are not to be changed",
                violation=True,
            )

    def _check(self, process: SandboxProcess, state: bytes) -> None:
        """Run ``predict`` once on random tokens, where its traceback may be logged. Raises Aborted."""
        deadline = time.monotonic() + self.task.limits.check_seconds
        process.send({"type": "check", "shapes": self._shapes()}, state, deadline=deadline)
        late = f"predict did not answer within {self.task.limits.check_seconds:g} s: make it cheaper"
        spent = _Spent.by(process)
        for _ in range(_STRAY_FRAMES):
            frame = process.receive(deadline=deadline, max_payload=_REPORT_BYTES, late=late)
            if frame.kind == "predicted" and (too_dear := spent.too_dear(self.sandboxes, process)) is not None:
                raise too_dear
            if frame.kind == "checked":
                break
        else:
            raise Aborted("invalid", "it sent messages without end while predict was checked", violation=True)
        process.finish(deadline=deadline + 5.0)

    def _shapes(self) -> list[list[int]]:
        """Return the shapes [B, T] of the tokens that ``predict`` is tried on."""
        context = self.task.context
        return [[self.task.batch, context], [1, 1], [2, max(1, context // 2 - 1)]]

    def _too_large(self) -> str:
        limits = self.task.limits
        return f"the state is larger than the {limits.state_mb:g} MB (and {limits.parameters:,} elements) allowed"

    def _state_cap(self) -> int:
        return int(self.task.limits.state_mb * 1e6) + 1_000_000


def _sealed_memfd(data: Buffer) -> int:
    """Return a file descriptor of an anonymous, immutable file with ``data``.

    On systems without ``memfd_create`` (macOS): a read-only descriptor of a deleted file. Candidates are not contained
    there anyway.
    """
    if not hasattr(os, "memfd_create"):
        return _unlinked_file(data)
    descriptor = os.memfd_create("training-data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _unlinked_file(data: Buffer) -> int:
    """Return a read-only descriptor of a temporary file that is already deleted."""
    descriptor, name = tempfile.mkstemp(prefix="treewright-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.unlink(name)


def _is_count(value: object) -> TypeGuard[int]:
    """Return whether a number that a candidate has sent can be a count of elements or bytes."""
    return isinstance(value, int) and 0 <= value < 1 << 62


def _state_metrics(state: bytes, task: LanguageModelTask) -> dict[str, float]:
    """Return the number of elements and bytes of a state. Raises Aborted if it is no safetensors file or too large.

    The size of its header is checked before it is parsed; that of the file was, before it was received.
    """
    if (header := int.from_bytes(state[:8], "little")) > _HEADER_BYTES and len(state) - 8 >= header:
        names = f"the header of the state (names and shapes of its tensors) has {header:,} bytes"
        raise Aborted("invalid", f"{names}; {_HEADER_BYTES:,} are allowed: return fewer tensors, with shorter names")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(state)  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, UnicodeError):
        raise Aborted("invalid", "the state is not a safetensors file", violation=True) from None
    elements = sum(math.prod(tensor["shape"]) for _, tensor in tensors)
    _within_limits(elements, len(state), task)
    return {"parameters": float(elements), "state_bytes": float(len(state))}


def _within_limits(elements: int, size: int, task: LanguageModelTask) -> None:
    """Raise Aborted if a state has too many elements or its file too many bytes."""
    limits = task.limits
    if elements > limits.parameters:
        raise Aborted("invalid", f"the state has {elements:,} elements; {limits.parameters:,} are allowed")
    # The file is bounded too, to eight bytes per element, whatever its header declares.
    allowed = min(limits.state_mb * 1e6, 8 * limits.parameters + 1_000_000)
    if size > allowed:
        raise Aborted("invalid", f"the state has {size / 1e6:.1f} MB; {allowed / 1e6:.3g} MB are allowed")
