"""Random walks of flips from the schoolbook algorithm; a product is dropped when one of its factors becomes zero.

A flip rewrites two products that share a factor: a*b*c + a*d*e = a*(b + d)*c + a*d*(e - c).
"""

import random

STEPS = 1000  # tune: 300..200000 log step 1
START = 0  # tune: 0..999 step 1
LARGEST = 1  # tune: 1|2
BLOCKS = 0  # tune: 0|1


def algorithm(n, m, p):
    """Return products [a, b, c]: coefficients for the n*m, m*p and n*p entries of the three matrices."""
    if BLOCKS and (n, m, p) == (4, 4, 4):
        return blocks(walked(schoolbook(2, 2, 2)))
    return [[list(factor) for factor in product] for product in walked(schoolbook(n, m, p))]


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


def walked(products):
    """Return the fewest products that a walk of STEPS flips meets."""
    rng, products, best = random.Random(START), [list(p) for p in products], None
    for _ in range(STEPS):
        flip(products, rng)
        products = [p for p in products if all(any(factor) for factor in p)]
        if best is None or len(products) <= len(best):
            best = [list(p) for p in products]
    return best


def flip(products, rng):
    """Flip two products that share a factor; nothing happens if the two drawn share none."""
    one, other = rng.sample(products, 2)
    for shared in range(3):
        if one[shared] == other[shared]:
            grown, reduced = [k for k in range(3) if k != shared][:: rng.choice((1, -1))]
            total = tuple(x + y for x, y in zip(one[grown], other[grown], strict=True))
            rest = tuple(y - x for x, y in zip(one[reduced], other[reduced], strict=True))
            if max(map(abs, total + rest)) <= LARGEST:
                one[grown], other[reduced] = total, rest
            return


def blocks(small):
    """Return an algorithm for 4 x 4 that multiplies 2 x 2 blocks by the same small one."""
    return [[nested(x, y) for x, y in zip(outer, inner, strict=True)] for outer in small for inner in small]


def nested(outer, inner):
    """Return the coefficients of a 4 x 4 matrix from those of its blocks and those within a block."""
    return [outer[i // 2 * 2 + j // 2] * inner[i % 2 * 2 + j % 2] for i in range(4) for j in range(4)]
