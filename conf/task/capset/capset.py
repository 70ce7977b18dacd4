"""A cap set by greedy choice: vectors in the order of a priority, each taken if it completes no line.

With GENERATORS, random symmetries draw vectors together in orbits, which are taken whole; the best of TRIES counts.
With PART below n, the set is the product of one in that many places and one in the others.
"""

import numpy as np

GENERATORS = 0  # tune: 0..3
TRIES = 1  # tune: 1..20 step 1
PART = 8  # tune: 4..8
START = 0  # tune: 0..999 step 1


def capset(n):
    """Return vectors of n digits 0, 1, 2, no three of which lie on a line modulo 3."""
    if n > PART:
        return [one + other for one in capset(PART) for other in capset(n - PART)]
    found = [greedy(n, np.random.default_rng([START, number])) for number in range(TRIES)]
    return max(found, key=len).tolist()


def greedy(n, rng):
    """Return the vectors [size, n] that one greedy choice among orbits takes."""
    vectors = np.array(np.unravel_index(np.arange(3**n), (3,) * n)).T
    powers = 3 ** np.arange(n)[::-1]
    orbits = orbits_of(
        3**n, [(vectors[:, rng.permutation(n)] * rng.integers(1, 3, n) % 3) @ powers for _ in range(GENERATORS)]
    )
    blocked, taken = np.zeros(3**n, bool), np.zeros(0, int)
    value = priority(vectors, rng)
    for orbit in sorted(orbits, key=lambda orbit: -value[orbit[0]]):
        if blocked[orbit].any():
            continue
        more = np.append(taken, orbit)
        third = -(vectors[more][:, None] + vectors[orbit]) % 3 @ powers
        third = third[more[:, None] != orbit]
        if not np.isin(third, more).any():
            blocked[third], taken = True, more
    return vectors[taken]


def priority(vectors, rng):
    """Return a number for each vector: larger ones are taken first. Here by chance."""
    return rng.normal(size=len(vectors))


def orbits_of(size, generators):
    """Return the orbits of 0, ..., size - 1 under permutations, as arrays."""
    smallest, before = np.arange(size), None
    while before is None or (smallest != before).any():
        before = smallest.copy()
        for moved in generators:
            smallest = np.minimum(smallest, smallest[moved])
            smallest[moved] = np.minimum(smallest[moved], smallest)
    order = np.argsort(smallest, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(smallest[order])) + 1)
