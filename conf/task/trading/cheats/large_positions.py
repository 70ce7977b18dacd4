"""Takes positions that are not allowed, among them nan."""

import numpy as np


def trade(markets, bar):
    """Alternate large positions and nan."""
    positions = np.zeros(markets)
    while bar(positions) is not None:
        positions = np.where(np.isnan(positions), 1e9, np.nan)
