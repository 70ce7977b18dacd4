"""Judges a cap set: the vectors are distinct, and for no pair is the third point of their line among them."""

import prepare

DIMENSION = 8


def score(candidate, case):
    """Return the size, with the set as the certificate. Raises Invalid for a set with a line."""
    vectors = candidate.call("capset", DIMENSION)
    if not (isinstance(vectors, list) and len(vectors) <= 3**DIMENSION and all(is_vector(each) for each in vectors)):
        raise prepare.Invalid(f"capset({DIMENSION}) has to return lists of {DIMENSION} integers 0, 1 or 2")
    points = [tuple(vector) for vector in vectors]
    known = set(points)
    if len(known) < len(points):
        raise prepare.Invalid(f"{len(points) - len(known)} vectors are there more than once")
    for number, a in enumerate(points):
        for b in points[:number]:
            third = tuple(-(x + y) % 3 for x, y in zip(a, b, strict=True))
            if third in known:
                raise prepare.Invalid(f"{list(a)}, {list(b)} and {list(third)} lie on a line")
    weights = [sum(x != 0 for x in point) for point in points]
    counts = {f"weight_{w}": float(weights.count(w)) for w in range(DIMENSION + 1)}
    words = ", ".join(f"{weights.count(w)} with {w}" for w in range(DIMENSION + 1))
    return prepare.Score(len(points), counts, f"vectors by the number of their digits that are not 0: {words}", vectors)


def is_vector(value):
    """Return whether a value is a list of DIMENSION digits."""
    return isinstance(value, list) and len(value) == DIMENSION and all(type(x) is int and 0 <= x <= 2 for x in value)
