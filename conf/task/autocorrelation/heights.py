"""Heights of a step function by subgradient descent on the peak of its autoconvolution, from random heights."""

import numpy as np

SIZE = 40  # tune: 20..100 log step 1
DOUBLED = 0  # tune: 0|1|2|3
NOISE = 0.5  # tune: 0.1..1
START = 0  # tune: 0..999 step 1
TRIES = 1  # tune: 1..10 log step 1
STEPS = 300  # tune: 100..3000 log step 1
RATE = 0.05  # tune: 0.005..0.5 log
SHARPNESS = 100.0  # tune: 10..1000 log
GROWTH = 1.0  # tune: 1..200 log
MOMENTUM = 0.0  # tune: 0..0.98


def heights():
    """Return the best of TRIES heights; DOUBLED times each is repeated, and all are improved again."""
    rng = np.random.default_rng(START)
    h = min((improved(scaled(1 - NOISE * rng.random(SIZE))) for _ in range(TRIES)), key=lambda h: peaks(h).max())
    for _ in range(DOUBLED):
        h = improved(np.repeat(h, 2))
    return h.tolist()


def improved(h):
    """Return the best heights that STEPS of descent meet."""
    best, least, moved = h, peaks(h).max(), np.zeros(len(h))
    for step in range(STEPS):
        part = step / STEPS
        moved = MOMENTUM * moved - RATE * (1 - part) * slope(h, SHARPNESS * GROWTH**part)
        h = scaled(h + moved)
        if (value := peaks(h).max()) < least:
            best, least = h, value
    return best


def peaks(h):
    """Return the autoconvolution at every shift."""
    return np.convolve(h, h) * 2 / len(h)


def slope(h, sharpness):
    """Return the gradient, but for a factor, of a soft maximum of the autoconvolution over the squared mean."""
    values = peaks(h)
    weights = np.exp(sharpness * (values - values.max()))
    weights /= weights.sum()
    return 2 * np.correlate(weights, h, "valid") - weights @ values


def scaled(h):
    """Return heights of at least 0, with a mean of 1."""
    return h.clip(0) / h.clip(0).mean()
