"""The train sandbox, from the parent's side: start-up, the clock, the reports, the state, one check of ``predict``.

What comes out is a state, as bytes. The candidate's own reports can end the run early and count for nothing else.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors

from archive.records import CurvePoint
from prepare.task import Task
from train.cell import Cell, Ended
from train.cells import Cells, Progress

_GRACE = 0.02
"""Share of the budget by which a state may be late."""
_CURVE_POINTS = 2000
_REPORT_BYTES = 4096
_REPORTS_PER_SECOND = 200  # ten times what a session sends
_STRAY_FRAMES = 1000  # a thread of the candidate's may still report while predict is checked


@dataclass(frozen=True)
class Training:
    """One training of a candidate. ``watch(phase, share of the budget used)`` is told now and then."""

    cells: Cells
    watch: Callable[[str, float], None]

    @property
    def task(self) -> Task:
        return self.cells.task

    @property
    def progress(self) -> Progress:
        return self.cells.progress

    def run(self, stream: bytes) -> bytes:
        """The candidate's state, as the bytes of a safetensors file."""
        limits = self.task.limits
        with self.cells.open("training", "train") as cell:
            began = time.monotonic()
            patience = limits.startup_seconds + self.task.seconds
            try:
                with self.progress.phase("startup"):
                    budget = self._until_start(cell, began + patience)
                with self.progress.phase("train"):
                    state = self._until_state(cell, budget, stream)
                self._within_cores(cell)
                self.progress.metrics.update(_count(state, self.task))
                with self.progress.phase("check"):
                    self._check(cell, state)
            finally:
                self.progress.log = cell.log
                cell.kill()
                self.progress.log = cell.log
        return state

    def _until_start(self, cell: Cell, deadline: float) -> float:
        """Wait for ``session.start()``; the seconds granted, less what the start-up took beyond its allowance."""
        allowance = self.task.limits.startup_seconds
        began = time.monotonic()
        late = f"session.start() was not called within {deadline - began:.0f} s of start-up"
        frame = cell.receive(deadline=deadline, max_payload=self._state_cap(), late=late)
        if frame.kind != "start":
            raise Ended("invalid", f"train() sent {frame.kind[:40]!r} before it called session.start()")
        late_by = time.monotonic() - began - cell.stalled - allowance
        return max(0.0, self.task.seconds - max(0.0, late_by))

    def _until_state(self, cell: Cell, budget: float, stream: bytes) -> bytes:
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
            self.progress.seconds = time.monotonic() - began
            frame = cell.receive(
                deadline=deadline, max_payload=self._state_cap(), late=late, too_large=self._too_large()
            )
            self.progress.seconds = time.monotonic() - began
            if frame.kind == "state":
                return frame.payload
            if frame.kind == "report":
                reports += 1
                if reports > _REPORTS_PER_SECOND * (1.0 + self.progress.seconds):
                    raise Ended("invalid", f"train() sent {reports:,} reports in {self.progress.seconds:.1f} s")
                self._reported(frame.message)
            else:
                raise Ended("invalid", f"train() sent an unexpected message, {frame.kind[:40]!r}")

    def _reported(self, message: Mapping[str, Any]) -> None:
        """A point of the candidate's own curve: it can end the run early, and counts for nothing else."""
        step, loss = message.get("step"), message.get("loss")
        if not isinstance(step, int) or not isinstance(loss, float) or abs(step) > 2**60:
            raise Ended("invalid", "session.report() sent something else than a step and a loss")
        if not math.isfinite(loss):
            raise Ended("stopped", f"it reported a loss of {loss} at step {step}: the training has diverged")
        self.progress.steps = step
        if len(self.progress.curve) < _CURVE_POINTS:
            self.progress.curve.append(CurvePoint(step, self.progress.seconds, loss))
        self.watch("train", min(1.0, self.progress.seconds / self.task.seconds))

    def _within_cores(self, cell: Cell) -> None:
        """A slot's cores are a habit that a process may leave; the CPU time that it used tells if it did."""
        cores, wall = len(self.cells.slot.cores), time.monotonic() - cell.launched
        if cores and cell.usage.cpu_seconds > 1.1 * cores * wall + 0.5:
            raise Ended(
                "invalid",
                f"it used {cell.usage.cpu_seconds:.1f} s of CPU time in {wall:.1f} s, but its slot has "
                f"{cores} core{'s' if cores > 1 else ''}: the number of threads and their cores are not to be changed",
            )

    def _check(self, cell: Cell, state: bytes) -> None:
        """Let ``predict`` run once where its traceback may be read. Its answers are not used."""
        deadline = time.monotonic() + self.task.limits.check_seconds
        context = self.task.context
        shapes = [[self.task.batch, context], [1, 1], [2, max(1, context // 2 - 1)]]
        cell.send({"type": "check", "shapes": shapes}, state, deadline=deadline)
        late = f"predict did not answer within {self.task.limits.check_seconds:g} s"
        for _ in range(_STRAY_FRAMES):
            if cell.receive(deadline=deadline, max_payload=_REPORT_BYTES, late=late).kind == "checked":
                break
        else:
            raise Ended("invalid", "it sent messages without end while predict was checked")
        cell.finish(deadline=deadline + 5.0)

    def _too_large(self) -> str:
        limits = self.task.limits
        return f"the state is larger than the {limits.state_mb:g} MB (and {limits.parameters:,} elements) allowed"

    def _state_cap(self) -> int:
        return int(self.task.limits.state_mb * 1e6) + 1_000_000


def _sealed_memfd(data: bytes) -> int:
    """A file descriptor of an anonymous file that holds ``data`` and can never be changed again."""
    descriptor = os.memfd_create("training-data", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _count(state: bytes, task: Task) -> dict[str, float]:
    """Elements and bytes of a state, from its header. Raises Ended if it is no safetensors file or too large."""
    limits = task.limits
    if len(state) > limits.state_mb * 1e6:
        raise Ended("invalid", f"the state has {len(state) / 1e6:.1f} MB; {limits.state_mb:g} MB are allowed")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(state)  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, UnicodeError):
        raise Ended("invalid", "the state is not a safetensors file") from None
    elements = sum(math.prod(tensor["shape"]) for _, tensor in tensors)
    # Bytes count too: an element cannot hide more than eight of them, whatever the header says.
    if elements > limits.parameters or len(state) > 8 * limits.parameters + 1_000_000:
        raise Ended("invalid", f"the state has {elements:,} elements; {limits.parameters:,} are allowed")
    return {"parameters": float(elements), "state_bytes": float(len(state))}
