"""Times a blur against the first version, in fresh processes and both orders, and compares outputs with its own.

Brightness differs by many orders of magnitude between blocks of an image, and the error is that of the worst pixel,
relative to its own value: a shortcut that is only exact where the image is bright is none.
"""

import numpy as np

import prepare

SIDE, PAIRS, BLOCK, TOLERANCE = 128, 5, 16, 1e-9
EDGES = ((1, 1, 3), (1, 17, 11), (23, 1, 5), (5, 130, 11), (16, 16, 1))
"""Heights, widths and numbers of weights, beside those that are timed."""


def image_of(rng, height, width):
    """Return an image whose blocks differ in brightness by factors up to 1e10."""
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    bright = np.kron(10.0 ** rng.uniform(-5, 5, size=(rows, columns)), np.ones((BLOCK, BLOCK)))
    return rng.uniform(0.5, 1.5, size=(height, width)) * bright[:height, :width]


def weights_of(rng, count):
    """Return positive weights with the sum 1, not symmetric."""
    weights = rng.uniform(0.2, 1.0, size=count)
    return weights / weights.sum()


def reference(image, weights):
    """Return the blurred image: first along columns, then along rows."""
    padded = np.pad(image, len(weights) // 2, mode="edge")
    down = sum(weight * padded[i : i + len(image)] for i, weight in enumerate(weights))
    return sum(weight * down[:, i : i + image.shape[1]] for i, weight in enumerate(weights))


def require_equal(found, expected, shape):
    """Raise Invalid unless the relative error of every pixel is within the tolerance; all are positive."""
    if not isinstance(found, np.ndarray) or found.dtype != np.float64 or found.shape != expected.shape:
        raise prepare.Invalid(f"blur of {shape} has to return a float64 array of that shape; got {found!r:.200}")
    if not np.isfinite(found).all():
        raise prepare.Invalid(f"blur of {shape} has values that are not finite")
    worst = float((np.abs(found - expected) / expected).max())
    if not worst <= TOLERANCE:
        raise prepare.Invalid(
            f"blur of {shape}: the relative error of a pixel is {worst:.2g}; {TOLERANCE:g} is allowed"
        )


def score(candidate, case):
    """Return how many times faster than the first version the candidate is."""
    rng = np.random.default_rng([case.seed, 0])
    for height, width, count in EDGES:
        image, weights = image_of(rng, height, width), weights_of(rng, count)
        require_equal(candidate.call("blur", image, weights), reference(image, weights), (height, width))

    def inputs(pair):
        own = np.random.default_rng([case.seed, 1 + pair])
        return image_of(own, SIDE, SIDE), weights_of(own, 11)

    timing = candidate.time("blur", inputs, pairs=PAIRS)
    for pair, found in enumerate(timing.value):
        require_equal(found, reference(*inputs(pair)), (SIDE, SIDE))
    return prepare.Score(
        timing.ratio, timing.metrics, f"{1000 * timing.seconds:.2f} ms for an image of {SIDE} x {SIDE}"
    )
