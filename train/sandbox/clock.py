"""The clock of a budget, on the evaluator's side: CPU seconds of the whole sandbox, or wall seconds. It decides.

CPU seconds are those of all processes that the sandbox ever had, however briefly they lived: counted by a memory group,
else summed over the process tree (see ``train.sandbox.monitor``). A training's session reads the count from a shared
page, so a program schedules its training by the same time. See ``prepare.clock``.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prepare.clock import PAGE_BYTES, Clock, training_seconds, write_count
from train.sandbox.process import SandboxProcess

_RECENT = 0.02  # seconds; where no group counts, a measurement walks over all processes
_PAUSE = 0.005
"""Least wall seconds between two measurements, as the end of the budget comes near."""


class BudgetClock:
    """Counts the seconds of one process from its creation on."""

    def __init__(self, process: SandboxProcess, kind: Clock, cores: int) -> None:
        """``cores``: of the slot; a wall clock does not need them."""
        self._process = process
        self._cores = cores if kind == "cpu" else None
        self._page: memoryview | None = None
        self._paused_at: float | None = None
        self._began = time.monotonic(), process.measure_cpu().cpu_seconds

    def pause(self) -> None:
        """Count no wall time until ``resume``: the process waits for this side. CPU time counts."""
        self._paused_at = time.monotonic()

    def resume(self) -> None:
        """Count wall time again."""
        if self._paused_at is not None:
            self._began = self._began[0] + time.monotonic() - self._paused_at, self._began[1]
            self._paused_at = None

    def seconds(self) -> float:
        """Return the seconds until now, or until a few hundredths of a second ago."""
        if self._cores is not None and time.monotonic() > self._process.usage.measured_at + _RECENT:
            self._process.measure_cpu()
        return self._counted(time.monotonic())

    def _counted(self, now: float) -> float:
        """Return the seconds as last measured, or by the wall clock until ``now``; publish them."""
        wall = (now if self._paused_at is None else self._paused_at) - self._began[0]
        if self._cores is None:
            return wall
        seconds = training_seconds(self._process.usage.cpu_seconds - self._began[1], wall, self._cores)
        if self._page is not None:
            write_count(self._page, seconds)
        return seconds

    def earliest(self, now: float, seconds: float) -> float:
        """Return a time before which ``seconds`` cannot be over; ``now`` if they are.

        CPU time passes no faster than wall time: the slot has that many cores, and a process may not change them.
        """
        measured_at = now if self._cores is None else self._process.usage.measured_at
        until = measured_at + seconds - self._counted(now)
        if now < until:
            return until
        self._process.measure_cpu()
        left = seconds - self._counted(now)
        return now + max(left, _PAUSE) if left > 0 else now

    @contextmanager
    def shared(self) -> Iterator[list[int]]:
        """Yield the descriptor of the page on which the count is published; none for a wall clock or without memfd."""
        if self._cores is None or not hasattr(os, "memfd_create"):
            yield []
            return
        descriptor = os.memfd_create("training-clock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, PAGE_BYTES)
            # A file of fixed size: the evaluator could not write to a page that the candidate has cut off.
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            with mmap.mmap(descriptor, PAGE_BYTES) as page:
                self._page = memoryview(page)
                try:
                    yield [descriptor]
                finally:
                    self._page.release()
                    self._page = None
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class BudgetDeadline:
    """The end of so many seconds of a clock; a deadline of ``SandboxProcess``."""

    clock: BudgetClock
    seconds: float

    def earliest(self, now: float) -> float:
        return self.clock.earliest(now, self.seconds)
