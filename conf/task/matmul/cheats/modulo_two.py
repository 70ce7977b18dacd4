"""Strassen's algorithm without its signs: right modulo 2, where fewer products are known for larger shapes."""


def algorithm(n, m, p):
    """Return seven products for 2 x 2 x 2, with coefficients 0 and 1, and the schoolbook's for other shapes."""
    if (n, m, p) == (2, 2, 2):
        return [
            [[1, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1]],
            [[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1]],
            [[1, 0, 0, 0], [0, 1, 0, 1], [0, 1, 0, 1]],
            [[0, 0, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0]],
            [[1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0]],
            [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]],
            [[0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]],
        ]
    places = [(i * m + j, j * p + k, i * p + k) for i in range(n) for j in range(m) for k in range(p)]
    return [[unit(n * m, a), unit(m * p, b), unit(n * p, c)] for a, b, c in places]


def unit(size, place):
    """Return a list with a 1 in one place."""
    return [int(i == place) for i in range(size)]
