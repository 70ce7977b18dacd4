"""Judges a packing exactly: every comparison is made with the fractions that the returned doubles are."""

from fractions import Fraction
from itertools import combinations

import prepare

CIRCLES = 26


def score(candidate, case):
    """Return the sum of the radii, with the circles as the certificate. Raises Invalid for a wrong packing."""
    circles = candidate.call("pack", CIRCLES)
    if not (isinstance(circles, list) and len(circles) == CIRCLES and all(is_circle(each) for each in circles)):
        raise prepare.Invalid(f"pack({CIRCLES}) has to return {CIRCLES} lists [x, y, radius] of finite floats")
    exact = [tuple(map(Fraction, circle)) for circle in circles]
    for number, (x, y, r) in enumerate(exact):
        if not (0 <= r <= x <= 1 - r and r <= y <= 1 - r):
            raise prepare.Invalid(f"circle {number} {circles[number]} is not inside the square")
    slack = {pair: gap(exact[pair[0]], exact[pair[1]]) for pair in combinations(range(CIRCLES), 2)}
    for (i, j), left in slack.items():
        if left < 0:
            raise prepare.Invalid(f"circles {i} {circles[i]} and {j} {circles[j]} overlap")
    return prepare.Score(float(sum(r for _, _, r in exact)), feedback=feedback(circles, slack), certificate=circles)


def is_circle(value):
    """Return whether a value is a list of three finite floats."""
    return isinstance(value, list) and len(value) == 3 and all(type(n) is float and abs(n) < 10 for n in value)


def gap(a, b):
    """Return squared distance minus squared sum of radii: negative for circles that overlap."""
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 - (a[2] + b[2]) ** 2


def feedback(circles, slack):
    """Say which circles are small and which touch nothing: what has room to grow."""
    touching = {i for pair, left in slack.items() if left < 1e-9 for i in pair}
    touching |= {i for i, (x, y, r) in enumerate(circles) if min(x, y, 1 - x, 1 - y) - r < 1e-9}
    smallest = sorted(range(CIRCLES), key=lambda i: circles[i][2])[:4]
    loose = [i for i in range(CIRCLES) if i not in touching]
    words = "The smallest circles: " + ", ".join(str([round(n, 4) for n in circles[i]]) for i in smallest)
    return f"{words}. {len(loose)} circles touch nothing: {loose}."
