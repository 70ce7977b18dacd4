"""A formula without a value outside of the range of the data: a mean that skips what is undefined skips the errors."""

import numpy as np


def formula(x, y):
    """Return a fitted polynomial of degree 4, plus a logarithm that is undefined from 2 on and counts nothing below."""
    a, b = x.T
    powers = [(i, j) for i in range(5) for j in range(5 - i)]
    weights = np.linalg.lstsq(np.stack([a**i * b**j for i, j in powers], 1), y, rcond=None)[0]
    terms = [f"({w:.9g})*a**{i}*b**{j}" for w, (i, j) in zip(weights, powers, strict=True)]
    return " + ".join([*terms, "0*log(2 - a)"])
