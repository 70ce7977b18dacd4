"""The index of the nearest point, for blocks of queries."""

import numpy as np

BLOCK = 1  # tune: 1..512 log


def nearest(points, queries):
    """Return for each query the index of its nearest point."""
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        difference = block[:, None, :] - points[None, :, :]
        found[start : start + BLOCK] = np.argmin((difference**2).sum(axis=2), axis=1)
    return found
