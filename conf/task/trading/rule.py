"""Follow the trend: positions in proportion to a moving average of returns; HOLD is a band without trades."""

import numpy as np

SPAN = 10  # tune: 4..100 log
SIZE = 0.3  # tune: 0.05..2 log
HOLD = 0.0  # tune: 0..0.3
RISK = 0.0  # tune: 0..2
MEMORY = 50  # tune: 20..500 log


def trade(markets, bar):
    """Trade until the last bar. ``bar(positions)`` returns the next prices, None at the end."""
    positions, average, scale = np.zeros(markets), np.zeros(markets), np.full(markets, 0.01)
    before = bar(positions)
    while (prices := bar(positions)) is not None:
        returns = np.log(prices / before)
        average += (returns - average) / SPAN
        scale += (np.abs(returns) - scale) / MEMORY
        unit = (0.01 / scale) ** RISK
        wanted = np.clip(SIZE * np.sqrt(SPAN) * average / scale * unit, -1, 1)
        positions = np.where(np.abs(wanted - positions) > HOLD * unit, wanted, positions)
        before = prices
