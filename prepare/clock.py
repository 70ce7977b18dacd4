"""Training time: on a CPU, CPU seconds per core, so that a busy machine takes no training from a program.

Both sides of a sandbox count in the same way: the evaluator, whose count decides, and the session, which a program
schedules its training by. CPU time counts for all processes and threads of a program together. Waiting counts, too, at
a fraction: a program that sleeps reaches the end of its budget after ``PATIENCE`` times as many wall seconds.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from typing import Literal

Clock = Literal["cpu", "wall"]

PATIENCE = 5.0
"""Wall seconds that count as one CPU second: above 3, since two busy neighbours on a core leave a third of it."""
_PAGE = struct.Struct("=d")
PAGE_BYTES = _PAGE.size
"""Size of the page on which the evaluator writes its count of training seconds for the session to read."""


def training_seconds(cpu: float, wall: float, cores: int) -> float:
    """Return the training seconds that ``cpu`` CPU seconds on ``cores`` cores within ``wall`` seconds amount to."""
    return max(cpu / cores, wall / PATIENCE)


def own_cpu_seconds() -> float:
    """Return the CPU seconds of this process, all of its threads, and the children that it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def write_count(page: memoryview, seconds: float) -> None:
    """Write the evaluator's count on the shared page."""
    _PAGE.pack_into(page, 0, seconds)


class CpuClock:
    """Training seconds of this process since ``restart``, as a session's clock.

    Counts what this process can see. Where the evaluator's count is on a shared page, the larger of the two holds: it
    includes living children, and is up to a tenth of a second old.
    """

    def __init__(
        self,
        cores: int,
        cpu: Callable[[], float] = own_cpu_seconds,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        """``cores``: of the slot. ``cpu``, ``wall``: clocks of this process."""
        self._cores, self._cpu, self._wall = cores, cpu, wall
        self.restart()

    def restart(self, page: memoryview | None = None) -> None:
        """Count from now. ``page``: the evaluator's count, which begins now, too; None if it is not shared."""
        self._page = page
        self._began = self._cpu(), self._wall()

    def __call__(self) -> float:
        cpu, wall = self._cpu() - self._began[0], self._wall() - self._began[1]
        counted = _PAGE.unpack_from(self._page)[0] if self._page is not None else 0.0
        return max(counted, training_seconds(cpu, wall, self._cores))
