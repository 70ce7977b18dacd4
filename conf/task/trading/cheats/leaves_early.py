"""Stops when it is ahead."""

import numpy as np


def trade(markets, bar):
    """Hold for some bars, and return as soon as the sum of returns is large."""
    first = bar(np.zeros(markets))
    for _ in range(300):
        prices = bar(np.ones(markets))
        if np.mean(prices / first) > 1.05:
            return
