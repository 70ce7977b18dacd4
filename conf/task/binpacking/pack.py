"""Best fit: the fullest bin that has room, with a range of gaps to be avoided (no effect while AVOID is 0)."""

AVOID = 0.0  # tune: 0..200
SMALLEST = 2  # tune: 0..12
LARGEST = 10  # tune: 4..60
SMALLEST_150 = 2  # tune: 0..12
LARGEST_150 = 10  # tune: 4..60


def priority(item, bins):
    """Return the priority of each bin. ``bins``: the room that is left in each, at least ``item``."""
    gap = bins - item
    smallest, largest = (SMALLEST_150, LARGEST_150) if bins.max() == 150 else (SMALLEST, LARGEST)
    return -gap - AVOID * ((gap > smallest) & (gap < largest))
