"""Takes heights whose sum has an infinite square in floating point: a peak divided by it is 0, or no number."""


def heights():
    """Return heights of 1e300, and one that is no number."""
    return [1e300] * 40 + [float("nan")]
