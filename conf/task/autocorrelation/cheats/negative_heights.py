"""Takes heights below 0, for which the peak may be smaller: another inequality, with a smaller constant."""


def heights():
    """Return heights that are negative at both ends."""
    return [-0.4] * 4 + [1.0] * 24 + [-0.4] * 4
