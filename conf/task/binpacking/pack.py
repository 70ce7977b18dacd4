"""Best fit, in two classes of gaps: up to NEAR, and from FAR on; those between are left for last (none at first).

ORDER: among the large gaps the smallest (-1), the oldest bin (0), or the largest (1).
"""

import numpy as np

NEAR = 12  # tune: 0..12
FAR = 12  # tune: 12..40
ORDER = -1  # tune: -1|0|1
NEAR_100 = 12  # tune: 0..12
FAR_100 = 12  # tune: 12..40
ORDER_100 = -1  # tune: -1|0|1


def priority(item, bins):
    """Return the priority of each bin. ``bins``: the room that is left in each, at least ``item``."""
    near, far, order = (NEAR, FAR, ORDER) if bins.max() == 150 else (NEAR_100, FAR_100, ORDER_100)
    gap = bins - item
    value = np.where(gap <= near, 1000 - gap, np.where(gap >= far, order * gap, -1000 - gap))
    value[bins == bins.max()] = -500  # unopened
    return value
