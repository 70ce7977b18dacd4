"""A formula by least squares over a library of terms; small coefficients are dropped, again and again."""

import itertools

import numpy as np

DEGREE = 2  # tune: 1..6
WAVES = 0  # tune: 0..3
FREQUENCY = 1.0  # tune: 0.3..3 log
ENVELOPES = 0  # tune: 0|1
THRESHOLD = 0.02  # tune: 0.001..0.5 log
ROUNDS = 3  # tune: 1..10
RIDGE = 0.000001  # tune: 0.000000001..0.1 log


def formula(x, y):
    """Return a formula in a and b, as text, for targets y [N] at points x [N, 2]."""
    a, b = x.T
    terms = [text for text in library() if np.ptp(value(text, a, b)) > 1e-9 or text == "1"]
    for _ in range(ROUNDS):
        columns = np.stack([value(text, a, b) for text in terms], 1)
        scale = np.sqrt((columns**2).mean(0))
        design = columns / scale
        weights = np.linalg.solve(design.T @ design + RIDGE * len(y) * np.eye(len(terms)), design.T @ y)
        kept = np.abs(weights) >= THRESHOLD * np.abs(weights).max()
        shown = [f"({w:.8g})*{text}" for w, text, keep in zip(weights / scale, terms, kept, strict=True) if keep]
        terms = [text for text, keep in zip(terms, kept, strict=True) if keep]
    return " + ".join(shown)


def library():
    """Return the terms: monomials, waves of each variable, and products of waves with an envelope."""
    powers = [(i, j) for i, j in itertools.product(range(DEGREE + 1), repeat=2) if i + j <= DEGREE]
    terms = ["*".join([f"a**{i}"] * (i > 0) + [f"b**{j}"] * (j > 0)) or "1" for i, j in powers]
    waves = [f"{f}({k * FREQUENCY:.6g}*{v})" for k in range(1, WAVES + 1) for f in ("sin", "cos") for v in "ab"]
    return terms + waves + [f"exp(-{v})*{wave}" for v in "ab" for wave in waves if ENVELOPES]


def value(text, a, b):
    """Return a term's values. The text is from ``library``."""
    return np.broadcast_to(eval(text, {"a": a, "b": b, "sin": np.sin, "cos": np.cos, "exp": np.exp}), a.shape)
