"""Large circles without a place: no comparison with nan says that two of them overlap, or that one is outside."""


def pack(n):
    """Return circles of half of the square's side."""
    return [[float("nan"), float("nan"), 0.5] for _ in range(n)]
