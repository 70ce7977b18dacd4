"""Circles that start in rows and move apart: gradient ascent on the radii with a penalty for overlaps, then SLSQP."""

import numpy as np
from scipy.optimize import minimize

ROWS = 5  # tune: 3..7
OFFSET = 0.25  # tune: 0..0.5
JITTER = 0.05  # tune: 0.001..0.2 log
START = 0  # tune: 0..999 step 1
STEPS = 100  # tune: 50..4000 log step 1
RATE = 0.002  # tune: 0.0003..0.02 log
PENALTY = 10.0  # tune: 3..100 log
ROUNDS = 3  # tune: 1..20 step 1
POLISH = 0  # tune: 0..100 step 1


def pack(n):
    """Return n circles [x, y, radius]."""
    centres = spread(rows(n))
    centres, r = polished(centres, radii(centres))
    return [[float(x), float(y), float(r)] for (x, y), r in zip(centres, grown(centres, r) * (1 - 1e-12), strict=True)]


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


def polished(centres, r):
    """Return centres and radii after POLISH steps of sequential quadratic programming (SLSQP) in both."""
    n = len(r)
    i, j = np.triu_indices(n, 1)
    pairs, each = np.arange(len(i)), np.arange(n)

    def room(p):
        """Return what may not be negative: the gap of each pair, and each circle's distances from the walls."""
        x, y, r = p.reshape(3, n)
        return np.r_[np.hypot(x[i] - x[j], y[i] - y[j]) - r[i] - r[j], x - r, y - r, 1 - x - r, 1 - y - r]

    def slopes(p):
        gaps, walls = np.zeros((len(i), 3, n)), np.zeros((4, n, 3, n))
        x, y, _ = p.reshape(3, n)
        for axis, z in enumerate((x, y)):
            gaps[pairs, axis, i] = (z[i] - z[j]) / np.hypot(x[i] - x[j], y[i] - y[j])
            gaps[pairs, axis, j] = -gaps[pairs, axis, i]
            walls[axis, each, axis, each], walls[axis + 2, each, axis, each] = 1, -1
        gaps[pairs, 2, i] = gaps[pairs, 2, j] = walls[:, each, 2, each] = -1
        return np.vstack([gaps.reshape(-1, 3 * n), walls.reshape(-1, 3 * n)])

    ones = np.r_[np.zeros(2 * n), np.ones(n)]
    start, inside = np.r_[centres.T.ravel(), r], {"type": "ineq", "fun": room, "jac": slopes}
    if POLISH:
        start = minimize(lambda p: -p @ ones, start, jac=lambda p: -ones, method="SLSQP", constraints=inside,
                         options={"maxiter": POLISH, "ftol": 1e-12}).x.clip(0, 1)  # fmt: skip
    return start[: 2 * n].reshape(2, n).T, start[2 * n :]


def radii(centres):
    """Return radii that fit, from half of the distances between neighbours on."""
    distance = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(-1)) + np.eye(len(centres)) * 9
    return grown(centres, np.minimum(np.minimum(centres, 1 - centres).min(1), distance.min(1) / 2))


def grown(centres, r):
    """Return radii that fit: each in turn as large as walls and neighbours allow, ROUNDS times."""
    walls = np.minimum(centres, 1 - centres).min(1)
    distance = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(-1)) + np.eye(len(r)) * 9
    for _ in range(ROUNDS):
        for i in range(len(r)):
            others = distance[i] - r
            others[i] = 9
            r[i] = max(0.0, min(walls[i], others.min()))
    return r
