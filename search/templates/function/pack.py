"""Circles in rows, each as large as its neighbours and the walls allow."""

ROWS = 2  # tune: 1..5
OFFSET = 0.0  # tune: 0..0.5
MARGIN = 0.1  # tune: 0.05..0.3
ROUNDS = 3  # tune: 1..20


def pack(n):
    """Return n circles [x, y, radius]."""
    centres = rows(n)
    radii = [0.0] * n
    for _ in range(ROUNDS):
        for i in range(n):
            radii[i] = room(i, centres, radii)
    return [[x, y, radius * (1 - 1e-12)] for (x, y), radius in zip(centres, radii, strict=True)]


def rows(n):
    """Return centres in ROWS rows, every second one moved by OFFSET of the distance."""
    columns = -(-n // ROWS)
    step = (1 - 2 * MARGIN) / max(1, columns - 1 + OFFSET)
    high = (1 - 2 * MARGIN) / max(1, ROWS - 1)
    places = [(i % columns, i // columns) for i in range(n)]
    return [(MARGIN + (column + OFFSET * (row % 2)) * step, MARGIN + row * high) for column, row in places]


def room(i, centres, radii):
    """Return the radius that circle i can have beside the others: half of the distance to those without one yet."""
    x, y = centres[i]
    largest = min(x, 1 - x, y, 1 - y)
    for j, (other_x, other_y) in enumerate(centres):
        if j != i:
            distance = ((x - other_x) ** 2 + (y - other_y) ** 2) ** 0.5
            largest = min(largest, distance - radii[j] if radii[j] else distance / 2)
    return max(0.0, largest)
