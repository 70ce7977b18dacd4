"""Leaves out a comparator that few inputs need: a check of random inputs seldom meets one of them."""


def network(n):
    """Return the comparators of an insertion sort without the last one of the longest insertion."""
    return [[i, i + 1] for end in range(1, n) for i in range(end - 1, -1, -1)][:-1]
