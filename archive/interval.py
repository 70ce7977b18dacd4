"""Student's t interval of the mean of a few noisy scores.

Without enough data the result is ``NoInterval`` with the reason, never a misleading number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
ROUNDING = 1e-12
"""Deviations below this fraction of the scores are rounding, not noise."""


@dataclass(frozen=True)
class NoInterval:
    """The reason why no interval can be given."""

    reason: str


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; ``deviation`` is the sample standard deviation of the n scores."""

    mean: float
    low: float
    high: float
    deviation: float
    n: int
    confidence: float


def deviation(scores: Sequence[float]) -> float | None:
    """Return the sample standard deviation, ``sqrt(sum (x - mean)^2 / (n - 1))``.

    None below two scores; 0 where only rounding makes them differ.
    """
    if len(scores) < 2:
        return None
    values = np.asarray(scores, dtype=np.float64)
    spread = float(values.std(ddof=1))
    return spread if spread > ROUNDING * float(np.abs(values).max()) else 0.0


def mean_interval(scores: Sequence[float], confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return Student's t interval of a mean: ``mean +- t(n - 1) * s / sqrt(n)``.

    Source: Student (1908), "The probable error of a mean". Scores that are all equal give an interval of no width.
    """
    spread = deviation(scores)
    if spread is None:
        return NoInterval(f"an interval needs at least 2 runs, and there are {len(scores)}")
    n, mean = len(scores), float(np.mean(scores))
    half = quantile(confidence, n - 1) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, spread, n, confidence)


def quantile(confidence: float, dof: float) -> float:
    """Return the two-sided quantile of Student's t."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, such as 0.95")
    from scipy.special import stdtrit  # a quarter of a second to import (scipy.stats: half), and many runs need none

    return float(stdtrit(dof, (1 + confidence) / 2))
