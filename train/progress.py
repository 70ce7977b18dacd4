"""Progress of a running evaluation: what it has measured so far, and how it is reported while it runs."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from archive.records import CurvePoint

_LOSSES = 128
"""Most points of a loss curve that the progress display keeps."""


class ProgressCallback(Protocol):
    """Receives the progress of an evaluation, many times while it runs."""

    def __call__(self, phase: str, share: float, loss: float | None = None, /) -> None:
        """``share``: used part of the time budget, in [0, 1]; ``loss``: what the candidate has just reported, if so."""


def append_loss(losses: list[tuple[float, float]], share: float, loss: float | None) -> None:
    """Add a (share, loss) point to a curve. A smaller share starts the curve anew; a long curve is thinned."""
    if loss is None or not math.isfinite(loss):
        return
    if losses and share < losses[-1][0]:
        losses.clear()
    if len(losses) >= _LOSSES:
        del losses[1::2]
    losses.append((share, loss))


@dataclass
class Progress:
    """Measurements of a running evaluation; they become part of its record, however it ends."""

    phases: dict[str, float] = field(default_factory=dict)
    """Wall seconds of each phase."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)
    steps: int | None = None
    log: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    machine_speed: float | None = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of the ``with`` block to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began
