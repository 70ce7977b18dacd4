"""Bootstrap intervals of a mean over items, clustered: all repetitions of an item are drawn together.

Repeats of an item (several seeds) tell nothing of other items, so they are no samples of their own: an interval that
treats them so is too narrow by up to the square root of their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from archive.difference import Measurement
from archive.interval import CONFIDENCE

RESAMPLES = 10_000
_AT_ONCE = 1_000_000
"""Numbers that are drawn at once."""


@dataclass(frozen=True)
class Bootstrapped:
    """A mean over items with its percentile interval."""

    mean: float
    low: float
    high: float
    items: int

    @property
    def words(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def by_item(measured: Iterable[Measurement]) -> dict[str, list[float]]:
    """Return the values of each item, of all evaluations that have it."""
    found: dict[str, list[float]] = {}
    for each in measured:
        for name, value in each.cases.items():
            found.setdefault(name, []).append(value)
    return found


def bootstrap(
    items: Mapping[str, Sequence[float]], rng: np.random.Generator, confidence: float = CONFIDENCE
) -> Bootstrapped | None:
    """Return the mean of the items' means with its percentile interval (Efron 1979); None for fewer than 2 items."""
    if len(items) < 2:
        return None
    means = np.array([float(np.mean(values)) for values in items.values()])
    found: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    each = max(1, _AT_ONCE // len(means))
    for begin in range(0, RESAMPLES, each):
        drawn = rng.integers(len(means), size=(min(each, RESAMPLES - begin), len(means)))
        found.append(means[drawn].mean(axis=1))
    tail = 50 * (1 - confidence)  # percentiles, from 0 to 100
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    return Bootstrapped(float(means.mean()), float(low), float(high), len(means))
