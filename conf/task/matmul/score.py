"""Judges algorithms for matrix products: the shapes are fixed here, and the sum of products is compared exactly."""

from fractions import Fraction

import numpy as np

import prepare

SHAPES = ((2, 2, 2), (2, 2, 3), (2, 3, 3), (3, 3, 3), (4, 4, 4))
KNOWN = {(2, 2, 2): 7, (2, 2, 3): 11, (2, 3, 3): 15, (3, 3, 3): 23, (4, 4, 4): 48}
LARGEST, FINEST = 2**10, 2**10


def score(candidate, case):
    """Return the multiplications of all shapes, with the factors as the certificate. Raises Invalid for a wrong one."""
    found = {shape: candidate.call("algorithm", *shape) for shape in SHAPES}
    ranks = {shape: checked(shape, products) for shape, products in found.items()}
    metrics = {"x".join(map(str, shape)): float(rank) for shape, rank in ranks.items()}
    words = ", ".join(f"{name}: {rank:.0f} (best known {KNOWN[shape]})"
                      for (name, rank), shape in zip(metrics.items(), SHAPES, strict=True))  # fmt: skip
    certificate = {name: products for name, products in zip(metrics, found.values(), strict=True)}
    return prepare.Score(sum(ranks.values()), metrics, f"multiplications for {words}", certificate)


def checked(shape, products):
    """Return the number of products. Raises Invalid unless they compute the matrix product of this shape."""
    n, m, p = shape
    sizes = (n * m, m * p, n * p)
    if not (
        isinstance(products, list) and 0 < len(products) <= n * m * p and all(fits(each, sizes) for each in products)
    ):
        raise prepare.Invalid(
            f"algorithm{shape} has to return at most {n * m * p} lists [a, b, c] with {sizes} coefficients: integers, "
            f"or floats that are multiples of 1/{FINEST}, of magnitude at most {LARGEST}"
        )
    a, b, c = (np.array([whole(each[k]) for each in products], dtype=object) for k in range(3))
    made = np.einsum("ri,rj,rk->ijk", a, b, c)
    wrong = np.argwhere(made != target(shape) * FINEST**3)
    if len(wrong):
        i, j, k = wrong[0]
        value = Fraction(int(made[i, j, k]), FINEST**3)
        raise prepare.Invalid(
            f"algorithm{shape} is wrong in {len(wrong)} of {made.size} coefficients: A's entry {i} times B's entry {j} "
            f"counts {value} times in C's entry {k}; expected {target(shape)[i, j, k]}"
        )
    return len(products)


def fits(product, sizes):
    """Return whether a value is three lists of coefficients of the right lengths."""
    return (
        isinstance(product, list)
        and len(product) == 3
        and all(
            isinstance(f, list) and len(f) == size and all(map(is_number, f))
            for f, size in zip(product, sizes, strict=True)
        )
    )


def is_number(x):
    """Return whether a coefficient is an integer, or a float that is a fraction with a small power of two below."""
    return type(x) in (int, float) and -LARGEST <= x <= LARGEST and x * FINEST == int(x * FINEST)


def whole(factor):
    """Return the coefficients times FINEST, as integers without a limit."""
    return [int(x * FINEST) for x in factor]


def target(shape):
    """Return the tensor of the product: 1 where entry i of A times entry j of B belongs to entry k of C."""
    n, m, p = shape
    tensor = np.zeros((n * m, m * p, n * p), dtype=object)
    for i in range(n):
        for j in range(m):
            for k in range(p):
                tensor[i * m + j, j * p + k, i * p + k] = 1
    return tensor
