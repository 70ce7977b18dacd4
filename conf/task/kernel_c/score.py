"""Times a C kernel for edit distances against the first version, and compares its results with distances of its own."""

import numpy as np

import prepare

PAIRS, ROWS, LENGTH = 5, 24, 1500
SHAPES = ((1, 1, 1), (3, 1, 40), (3, 63, 65), (2, 64, 64), (2, 65, 129), (2, 200, 7))
"""Rows and lengths, beside those that are timed: around the width of a machine word."""


def texts_of(rng, rows, n, m):
    """Return pairs of texts: one is unrelated, half of the others are the same text with changes."""
    letters = int(rng.choice([2, 4, 26, 256]))
    first = rng.integers(0, letters, size=(rows, n)).astype(np.uint8)
    second = rng.integers(0, letters, size=(rows, m)).astype(np.uint8)
    for row in range(rows // 2):
        kept = np.delete(first[row], rng.integers(0, n, size=min(n - 1, int(rng.integers(0, 30)))))[:m]
        changed = np.where(rng.random(len(kept)) < 0.1 * row / rows, second[row, : len(kept)], kept)
        second[row, : len(kept)] = changed
    return first, second


def reference(first, second):
    """Return the edit distance of each pair: row by row of the table (Wagner and Fischer, 1974), pairs side by side."""
    steps = np.arange(second.shape[1] + 1)
    above = np.tile(steps, (len(first), 1))
    for i in range(first.shape[1]):
        row = np.empty_like(above)
        row[:, 0] = i + 1
        row[:, 1:] = np.minimum(above[:, 1:] + 1, above[:, :-1] + (second != first[:, i : i + 1]))
        above = np.minimum.accumulate(row - steps, axis=1) + steps
    return above[:, -1].astype(np.int32)


def require_equal(found, expected, what):
    """Raise Invalid unless all distances are right."""
    if not isinstance(found, np.ndarray) or found.dtype != np.int32 or found.shape != expected.shape:
        raise prepare.Invalid(f"distances of {what} are no int32 array of {len(expected)}: {found!r:.200}")
    if not np.array_equal(found, expected):
        wrong = int(np.argmax(found != expected))
        raise prepare.Invalid(f"distance {wrong} of {what} is {found[wrong]}; expected {expected[wrong]}")


def score(candidate, case):
    """Return how many times faster than the first version the candidate is."""
    rng = np.random.default_rng([case.seed, 0])
    for shape in SHAPES:
        texts = texts_of(rng, *shape)
        require_equal(candidate.call("call.py:distances", *texts), reference(*texts), f"{shape[1:]} letters")

    def inputs(pair):
        return texts_of(np.random.default_rng([case.seed, 1 + pair]), ROWS, LENGTH, LENGTH)

    timing = candidate.time("call.py:distances", inputs, pairs=PAIRS)
    for pair, found in enumerate(timing.value):
        require_equal(found, reference(*inputs(pair)), f"{LENGTH} letters")
    return prepare.Score(
        timing.ratio, timing.metrics, f"{1000 * timing.seconds:.2f} ms for {ROWS} pairs of {LENGTH} letters"
    )
