"""Calls a list of all channels a comparator: one of them would sort everything."""


def network(n):
    """Return one entry with n channels, and one for each pair of neighbours in the wrong direction."""
    return [list(range(n))] + [[i + 1, i] for i in range(n - 1)]
