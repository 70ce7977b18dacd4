"""A cap set by greedy choice: vectors in the order of a priority, each taken if it completes no line."""

import numpy as np

ONES = 0.3  # tune: -1..1
TWOS = -0.2  # tune: -1..1
WEIGHT_4 = 0.0  # tune: -2..2
WEIGHT_5 = 0.0  # tune: -2..2
WEIGHT_8 = 0.0  # tune: -2..2
MIRRORED = 0.0  # tune: -1..1
PAIRED = 0.0  # tune: -1..1
NOISE = 0.1  # tune: 0.001..1 log
START = 0  # tune: 0..999 step 1


def capset(n):
    """Return vectors of n digits 0, 1, 2, no three of which lie on a line modulo 3."""
    vectors = np.array(np.unravel_index(np.arange(3**n), (3,) * n)).T
    powers = 3 ** np.arange(n)[::-1]
    blocked, taken = np.zeros(3**n, bool), []
    for place in np.argsort(-priority(vectors), kind="stable"):
        if not blocked[place]:
            third = -(vectors[taken] + vectors[place]) % 3
            blocked[third @ powers] = True
            taken.append(place)
    return vectors[taken].tolist()


def priority(vectors):
    """Return a number for each vector: larger ones are taken first."""
    n, digits = vectors.shape[1], (vectors != 0).sum(1)
    mirrored = (vectors[:, : n // 2] == vectors[:, ::-1][:, : n // 2]).sum(1)
    paired = (vectors[:, ::2] == vectors[:, 1::2]).sum(1)
    value = ONES * (vectors == 1).sum(1) + TWOS * (vectors == 2).sum(1) + MIRRORED * mirrored + PAIRED * paired
    for weight, bonus in ((4, WEIGHT_4), (5, WEIGHT_5), (8, WEIGHT_8)):
        value = value + bonus * (digits == weight)
    return value + NOISE * np.random.default_rng(START).normal(size=len(vectors))
