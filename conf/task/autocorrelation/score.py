"""Judges a step function for the first autocorrelation inequality, with the fractions that its doubles are."""

import math
from fractions import Fraction

import prepare

MOST = 30_000
SMALLEST, LARGEST = 2.0**-60, 2.0**60


def score(candidate, case):
    """Return the peak of the autoconvolution, with the heights as the certificate. Raises Invalid for unusable ones."""
    heights = candidate.call("heights")
    if not (isinstance(heights, list) and 2 <= len(heights) <= MOST and all(type(h) is float for h in heights)):
        raise prepare.Invalid(f"heights() has to return a list of 2 to {MOST} floats; got {heights!r:.100}")
    if not all(h == 0 or SMALLEST <= h <= LARGEST for h in heights) or not any(heights):
        raise prepare.Invalid(f"heights have to be 0 or from {SMALLEST:.3g} to {LARGEST:.3g}, and not all of them 0")
    value, shift = peak(heights)
    steps = len(heights)
    words = f"{steps} steps; the autoconvolution is largest at step {shift} of {2 * steps}"
    return prepare.Score(float(value), {"steps": float(steps)}, words, heights)


def peak(heights):
    """Return (the peak as a fraction, its place in steps from the left end) of the heights scaled to an integral of 1.

    The function has ``n`` steps on an interval of length 1/2. Its convolution with itself is linear between whole
    steps, so it is largest at one of them: 2 n * (sum of a[i] a[j] with i + j = k) / (sum of a)**2, in integers.
    """
    n, exact = len(heights), [Fraction(h) for h in heights]
    common = math.lcm(*(h.denominator for h in exact))
    whole = [int(h * common) for h in exact]
    sums = squared(whole)
    place = max(range(len(sums)), key=sums.__getitem__)
    return Fraction(2 * n * sums[place], sum(whole) ** 2), place + 1


def squared(whole):
    """Return the coefficients of the square of a polynomial whose coefficients, all at least 0, are given.

    It is one product of long integers, in which every coefficient has the bytes that the largest sum could need.
    """
    size = (2 * max(whole).bit_length() + len(whole).bit_length() + 7) // 8
    packed = int.from_bytes(b"".join(each.to_bytes(size, "little") for each in whole), "little")
    made = (packed**2).to_bytes(2 * len(whole) * size, "little")
    return [int.from_bytes(made[at : at + size], "little") for at in range(0, (2 * len(whole) - 1) * size, size)]
