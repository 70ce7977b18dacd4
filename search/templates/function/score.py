"""Judges a packing: recomputes everything from the circles that the candidate returned."""

from fractions import Fraction

import prepare

CIRCLES = 10


def score(candidate, case):
    """Return the sum of the radii, with the circles as the certificate. Raises Invalid for a wrong packing."""
    circles = candidate.call("pack", CIRCLES)
    if not (isinstance(circles, list) and len(circles) == CIRCLES and all(is_circle(each) for each in circles)):
        raise prepare.Invalid(f"pack({CIRCLES}) has to return {CIRCLES} lists [x, y, radius] of finite floats")
    exact = [tuple(Fraction(number) for number in circle) for circle in circles]
    for i, (x, y, r) in enumerate(exact):
        if r < 0 or not (r <= x <= 1 - r and r <= y <= 1 - r):
            raise prepare.Invalid(f"circle {i} {circles[i]} is not inside the square")
        for j in range(i):
            if (x - exact[j][0]) ** 2 + (y - exact[j][1]) ** 2 < (r + exact[j][2]) ** 2:
                raise prepare.Invalid(f"circle {i} {circles[i]} overlaps circle {j} {circles[j]}")
    total = float(sum(r for _, _, r in exact))
    smallest = sorted(range(CIRCLES), key=lambda i: circles[i][2])[:3]
    feedback = "The smallest circles: " + ", ".join(f"{i} {circles[i]}" for i in smallest)
    return prepare.Score(total, feedback=feedback, certificate=circles)


def is_circle(value):
    """Return whether a value is a list of three finite floats."""
    return isinstance(value, list) and len(value) == 3 and all(type(n) is float and abs(n) < 10 for n in value)
