"""A formula by greedy choice: terms, each a function of a times one of b, are added while the rim of the data gains.

Libraries of terms compete: products of powers, and what is switched on of waves and decays of a few rates and of a
polynomial that all is divided by. The one that predicts the rim best is fitted to all points.
"""

import itertools
from functools import cache

import numpy as np

DEGREE = 2  # tune: 1..5
WAVES = 0  # tune: 0|1
DECAYS = 0  # tune: 0|1
BELOW = 0  # tune: 0..3
RATES = 1  # tune: 1..8 step 1
SLOWEST = 0.5  # tune: 0.2..1 log
FASTEST = 2.0  # tune: 1..4 log
TERMS = 6  # tune: 1..10 step 1
PENALTY = 0.0  # tune: 0..0.3
RIM = 1.8  # tune: 1.3..1.95


def formula(x, y):
    """Return a formula in a and b, as text, for targets y [N] at points x [N, 2]."""
    inner = x.max(axis=1) < RIM
    tried = [chosen(terms, divisors, x, y, inner) for terms, divisors in libraries()]
    _, above, below = min(tried, key=lambda each: each[0])
    w = weights(columns(above, x), columns(below, x), y)
    top, bottom = total(w[: len(above)], above), total(w[len(above) :], below)
    return f"({top})/(1 + {bottom})" if below else top


def libraries():
    """Yield terms, and powers for the polynomial that all is divided by."""
    for waves, decays, below in sorted(itertools.product({0, WAVES}, {0, DECAYS}, {0, BELOW})):
        for rate in np.geomspace(SLOWEST, FASTEST, RATES) if waves or decays else [1.0]:
            others = []
            for r in sorted({1.0, float(f"{rate:.6g}")}):
                others += [f"sin({r}*%s)", f"cos({r}*%s)"] * waves + [f"exp(-{r}*%s)"] * decays
            yield products(others), [f"{v}**{power}" for v in "ab" for power in range(1, below + 1)]


def products(others):
    """Return products of a power or another function of a, and one of b; powers up to DEGREE in all."""
    factors = [(power, f"%s**{power}") for power in range(DEGREE + 1)] + [(0, other) for other in others]
    pairs = itertools.product(factors, repeat=2)
    return [f"{one % 'a'}*{two % 'b'}" for (i, one), (j, two) in pairs if i + j <= DEGREE]


def columns(texts, x):
    """Return the values of products [N, number]. The texts are from here."""
    a, b = x.T
    names = {"a": a, "b": b, "sin": np.sin, "cos": np.cos, "exp": np.exp}
    return np.array([eval(compiled(text), names) for text in texts]).reshape(-1, len(x)).T


@cache
def compiled(text):
    return compile(text, "formula", "eval")


def chosen(terms, divisors, x, y, inner):
    """Return (error at the rim, terms above, terms below) for the number of terms that predicts the rim best."""
    every, count = np.hstack([columns(terms, x), columns(divisors, x)]), len(terms)
    seen = np.where(np.arange(every.shape[1]) < count, every, -y[:, None] * every)[inner]
    taken, best = [], (np.inf, [], [])
    for number in range(min(TERMS, every.shape[1])):
        taken = sorted([*taken, next_column(seen, taken, y[inner])])
        above, below = [k for k in taken if k < count], [k for k in taken if k >= count]
        w = weights(every[inner][:, above], every[inner][:, below], y[inner])
        off = every[~inner][:, above] @ w[: len(above)] / (1 + every[~inner][:, below] @ w[len(above) :]) - y[~inner]
        error = np.sqrt((off**2).mean()) * (1 + PENALTY * number)
        if error < best[0]:
            best = error, [terms[k] for k in above], [divisors[k - count] for k in below]
    return best


def next_column(seen, taken, y):
    """Return the column that is nearest to what those taken leave of y, without what is in these."""
    basis = np.linalg.qr(seen[:, taken])[0]
    new = seen - basis @ (basis.T @ seen)
    size = np.linalg.norm(new, axis=0)
    free = size > 1e-6 * np.linalg.norm(seen, axis=0)
    near = np.abs(new.T @ (y - basis @ (basis.T @ y))) / np.where(free, size, 1)
    near[~free] = near[taken] = -1
    return int(near.argmax())


def weights(above, below, y):
    """Return coefficients by least squares; three times if there is a divisor, which weighs the points."""
    guess, scale = y, np.ones(len(y))
    for _ in range(3 if below.shape[1] else 1):
        design = np.hstack([above, -guess[:, None] * below]) * scale[:, None]
        w = np.linalg.lstsq(design, y * scale, rcond=None)[0]
        scale = 1 / (1 + below @ w[above.shape[1] :])
        guess = above @ w[: above.shape[1]] * scale
    return w


def total(w, terms):
    """Return a weighted sum as text."""
    return " + ".join(f"({weight:.8g})*{term}" for weight, term in zip(w, terms, strict=True)) or "0"
