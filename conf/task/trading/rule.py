"""Follow the trend: the sign of a moving average of returns, held until it changes."""

import numpy as np

SPAN = 10  # tune: 2..200 log
SIZE = 0.3  # tune: 0.05..5 log
HOLD = 0.0  # tune: 0..0.5


def trade(markets, bar):
    """Trade until the last bar. ``bar(positions)`` returns the next prices, None at the end."""
    positions, average, scale = np.zeros(markets), np.zeros(markets), np.full(markets, 0.01)
    before = bar(positions)
    while (prices := bar(positions)) is not None:
        returns = np.log(prices / before)
        average += (returns - average) / SPAN
        scale += (np.abs(returns) - scale) / 50
        wanted = np.clip(SIZE * np.sqrt(SPAN) * average / scale, -1, 1)
        positions = np.where(np.abs(wanted - positions) > HOLD, wanted, positions)
        before = prices
