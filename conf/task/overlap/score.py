"""Judges a step function for Erdos' minimum overlap problem, with the fractions that its doubles are."""

import math
from fractions import Fraction

import prepare

MOST = 1000
SMALLEST = 2.0**-60


def score(candidate, case):
    """Return the largest overlap, with the heights as the certificate. Raises Invalid for unusable heights."""
    heights = candidate.call("heights")
    if not (isinstance(heights, list) and 2 <= len(heights) <= MOST and all(type(h) is float for h in heights)):
        raise prepare.Invalid(f"heights() has to return a list of 2 to {MOST} floats; got {heights!r:.100}")
    if not all(h == 0 or SMALLEST <= h <= 1 for h in heights):
        raise prepare.Invalid(f"a height is outside of [0, 1], or below {SMALLEST:.3g} and not 0")
    value, shift = largest_overlap(heights)
    steps = len(heights)
    words = f"{steps} steps; the overlap is largest at a shift of {shift} steps ({shift * 2 / steps:.4f})"
    return prepare.Score(float(value), {"steps": float(steps)}, words, heights)


def largest_overlap(heights):
    """Return (the largest overlap as a fraction, its shift in steps) of the heights scaled to an integral of 1.

    The function has ``n`` steps on an interval of length 2. Between whole shifts the overlap is linear, so it is
    largest at one of them. With heights a / s, s = 2 * sum(a) / n, the overlap at shift k is (2 / n) * sum of
    a[i] / s * (1 - a[i + k] / s); all sums are of integers. Raises Invalid if scaling leaves [0, 1].
    """
    n, exact = len(heights), [Fraction(h) for h in heights]
    common = math.lcm(*(h.denominator for h in exact))
    whole = [int(h * common) for h in exact]
    total = sum(whole)
    if total == 0 or max(whole) * n > 2 * total:
        raise prepare.Invalid(
            f"the heights have a mean of {float(Fraction(total, n * common)):.6g}; scaled to 1/2, the largest would be "
            "above 1"
        )
    sums = {k: sum(a * (2 * total - n * b) for a, b in pairs(whole, k)) for k in range(1 - n, n)}
    place = max(sums, key=lambda k: (sums[k], -abs(k)))
    return Fraction(sums[place], 2 * total * total), place


def pairs(whole, shift):
    """Return the pairs of steps that lie over one another at a shift."""
    return zip(whole[max(0, -shift) :], whole[max(0, shift) :], strict=False)
