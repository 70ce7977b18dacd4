"""The session of one training: the clock, the seed and the training data, as a candidate sees them.

The object lives inside untrusted code, so it is a convenience and not a guard: the parent process keeps the
clock that counts, and what is reported here can end a run early and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_REPORT_EVERY = 0.05  # seconds between reports that are sent; a curve needs no more


def reserve(seconds: float) -> float:
    """Seconds kept back from ``remaining()`` for writing the state: 2% of the budget, at least 20 ms, at most 2 s."""
    return min(2.0, max(0.02, 0.02 * seconds))


@dataclass(frozen=True)
class TaskInfo:
    """What ``predict`` may know of the task."""

    vocab: int
    context: int
    """``predict`` must take any 1 <= T <= context."""
    device: str
    """Where to compute: ``cpu`` or ``cuda``."""


def as_tensor(data: Any, vocab: int) -> Tensor:
    """Training data as a tensor [N] over a buffer: uint8 for bytes, int16 for tokens (a vocabulary above 256)."""
    import torch

    return torch.frombuffer(data, dtype=torch.uint8 if vocab <= 256 else torch.int16)


class Session:
    """One training run: ``seed``, ``seconds``, ``device``; ``start()``, ``remaining()``, ``report()``."""

    def __init__(
        self,
        *,
        task: TaskInfo,
        seed: int,
        seconds: float,
        begin: Callable[[], tuple[Tensor, float]],
        tell: Callable[[int, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.task = task
        self.seed = seed
        self.seconds = seconds
        """Training seconds granted; start-up beyond the task's allowance has been taken off after ``start()``."""
        self.device = task.device
        self._begin = begin
        self._tell = tell
        self._clock = clock
        self._started: float | None = None
        self._told = -math.inf

    def start(self) -> Tensor:
        """Start the clock and receive the training split, read-only, in an order drawn from the seed.

        Bytes: [N] uint8. Tokens: [N] int16, rows of ``task.context + 1`` one after the other, each of which begins
        with token 0.

        Do what is slow and not training (imports, building, compiling) before this call. Call it once.
        """
        if self._started is not None:
            raise RuntimeError("session.start() was called twice; keep the tensor that the first call returned")
        data, self.seconds = self._begin()
        self._started = self._clock()
        return data

    def elapsed(self) -> float:
        """Seconds since ``start()``."""
        if self._started is None:
            raise RuntimeError("the clock has not started; call session.start() first, it returns the training data")
        return self._clock() - self._started

    def remaining(self) -> float:
        """Seconds left for training; a small reserve for handing over the state is kept back. May be negative."""
        return self.seconds - reserve(self.seconds) - self.elapsed()

    def progress(self) -> float:
        """The share of the budget that is used, in [0, 1]; made for schedules."""
        return min(1.0, self.elapsed() / max(1e-9, self.seconds - reserve(self.seconds)))

    def report(self, *, step: int, loss: float) -> None:
        """Feed the learning curve. Cheap to call at every step; at most 20 reports a second are sent."""
        if self._started is None:
            raise RuntimeError("session.report() was called before session.start(); there is no training to report yet")
        now = self._clock()
        loss = float(loss)
        if now - self._told >= _REPORT_EVERY or not math.isfinite(loss):
            self._told = now
            self._tell(int(step), loss)
