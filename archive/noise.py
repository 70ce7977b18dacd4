"""The seed deviation of a score: an estimate with an interval, from few repeats, a prior, and maybe an outlier.

    s^2 = (n0 s0^2 + SS') / (n0 + dof)

    SS, dof  sums of squares and degrees of freedom within groups of comparable repeats: one program, one purpose
    s0, n0   the prior and its weight in degrees of freedom: earlier runs under the same conditions, else
             ``smallest_gain / 3`` of the task (what four seeds a side detect is 2.86 sigma), else none
    SS'      SS with the largest single contribution q (what SS loses without that score) capped at
             ``9 (1 + 3 / v) (n0 s0^2 + SS - q) / v``, v = n0 + dof - 1: a score more than three deviations from the
             rest counts as three, so that one outlier cannot spoil a run. Not where the rest is nothing (ties, as
             of a score in steps): then nothing tells an outlier from noise, and the deviation would be 0

The shrinkage is that of empirical Bayes for variances (Smyth 2004, "Linear models and empirical Bayes methods for
assessing differential expression", eq. 3). The interval is ``s sqrt(v / chi2(v))`` at both ends of ``LEVEL``,
v = n0 + dof, with the quantile of Wilson and Hilferty (1931), which SQL can compute: the view ``noise`` has the same
figures. Who decides with sigma takes the end that is safe: seeds of a claim the upper one, audits the lower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archive.interval import ROUNDING

LEVEL = 2 / 3
"""Of the interval: about one standard error to each side, so that the safe end costs no more than it is worth."""
_Z = 0.967421566101701
"""The normal quantile of (1 + LEVEL) / 2."""


@dataclass(frozen=True)
class NoisePrior:
    """What is known of the deviation before a run: ``weight`` counts like so many degrees of freedom."""

    deviation: float
    weight: float


@dataclass(frozen=True)
class SeedDeviation:
    """The standard deviation of scores of one program between seeds, with an interval of confidence ``LEVEL``."""

    value: float
    low: float
    high: float
    dof: int
    """Degrees of freedom of the run's own repeats, those of the prior left out."""

    def words(self, unit: str = "") -> str:
        """Format it: ``0.011 bpb (67% interval 0.0078 to 0.02)``."""
        return in_words(self.value, self.low, self.high, unit)


def in_words(value: float, low: float, high: float, unit: str) -> str:
    """Format a deviation with its interval."""
    return f"{value:.2g} {unit}".rstrip() + f" ({LEVEL:.0%} interval {low:.2g} to {high:.2g})"


def task_prior(config: Mapping[str, object]) -> NoisePrior | None:
    """Return the prior from a run's configuration: a third of the task's ``smallest_gain``; None without one."""
    task = config.get("task")
    gain = task.get("smallest_gain") if isinstance(task, Mapping) else None
    return NoisePrior(gain / 3, 1) if isinstance(gain, int | float) and 0 < gain < math.inf else None


def is_deterministic(config: Mapping[str, object]) -> bool:
    """Return whether a run's task says that a score is the same with every seed."""
    task = config.get("task")
    return isinstance(task, Mapping) and task.get("deterministic") is True


def estimate(groups: Iterable[Sequence[float]], prior: NoisePrior | None = None) -> SeedDeviation | None:
    """Estimate the deviation from groups of scores; None unless some group has two.

    Where no repeat differs at all, the estimate is 0, and only the prior gives an upper end above it.
    """
    spreads = [(_squares(group), len(group) - 1) for group in groups if len(group) > 1]
    dof = sum(free for _, free in spreads)
    if not dof:
        return None
    squares = sum(square for (square, _), _ in spreads)
    largest = max(removed for (_, removed), _ in spreads)
    known, weight = (prior.deviation, prior.weight) if prior is not None else (0.0, 0.0)
    free = weight + dof
    rest = weight * known**2 + max(0.0, squares - largest)
    known_rest = rest > ROUNDING * (rest + largest)
    capped = min(largest, _cap(free - 1) * rest) if free > 1 and known_rest else largest
    value = math.sqrt((rest + capped) / free)
    high = value * math.sqrt(free / chi2_quantile(free, -_Z))
    if squares == 0:
        return SeedDeviation(0.0, 0.0, high, dof)
    return SeedDeviation(value, value * math.sqrt(free / chi2_quantile(free, _Z)), high, dof)


def _cap(free: float) -> float:
    """Return the largest contribution of one score, in sums of squares of the rest with ``free`` degrees."""
    return 9 * (1 + 3 / free) / free


def _squares(scores: Sequence[float]) -> tuple[float, float]:
    """Return (the sum of squared deviations, its largest loss without one score); 0 where only rounding differs."""
    values = np.asarray(scores, dtype=np.float64)
    squared = (values - values.mean()) ** 2
    if squared.max() <= (ROUNDING * np.abs(values).max()) ** 2:
        return 0.0, 0.0
    return float(squared.sum()), float(squared.max()) * len(values) / (len(values) - 1)


def chi2_quantile(free: float, z: float) -> float:
    """Return the chi-square quantile at the normal quantile ``z`` (Wilson and Hilferty 1931)."""
    return free * max(1 - 2 / (9 * free) + z * math.sqrt(2 / (9 * free)), 0.05) ** 3
