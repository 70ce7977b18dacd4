"""The session of one training run, as a candidate sees it: clock, seed and training data.

The object lives in untrusted code, so it is a convenience, not a guard: the parent process keeps the clock that
counts, and reports can end a run early but have no other effect.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_REPORT_EVERY = 0.05  # seconds between reports that are sent


def candidate_seed(seed: int) -> int:
    """Return the seed that a program gets for an evaluation with this seed: 31 bits, which any generator accepts.

    numpy's older generators take 32 bits, and a program may add to its seed.
    """
    return seed & 0x7FFF_FFFF


def reserve(seconds: float) -> float:
    """Return the seconds kept back for writing the state: 2% of the budget, at least 20 ms, at most 2 s."""
    return min(2.0, max(0.02, 0.02 * seconds))


@dataclass(frozen=True)
class TaskInfo:
    """The properties of the task that ``train`` and ``predict`` may use."""

    vocab: int
    context: int
    """Longest input; ``predict`` must accept any length from 1 to context."""
    device: str
    """Device to compute on: ``cpu`` or ``cuda``."""


def as_tensor(data: Any, vocab: int) -> Tensor:
    """Return a buffer of training data as a tensor [N]: uint8 for bytes, int16 for tokens (a vocabulary above 256)."""
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
        """Training seconds granted; after ``start()`` less the start-up time beyond the task's allowance."""
        self.device = task.device
        self._begin = begin
        self._tell = tell
        self._clock = clock
        self._started: float | None = None
        self._reported_at = -math.inf

    def start(self) -> Tensor:
        """Start the clock and return the training split, read-only, in an order drawn from the seed.

        Bytes: [N] uint8. Tokens: [N] int16, consecutive rows of ``task.context + 1``, each beginning with token 0.

        Do slow work that is not training (imports, building, compiling) before this call. Call it once.
        """
        if self._started is not None:
            raise RuntimeError("session.start() was called twice; keep the tensor that the first call returned")
        data, self.seconds = self._begin()
        self._started = self._clock()
        return data

    def elapsed(self) -> float:
        """Return the training seconds since ``start()``: on a CPU, CPU seconds per core of all processes and threads.

        See ``prepare.clock``. The evaluator counts in the same way, so a schedule should follow this clock alone.
        """
        if self._started is None:
            raise RuntimeError("the clock has not started; call session.start() first, it returns the training data")
        return self._clock() - self._started

    def remaining(self) -> float:
        """Return the seconds left for training, less a small reserve for returning the state. May be negative."""
        return self.seconds - reserve(self.seconds) - self.elapsed()

    def progress(self) -> float:
        """Return the used share of the budget, in [0, 1], for example for a learning-rate schedule."""
        return min(1.0, self.elapsed() / max(1e-9, self.seconds - reserve(self.seconds)))

    def report(self, *, step: int, loss: float) -> None:
        """Report a point of the learning curve. Cheap to call at every step; at most 20 reports per second are sent."""
        if self._started is None:
            raise RuntimeError("session.report() was called before session.start(); there is no training to report yet")
        now = self._clock()
        loss = float(loss)
        if now - self._reported_at >= _REPORT_EVERY or not math.isfinite(loss):
            self._reported_at = now
            self._tell(int(step), loss)
