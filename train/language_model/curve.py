"""Early stopping from a candidate's reported losses, when they diverge.

Losses are self-reported: they can stop a run early and are used for nothing else. The rule only compares losses of one
run with each other, so it holds for any unit, and when in doubt it lets the run continue. Nothing compares a curve with
those of other candidates: such a rule gained nothing (``tests/benchmarks/fidelity.py``).
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
