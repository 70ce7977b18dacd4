"""The train sandbox, from the parent's side: start-up, the clock, the reports, the state, one check of ``predict``.

What comes out is a state, as bytes. The candidate's own reports can end the run early and count for nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import safetensors

from archive.records import CurvePoint
from prepare.smoke_test import TEXT_BYTES
from prepare.task import Buffer, Task
from train.faults import fault
from train.language_model.curve import Divergence, MedianRule
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory
from train.sandbox.process import SandboxProcess

_GRACE = 0.02
"""Share of the budget by which a state may be late."""
_CURVE_POINTS = 2000
_REPORT_BYTES = 4096
_REPORTS_PER_SECOND = 200  # ten times what a session sends
_STRAY_FRAMES = 1000  # a thread of the candidate's may still report while predict is checked


_TOO_LONG = "the rehearsal took too long"
_UNASKED = "train() sent {!r} before it called session.start()"
_RETRIED = ("crashed", "out_of_memory", "timed_out")


class _Again(Exception):
    """The training is to begin again in a fresh sandbox, without a rehearsal: the first one may be to blame."""


@contextlib.contextmanager
def _found_in_rehearsal() -> Iterator[None]:
    """Say of a failure that it showed before any of the budget was spent; a rehearsal that takes too long is none."""
    try:
        yield
    except Aborted as ended:
        if ended.outcome == "timed_out":
            raise _Again from None
        if ended.outcome == "lost":
            raise
        where = "found in the rehearsal, before any training time was spent"
        raise Aborted(ended.outcome, f"{ended.reason} ({where})", ended.violation) from None


@contextlib.contextmanager
def _once_more(progress: Progress, early: float, allowed: bool) -> Iterator[None]:
    """Where it is ``allowed``: turn a failure within the first ``early`` seconds of the training into ``_Again``."""
    try:
        yield
    except Aborted as ended:
        if allowed and ended.outcome in _RETRIED and progress.seconds <= early:
            raise _Again from None
        raise


@dataclass(frozen=True)
class Training:
    """One training of a candidate."""

    cells: SandboxFactory
    watch: ProgressCallback
    median_rule: MedianRule | None = None
    divergence: Divergence = field(default_factory=Divergence)

    @property
    def task(self) -> Task:
        return self.cells.task

    @property
    def progress(self) -> Progress:
        return self.cells.progress

    def run(self, stream: Buffer) -> bytes:
        """The candidate's state, as the bytes of a safetensors file. Raises Ended."""
        if self.task.limits.rehearsal_seconds > 0:
            before = self.progress.copy()
            began = time.monotonic()
            try:
                return self._attempt(stream, rehearsed=True)
            except _Again:
                # A program may be unable to run twice in one process: then its rehearsal was one, and no more.
                self.progress.restart(before, "rehearse", time.monotonic() - began)
        return self._attempt(stream, rehearsed=False)

    def _attempt(self, stream: Buffer, rehearsed: bool) -> bytes:
        rehearsal = self._rehearsal(len(stream)) if rehearsed else None
        with self.cells.open("training", "train", rehearsal=rehearsal) as cell:
            fault("launch")
            try:
                passed = rehearsed and self._rehearse(cell)
                patience = self.task.limits.startup_seconds + self.task.seconds
                with _once_more(self.progress, 0.1 * self.task.seconds, allowed=passed):
                    with self.progress.phase("startup"):
                        budget = self._until_start(cell, time.monotonic() + patience)
                    with self.progress.phase("train"):
                        state = self._until_state(cell, budget, stream)
                fault("train")
                self._within_cores(cell)
                self.progress.metrics.update(_count(state, self.task))
                with self.progress.phase("check"):
                    self._check(cell, state)
            finally:
                self.progress.log = cell.log
                cell.kill()
                self.progress.log = cell.log
        return state

    # ------------------------------------------------------------ rehearsal

    def _rehearsal(self, size: int) -> dict[str, object]:
        seconds = self.task.limits.rehearsal_seconds
        return {"seconds": seconds, "bytes": min(size, TEXT_BYTES), "shapes": self._shapes()}

    def _rehearse(self, cell: SandboxProcess) -> bool:
        """All of the program once, on a made-up text; whether it went through. Raises Ended for what no training mends.

        What the candidate tells about it can only hurt itself: the limits hold for the real state as well.
        """
        limits = self.task.limits
        deadline = time.monotonic() + limits.startup_seconds
        with self.progress.phase("rehearse"), _found_in_rehearsal():
            frame = cell.receive(deadline=deadline, max_payload=0, late=_TOO_LONG)
            if frame.kind == "returned":
                elements, size = frame.message.get("elements"), frame.message.get("bytes")
                if isinstance(elements, int) and isinstance(size, int):
                    _within_limits(elements, size, self.task)
                frame = cell.receive(deadline=deadline, max_payload=0, late=_TOO_LONG)
            if frame.kind != "rehearsed":
                raise Aborted("invalid", _UNASKED.format(frame.kind[:40]), violation=True)
        cell.clear_log()  # the log is that of the training
        cell.send({"type": "go on"}, deadline=deadline + self.task.limits.startup_seconds)
        return frame.message.get("passed") is True

    # ------------------------------------------------------------ training

    def _until_start(self, cell: SandboxProcess, deadline: float) -> float:
        """Wait for ``session.start()``; the seconds granted, less what the start-up took beyond its allowance."""
        allowance = self.task.limits.startup_seconds
        began, stalled = time.monotonic(), cell.stalled
        late = f"session.start() was not called within {deadline - began:.0f} s of start-up"
        frame = cell.receive(deadline=deadline, max_payload=self._state_cap(), late=late)
        if frame.kind != "start":
            raise Aborted("invalid", _UNASKED.format(frame.kind[:40]), violation=True)
        late_by = time.monotonic() - began - (cell.stalled - stalled) - allowance
        return max(0.0, self.task.seconds - max(0.0, late_by))

    def _until_state(self, cell: SandboxProcess, budget: float, stream: Buffer) -> bytes:
        data = _sealed_memfd(stream)
        try:
            began = time.monotonic()
            deadline = began + budget + max(_GRACE * budget, 0.05)
            cell.send({"type": "data", "bytes": len(stream), "seconds": budget}, deadline=deadline, fd=data)
        finally:
            os.close(data)
        late = f"the state had not arrived when the {budget:.3g} s of training and the grace of {_GRACE:.0%} were over"
        reports = 0
        while True:
            try:
                frame = cell.receive(
                    deadline=deadline, max_payload=self._state_cap(), late=late, too_large=self._too_large()
                )
            finally:  # whether it was early is asked of a failure as well
                self.progress.seconds = time.monotonic() - began
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
        """A point of the candidate's own curve: it can end the run early, and counts for nothing else."""
        step, loss = message.get("step"), message.get("loss")
        if not isinstance(step, int) or not isinstance(loss, float) or abs(step) > 2**60:
            raise Aborted("invalid", "session.report() sent something else than a step and a loss", violation=True)
        if not math.isfinite(loss):
            raise Aborted("stopped", f"it reported a loss of {loss} at step {step}: the training has diverged")
        self.progress.steps = step
        curve = self.progress.curve
        if len(curve) >= _CURVE_POINTS:
            del curve[1::2]  # a long training: its past is kept in less detail
        curve.append(CurvePoint(step, self.progress.seconds, loss))
        if (reason := self._hopeless(curve)) is not None:
            raise Aborted("stopped", reason)
        self.watch("train", min(1.0, self.progress.seconds / self.task.seconds), loss)

    def _hopeless(self, curve: Sequence[CurvePoint]) -> str | None:
        """Why the rest of the budget would be wasted, by the candidate's own words, or None."""
        if (reason := self.divergence.reason(curve, self.task.seconds)) is not None:
            return reason
        pace = self.cells.request.baseline_pace
        if self.median_rule is None or self.cells.request.purpose != "screen" or not pace:
            return None
        return self.median_rule.reason(curve, pace, self.task.seconds)

    def _within_cores(self, cell: SandboxProcess) -> None:
        """A slot's cores are a habit that a process may leave; the CPU time that it used tells if it did."""
        cores, wall = len(self.cells.slot.cores), time.monotonic() - cell.launched
        if cores and cell.usage.cpu_seconds > 1.1 * cores * wall + 0.5:
            raise Aborted(
                "invalid",
                f"it used {cell.usage.cpu_seconds:.1f} s of CPU time in {wall:.1f} s, but its slot has "
                f"{cores} core{'s' if cores > 1 else ''}: the number of threads and their cores are not to be changed",
                violation=True,
            )

    def _check(self, cell: SandboxProcess, state: bytes) -> None:
        """Let ``predict`` run once where its traceback may be read. Its answers are not used."""
        deadline = time.monotonic() + self.task.limits.check_seconds
        cell.send({"type": "check", "shapes": self._shapes()}, state, deadline=deadline)
        late = f"predict did not answer within {self.task.limits.check_seconds:g} s"
        for _ in range(_STRAY_FRAMES):
            if cell.receive(deadline=deadline, max_payload=_REPORT_BYTES, late=late).kind == "checked":
                break
        else:
            raise Aborted("invalid", "it sent messages without end while predict was checked", violation=True)
        cell.finish(deadline=deadline + 5.0)

    def _shapes(self) -> list[list[int]]:
        """[B, T] of the tokens that ``predict`` is tried on."""
        context = self.task.context
        return [[self.task.batch, context], [1, 1], [2, max(1, context // 2 - 1)]]

    def _too_large(self) -> str:
        limits = self.task.limits
        return f"the state is larger than the {limits.state_mb:g} MB (and {limits.parameters:,} elements) allowed"

    def _state_cap(self) -> int:
        return int(self.task.limits.state_mb * 1e6) + 1_000_000


def _sealed_memfd(data: Buffer) -> int:
    """A file descriptor of an anonymous file that holds ``data`` and can never be changed again.

    Where there are no such files (macOS) it is one without a name in any folder that can only be read through this
    descriptor; nothing contains a candidate there anyway.
    """
    if not hasattr(os, "memfd_create"):
        return _nameless(data)
    descriptor = os.memfd_create("training-data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _nameless(data: Buffer) -> int:
    """A read-only descriptor of a temporary file that is removed at once."""
    descriptor, name = tempfile.mkstemp(prefix="treewright-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.unlink(name)


def _count(state: bytes, task: Task) -> dict[str, float]:
    """Elements and bytes of a state, from its header. Raises Ended if it is no safetensors file or too large."""
    try:
        tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(state)  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, UnicodeError):
        raise Aborted("invalid", "the state is not a safetensors file", violation=True) from None
    elements = sum(math.prod(tensor["shape"]) for _, tensor in tensors)
    _within_limits(elements, len(state), task)
    return {"parameters": float(elements), "state_bytes": float(len(state))}


def _within_limits(elements: int, size: int, task: Task) -> None:
    """Raises Ended if a state is too large: its elements, or the bytes of its file."""
    limits = task.limits
    if elements > limits.parameters:
        raise Aborted("invalid", f"the state has {elements:,} elements; {limits.parameters:,} are allowed")
    # Bytes count too: an element cannot hide more than eight of them, whatever the header says.
    allowed = min(limits.state_mb * 1e6, 8 * limits.parameters + 1_000_000)
    if size > allowed:
        raise Aborted("invalid", f"the state has {size / 1e6:.1f} MB; {allowed / 1e6:.3g} MB are allowed")
