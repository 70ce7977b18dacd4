"""Programs whose loss is a known function of their constants: a convex valley in the logarithms, lower is better.

Each constant has a range of one to six decades. With ``u`` in [0, 1] the place of each value in its range and ``u*``
that of the optimum, the loss is ``sum_i w_i (u_i - u*_i)^2 + c (mean(u - u*))^2``: with ``c > 0`` constants interact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archive.tree import Floats
from operators.languages.parameters import read_parameters

NAMES = ("RATE", "DECAY", "WIDTH", "MOMENTUM", "NOISE", "SHRINKAGE", "PENALTY", "TEMPERATURE")
_DIGITS = 3


@dataclass(frozen=True)
class Valley:
    """The constants of a program, their ranges and the loss of every setting."""

    low: Mapping[str, float]
    high: Mapping[str, float]
    optimum: Floats
    weights: Floats
    coupling: float

    def loss_of(self, source: str) -> float:
        """Return the loss of a program; infinity for a constant outside of its range, or one that is missing."""
        return self.loss(read_parameters(source))

    def loss(self, values: Mapping[str, float]) -> float:
        """Return the loss of a setting; infinity for a constant outside of its range, or one that is missing."""
        inside = [self.low[name] <= values.get(name, 0.0) <= self.high[name] for name in self.low]
        if not all(inside):
            return math.inf
        apart = np.array([self.place(name, values[name]) for name in self.low]) - self.optimum
        return float(self.weights @ apart**2 + self.coupling * apart.mean() ** 2)

    def place(self, name: str, value: float) -> float:
        """Return where in the range of a constant a value lies: 0 at the lower end, 1 at the upper one."""
        return math.log(value / self.low[name]) / math.log(self.high[name] / self.low[name])

    def value(self, name: str, place: float) -> float:
        """Return the value at a place of a range, rounded inside of it."""
        low, high = self.low[name], self.high[name]
        rounded = float(f"{low * (high / low) ** min(1.0, max(0.0, place)):.{_DIGITS}g}")
        return min(high, max(low, rounded))


def valley(seed: int, constants: int, coupling: float) -> Valley:
    """Return the valley of a seed."""
    rng = np.random.default_rng([seed, constants])
    names = [NAMES[int(i)] for i in sorted(rng.permutation(len(NAMES))[:constants])]
    low = {name: 10.0 ** int(rng.integers(-6, 1)) for name in names}
    high = {name: low[name] * 10.0 ** int(rng.integers(1, 7)) for name in names}
    return Valley(low, high, rng.uniform(0.1, 0.9, constants), rng.uniform(0.5, 2.0, constants), coupling)


def program(place: Valley, values: Mapping[str, float]) -> str:
    """Return a program with these values of its constants."""
    lines = [f"{name} = {values[name]!r}  # tune: {place.low[name]:g}..{place.high[name]:g} log" for name in place.low]
    return "\n".join(['"""Fits a model with these settings."""', "", *lines, "", "", *_FIT.splitlines()]) + "\n"


_FIT = '''
def fit(data, learn):
    """Return a model of the data."""
    settings = {name.lower(): value for name, value in globals().items() if name.isupper()}
    return learn(data, **settings)
'''.strip()
