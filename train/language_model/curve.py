"""Early stopping from a candidate's reported losses: divergence, and the optional median rule.

Losses are self-reported: they can stop a run early and are used for nothing else. The rules only compare losses with
each other, so they hold for any unit, and when in doubt they let the run continue.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from archive.records import CurvePoint


@dataclass(frozen=True)
class Divergence:
    """Stop a run whose last losses lie far above its first ones.

    Compares medians, so that single bad batches have no effect; waits for ``after`` of the budget, so that the loss
    may rise during a warm-up; applies to positive losses only, since the rule is a ratio.
    """

    after: float = 0.1
    """Share of the budget before which no run is stopped."""
    factor: float = 3.0
    """Ratio of the two medians above which the run is stopped."""
    first: int = 5
    """Reports at the beginning of the run."""
    last: int = 20
    """Latest reports, compared with the first ones."""

    def reason(self, curve: Sequence[CurvePoint], budget: float) -> str | None:
        """Return why the training is stopped, or None. budget: training seconds."""
        if len(curve) < self.first + self.last or curve[-1].elapsed < self.after * budget:
            return None
        began = [point.loss for point in curve[: self.first]]
        recent = [point.loss for point in curve[-self.last :]]
        if min(began) <= 0.0 or min(recent) <= 0.0:
            return None
        start, now = statistics.median(began), statistics.median_low(recent)
        if now <= self.factor * start:
            return None
        return (
            f"the training has diverged: the median of its last {self.last} reported losses is {now:.4g} at step "
            f"{curve[-1].step}, {now / start:.1f} times that of its first {self.first} ({start:.4g}); "
            "a lower learning rate, a warm-up or clipped gradients may help"
        )


@dataclass(frozen=True)
class MedianRule:
    """Stop a run whose loss is far behind the baseline's at equal elapsed time; after Vizier's median stopping rule.

    Compares reported losses, so it is sound only where they mean the same for all candidates; off by default.
    """

    after: float = 0.3
    """Share of the budget before which no run is stopped; at least 0.3."""
    margin: float = 0.1
    """Tolerated excess over the baseline's loss, as a share of it."""
    window: float = 0.05
    """Share of the budget over which losses are smoothed (their median)."""
    reports: int = 3
    """Reports that the window must hold, at least."""

    def __post_init__(self) -> None:
        if not 0.3 <= self.after <= 1.0:
            raise ValueError(f"the median rule's after is {self.after}; expected a share of the budget from 0.3 to 1")
        if self.margin < 0.0:
            raise ValueError(f"the median rule's margin is {self.margin}; expected 0 or more")

    def reason(self, curve: Sequence[CurvePoint], pace: Sequence[CurvePoint], budget: float) -> str | None:
        """Return why the training is stopped, or None.

        pace: the baseline's smoothed curve, see ``baseline_pace``. budget: training seconds.
        """
        now = curve[-1].elapsed if curve else 0.0
        reached = [point.loss for point in pace if point.elapsed <= now]
        if now < self.after * budget or not reached:
            return None
        recent = [point.loss for point in curve if point.elapsed > now - self.window * budget]
        expected = reached[-1]
        if len(recent) < self.reports or expected <= 0.0:
            return None
        loss = statistics.median(recent)
        if loss <= (1.0 + self.margin) * expected:
            return None
        return (
            f"it is far behind the baseline: it reported a loss of {loss:.4g} after {now:.3g} s of {budget:.3g} s, "
            f"where the baseline's was {expected:.4g} (a margin of {self.margin:.0%} is allowed)"
        )


def baseline_pace(curves: Sequence[Sequence[CurvePoint]], budget: float, points: int = 40) -> tuple[CurvePoint, ...]:
    """Return the baseline's curve: at ``points`` equal times, the median over its runs of the smoothed loss.

    Each point holds a loss that the baseline had reached at least one window earlier, which favours the runs that are
    compared with it. Times that not every run reached are left out; without runs the result is empty.
    """
    pace = []
    width = budget / points
    for number in range(1, points + 1):
        end = number * width
        losses = [_between(curve, end - 2 * width, end - width) for curve in curves]
        if not losses or any(loss is None for loss in losses):
            continue
        steps = [max((point.step for point in curve if point.elapsed <= end), default=0) for curve in curves]
        middle = statistics.median(loss for loss in losses if loss is not None)
        pace.append(CurvePoint(int(statistics.median(steps)), end, middle))
    return tuple(pace)


def _between(curve: Sequence[CurvePoint], begin: float, end: float) -> float | None:
    """Return the median loss reported in (begin, end] seconds; None if there is none."""
    losses = [point.loss for point in curve if begin < point.elapsed <= end]
    return statistics.median(losses) if losses else None
