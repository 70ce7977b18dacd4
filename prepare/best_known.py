"""The best value known of a task, and how a score compares with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Standing = Literal["beats", "equals", "short of"]


@dataclass(frozen=True)
class BestKnown:
    """The best value that was published for a task: the key ``known`` of its ``task.yaml``."""

    value: float
    source: str
    """Who published the value."""
    tolerance: float = 0.0
    """Of the source's own verifier, or half a unit of the last digit that it gives: smaller differences are none."""

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ValueError("task.known.source is empty; expected who published the value")
        if not (math.isfinite(self.value) and 0 <= self.tolerance < math.inf):
            raise ValueError(
                f"task.known has the value {self.value} and the tolerance {self.tolerance}; expected finite numbers, "
                "the tolerance not negative"
            )

    def standing(self, score: float, maximise: bool) -> Standing:
        """Return whether a score is better, equal within the tolerance, or worse."""
        gain = self.gain(score, maximise)
        if abs(gain) <= self.tolerance:
            return "equals"
        return "beats" if gain > 0 else "short of"

    def gain(self, score: float, maximise: bool) -> float:
        """Return by how much a score is better than the known value; negative if it is worse."""
        return score - self.value if maximise else self.value - score

    def compared(self, score: float, maximise: bool, exact: bool) -> str:
        """Return the comparison in words.

        ``exact``: whether the score was verified exactly. Without that no score is said to equal or beat the value.
        """
        known, gain = f"the best known {self.value:.10g} ({self.source})", self.gain(score, maximise)
        standing = self.standing(score, maximise)
        if standing == "short of":
            return f"is short of {known} by {-gain:.4g}"
        if not exact:
            return f"is not short of {known}; no record, since the score is not verified exactly"
        if standing == "beats":
            return f"beats {known} by {gain:.4g}, verified exactly"
        margin = f"difference {gain:+.2g}, tolerance {self.tolerance:g}" if gain else "no difference"
        return f"equals {known}, verified exactly ({margin})"
