"""A formula by least squares over a library of terms; small coefficients are dropped, again and again.

Several libraries compete: monomials and, with rates that are tried one by one, waves and factors of waves. The one
that predicts the rim of the data best is fitted to all points.
"""

import itertools

import numpy as np

DEGREE = 2  # tune: 1..6
WAVES = 0  # tune: 0|1
DECAYS = 0  # tune: 0|1
FRACTIONS = 0  # tune: 0|1
RATES = 1  # tune: 1..12 step 1
SLOWEST = 0.5  # tune: 0.2..1 log
FASTEST = 2.0  # tune: 1..4 log
RIM = 1.8  # tune: 1.3..1.95
THRESHOLD = 0.02  # tune: 0.001..0.5 log
ROUNDS = 3  # tune: 1..10
RIDGE = 0.000001  # tune: 0.000000001..0.1 log


def formula(x, y):
    """Return a formula in a and b, as text, for targets y [N] at points x [N, 2]."""
    inner, tried = x.max(axis=1) < RIM, []
    for terms in libraries():
        text = fitted(terms, x[inner], y[inner])
        tried.append((float(((value(text, *x[~inner].T) - y[~inner]) ** 2).mean()), terms))
    return fitted(min(tried)[1], x, y)


def libraries():
    """Yield lists of terms."""
    powers = [(i, j) for i, j in itertools.product(range(DEGREE + 1), repeat=2) if i + j <= DEGREE]
    yield ["*".join([f"a**{i}"] * (i > 0) + [f"b**{j}"] * (j > 0)) or "1" for i, j in powers]
    for rate in np.geomspace(SLOWEST, FASTEST, RATES):
        r = f"{rate:.6g}"
        if WAVES:
            yield ["1", "a", "b", *(f"{wave}({r}*{v})" for wave in ("sin", "cos") for v in "ab")]
        for kind, factor in ((DECAYS, "exp(-{}*{})"), (FRACTIONS, "1/(1 + {}*{}**2)")):
            if kind:
                factors = [(factor.format(r, v), w) for v, w in ("ab", "ba")]
                yield [
                    "1",
                    "a",
                    "b",
                    *(f"{part}*{more}" for part, w in factors for more in (w, f"sin({w})", f"cos({w})")),
                ]


def fitted(terms, x, y):
    """Return the sum of the terms that matter, with coefficients by least squares."""
    a, b = x.T
    terms = [text for text in terms if np.ptp(value(text, a, b)) > 1e-9 or text == "1"]
    for _ in range(ROUNDS):
        columns = np.stack([value(text, a, b) for text in terms], 1)
        scale = np.sqrt((columns**2).mean(0))
        design = columns / scale
        weights = np.linalg.solve(design.T @ design + RIDGE * len(y) * np.eye(len(terms)), design.T @ y)
        kept = np.abs(weights) >= THRESHOLD * np.abs(weights).max()
        shown = [f"({w:.8g})*{text}" for w, text, keep in zip(weights / scale, terms, kept, strict=True) if keep]
        terms = [text for text, keep in zip(terms, kept, strict=True) if keep]
    return " + ".join(shown)


def value(text, a, b):
    """Return a term's values. The text is from ``libraries``."""
    return np.broadcast_to(eval(text, {"a": a, "b": b, "sin": np.sin, "cos": np.cos, "exp": np.exp}), a.shape)
