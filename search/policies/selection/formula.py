"""The formula of the default policy, without the tree: the task ``self/policy`` improves this file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

C = 0.1  # tune: 0.01..2 log
"""Exploration, where a policy's settings give none."""


def flat_ucb(values: NDArray[np.float64], visits: NDArray[np.int64], c: float | None = None) -> NDArray[np.float64]:
    """Return [N] how promising each node is, higher is better, NaN where its value is.

    ``r_i + c * sqrt(ln(1 + sum_j n_j) / (1 + n_i))`` with the sum over nodes that have a value.

    Args:
        values: [N] the rank of each node's mean in [0, 1], the best 1; NaN for nodes that must not be improved.
        visits: [N] children made or attempted.
    """
    total = visits[~np.isnan(values)].sum()
    scores: NDArray[np.float64] = values + (C if c is None else c) * np.sqrt(np.log1p(total) / (1.0 + visits))
    return scores
