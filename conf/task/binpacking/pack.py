"""Best fit: the fullest bin that has room, with a range of gaps to be avoided (no effect while AVOID is 0)."""

AVOID = 0.0  # tune: 0..100
SMALLEST = 2  # tune: 0..12
LARGEST = 10  # tune: 4..60


def priority(item, bins):
    """Return the priority of each bin. ``bins``: the room that is left in each, at least ``item``."""
    gap = bins - item
    return -gap - AVOID * ((gap > SMALLEST) & (gap < LARGEST))
