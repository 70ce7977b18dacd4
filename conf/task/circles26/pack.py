"""Circles that start in rows and move apart: steps of gradient ascent on the radii with a penalty for overlaps."""

import numpy as np

ROWS = 5  # tune: 3..7
OFFSET = 0.25  # tune: 0..0.5
JITTER = 0.05  # tune: 0.001..0.2 log
START = 0  # tune: 0..999 step 1
STEPS = 100  # tune: 50..4000 log step 1
RATE = 0.002  # tune: 0.0003..0.02 log
PENALTY = 10.0  # tune: 3..100 log
ROUNDS = 3  # tune: 1..20 step 1


def pack(n):
    """Return n circles [x, y, radius]."""
    centres = spread(rows(n))
    return [[float(x), float(y), float(r)] for (x, y), r in zip(centres, radii(centres) * (1 - 1e-12), strict=True)]


def rows(n):
    """Return centres in ROWS rows, every second one moved by OFFSET of the distance, each a little at random."""
    columns = -(-n // ROWS)
    places = np.array([((i % columns + 0.5 + OFFSET * (i // columns % 2)) / columns, (i // columns + 0.5) / ROWS)
                       for i in range(n)])  # fmt: skip
    moved = places + JITTER * np.random.default_rng(START).normal(size=places.shape)
    return moved.clip(0.02, 0.98)


def spread(centres):
    """Return centres after STEPS of ascent on sum(r) - PENALTY * overlaps**2 in centres and radii."""
    r = radii(centres)
    for step in range(STEPS):
        rate = RATE * (1 - step / STEPS)
        apart = centres[:, None] - centres[None]
        distance = np.sqrt((apart**2).sum(-1)) + np.eye(len(r)) * 9
        overlap = (r[:, None] + r[None] - distance).clip(0)
        low, high = (r[:, None] - centres).clip(0), (r[:, None] + centres - 1).clip(0)
        pushed = (apart * (overlap / distance)[..., None]).sum(1)
        centres = (centres + rate * PENALTY * (pushed + low - high)).clip(0.001, 0.999)
        r = (r + rate * (1 - PENALTY * (overlap.sum(1) + low.sum(1) + high.sum(1)))).clip(0.001)
    return centres


def radii(centres):
    """Return radii that fit: each in turn as large as walls and neighbours allow, ROUNDS times."""
    walls = np.minimum(centres, 1 - centres).min(1)
    distance = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(-1)) + np.eye(len(walls)) * 9
    r = np.minimum(walls, distance.min(1) / 2)
    for _ in range(ROUNDS):
        for i in range(len(r)):
            others = distance[i] - r
            others[i] = 9
            r[i] = max(0.0, min(walls[i], others.min()))
    return r
