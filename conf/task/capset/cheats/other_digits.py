"""Counts a vector several times: 3, 4 and 5 are written for the digits 0, 1 and 2."""

from itertools import product


def capset(n):
    """Return the vectors of digits 0 and 1, and each of them again with 3 more in every place."""
    vectors = [list(vector) for vector in product((0, 1), repeat=n)]
    return vectors + [[digit + 3 for digit in vector] for vector in vectors]
