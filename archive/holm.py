"""Tests of several differences at once: a paired sign-flip test for each, and Holm's correction over all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLIPS = 20_000


def sign_flip(gains: Sequence[float], rng: np.random.Generator) -> float:
    """Return the two-sided p-value of a mean gain by item: how often random signs give one as large (Fisher 1935).

    Items are the clusters: repeats of an item have one gain, their mean.
    """
    values = np.array([gain for gain in gains if gain != 0.0])
    if not len(values):
        return 1.0
    observed = abs(values.sum()) * (1 - 1e-12)
    signs = rng.choice(np.array([-1.0, 1.0]), size=(FLIPS, len(values)))
    return float((1 + np.sum(np.abs(signs @ values) >= observed)) / (1 + FLIPS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, in the same order (Holm 1979): the familywise error is kept."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
