"""Random walks of flips from the schoolbook algorithm; a product is dropped when one of its factors becomes zero.

A flip rewrites two products that share a factor: a*b*c + a*d*e = a*(b + d)*c + a*d*(e - c). With BLOCKS, only the walk
for 2x2x2 is made, and larger algorithms are put together from what it finds.
"""

import random
from functools import cache

STEPS = 1000  # tune: 300..200000 log step 1
START = 0  # tune: 0..999 step 1
LARGEST = 1  # tune: 1|2
MINUS = 0.0  # tune: 0..0.5
BLOCKS = 0  # tune: 0|1


def algorithm(n, m, p):
    """Return products [a, b, c]: coefficients for the n*m, m*p and n*p entries of the three matrices."""
    return [[list(factor) for factor in product] for product in (composed if BLOCKS else walked)(n, m, p)]


def composed(n, m, p):
    """Return products that are put together from those for 2x2x2: blocks of blocks for 4x4x4, else parts of a side."""
    if (n, m, p) == (4, 4, 4):
        return blocks(composed(2, 2, 2))
    for side, size in enumerate((n, m, p)):
        if size == 3:
            return placed((n, m, p), side, 0, 2) + placed((n, m, p), side, 2, 1)
    return schoolbook(n, m, p) if 1 in (n, m, p) else walked(n, m, p)


def schoolbook(n, m, p):
    """Return one product for each i, j, k."""
    return [
        [unit(n * m, i * m + j), unit(m * p, j * p + k), unit(n * p, i * p + k)]
        for i in range(n)
        for j in range(m)
        for k in range(p)
    ]


def unit(size, place):
    return tuple(int(i == place) for i in range(size))


@cache
def walked(n, m, p):
    """Return the products at the end of a walk of STEPS flips from the schoolbook algorithm: never more than before."""
    rng, products = random.Random(START), schoolbook(n, m, p)
    for _ in range(STEPS):
        if flip(products, rng):
            products = [p for p in products if all(any(factor) for factor in p)]
    return products


def flip(products, rng):
    """Flip two products if those drawn share a factor; return whether another factor became zero."""
    one, other = rng.sample(products, 2)
    for shared in range(3):
        if one[shared] == other[shared]:
            grown, reduced = [k for k in range(3) if k != shared][:: rng.choice((1, -1))]
            sign = -1 if rng.random() < MINUS else 1
            total = tuple(x + sign * y for x, y in zip(one[grown], other[grown], strict=True))
            rest = tuple(y - sign * x for x, y in zip(one[reduced], other[reduced], strict=True))
            if max(map(abs, total + rest)) <= LARGEST:
                one[grown], other[reduced] = total, rest
                return not (any(total) and any(rest))
            return False
    return False


def placed(shape, side, first, length):
    """Return products for the part of a shape that has ``length`` entries of one side, from ``first`` on."""
    part = [length if k == side else size for k, size in enumerate(shape)]
    offset = [first if k == side else 0 for k in range(3)]
    sides = ((0, 1), (1, 2), (0, 2))  # of the three matrices
    return [
        [moved(f, *((part[k], shape[k], offset[k]) for k in two)) for f, two in zip(product, sides, strict=True)]
        for product in composed(*part)
    ]


def moved(factor, rows, columns):
    """Return the coefficients in a larger matrix. rows, columns: size, larger size, offset."""
    larger = [0] * (rows[1] * columns[1])
    for place, coefficient in enumerate(factor):
        i, j = divmod(place, columns[0])
        larger[(i + rows[2]) * columns[1] + j + columns[2]] = coefficient
    return larger


def blocks(small):
    """Return an algorithm for 4 x 4 that multiplies 2 x 2 blocks by the same small one."""
    return [[nested(x, y) for x, y in zip(outer, inner, strict=True)] for outer in small for inner in small]


def nested(outer, inner):
    """Return the coefficients of a 4 x 4 matrix from those of its blocks and those within a block."""
    return [outer[i // 2 * 2 + j // 2] * inner[i % 2 * 2 + j % 2] for i in range(4) for j in range(4)]
