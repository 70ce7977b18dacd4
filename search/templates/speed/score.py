"""Times the candidate against the first version, in fresh processes and both orders, and compares their outputs."""

import numpy as np

import prepare

POINTS, QUERIES, PAIRS = 1000, 1500, 5


def score(candidate, case):
    """Return how many times faster the candidate is. Raises Invalid for a wrong output."""

    def inputs(pair):
        rng = np.random.default_rng([case.seed, pair])
        return rng.normal(size=(POINTS, 3)), rng.normal(size=(QUERIES, 3))

    timing = candidate.time("nearest", inputs, pairs=PAIRS)
    for found, expected in zip(timing.value, timing.baseline_value, strict=True):
        if not (isinstance(found, np.ndarray) and found.dtype == np.int64 and np.array_equal(found, expected)):
            raise prepare.Invalid(f"nearest has to return the {QUERIES} right indices as int64; got {found!r:.200}")
    return prepare.Score(timing.ratio, timing.metrics, f"{1000 * timing.seconds:.2f} ms for {QUERIES} queries")
