"""Covariance of programs by the values of their parameters.

The kernel is ``a * mean_d k_d + (1 - a) * prod_d k_d`` with a = 0.3: parameters act on their own and interact (additive
Gaussian processes: Duvenaud, Nickisch and Rasmussen 2011). ``k_d`` is Matern 5/2 in the encoded value
(``ranges``) over the width of the range; between two values of an unordered parameter, and
between having a parameter and lacking it, ``k_d`` is ``exp(-1 / (2 l))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .ranges import ParameterRange
from .trials import Floats, Key, Values

SHORT = 0.25  # tune: 0.1..0.5 log
MIDDLE = 0.6  # tune: 0.5..1.0 log
LONG = 1.5  # tune: 1.0..4.0 log
LENGTHS = (SHORT, MIDDLE, LONG)
"""Length scales, in widths of a range."""
ADDITIVE = 0.3  # tune: 0..0.9


class Kernel:
    """Encoding and covariance over the parameters of ``space``. Programs may lack some of them."""

    def __init__(self, space: Mapping[Key, ParameterRange]) -> None:
        self._space = dict(space)
        self._unordered = np.array([span.unordered for span in self._space.values()])

    def encode(self, programs: Sequence[Values]) -> Floats:
        """Return [D, N]: values in widths of their range, places among unordered choices, infinity where lacking."""
        encoded = np.empty((len(self._space), len(programs)))
        for row, (key, span) in zip(encoded, self._space.items(), strict=True):
            low, high = span.bounds
            column = [values.get(key) for values in programs]
            # Most children keep most values, so each distinct value is encoded once.
            known = {v: math.inf if v is None else span.encode(v) for v in set(column)}
            row[:] = [known[value] for value in column]
            if not span.unordered:
                row[:] = (row - low) / (high - low)
        return encoded

    def covariances(self, a: Floats, b: Floats) -> dict[float, Floats]:
        """Return, by length scale, the [N, M] covariances of encoded programs ``a`` [D, N] and ``b`` [D, M].

        The programs of ``a`` share most values, so each differs from the commonest values in few parameters. The sum
        (and the logarithm of the product) is computed for the commonest values and corrected for these few.
        """
        if not len(a):  # no parameter, so no difference
            return {length: np.ones((a.shape[1], b.shape[1])) for length in LENGTHS}
        middle = a.shape[1] // 2
        common = np.partition(a, middle, axis=1)[:, middle] if a.shape[1] else np.zeros(len(a))
        program, parameter = np.nonzero((a != common[:, None]).T)
        corrected, first = np.unique(program, return_index=True)
        # numpy's exponential is many times faster in single precision, and six digits suffice here.
        of_common = _distance(common[:, None], b)
        of_change = _distance(a[parameter, program][:, None], b[parameter])
        kernels = {}
        for length in LENGTHS:
            logs = _log_correlation(of_common, self._unordered, length)
            changed = _log_correlation(of_change, self._unordered[parameter], length)
            each = np.exp(logs)
            total = np.tile(each.sum(axis=0), (a.shape[1], 1))
            product = np.tile(logs.sum(axis=0), (a.shape[1], 1))
            if len(first):
                total[corrected] += np.add.reduceat(np.exp(changed) - each[parameter], first, axis=0)
                product[corrected] += np.add.reduceat(changed - logs[parameter], first, axis=0)
            kernel = ADDITIVE / len(a) * total + (1 - ADDITIVE) * np.exp(product)
            kernels[length] = kernel.astype(np.float64)
        return kernels


def _distance(a: Floats, b: Floats) -> NDArray[np.float32]:
    """Return |a - b|: infinite between having and lacking a parameter, 0 where both lack it."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    return np.nan_to_num(distance, nan=0.0, posinf=np.inf).astype(np.float32)


def _log_correlation(distance: NDArray[np.float32], unordered: NDArray[np.bool_], length: float) -> NDArray[np.float32]:
    """Return [D, M] logarithms of ``k_d``; ``unordered`` is [D].

    Matern 5/2: ``(1 + z + z^2 / 3) exp(-z)`` with ``z = sqrt(5) d / l``.
    """
    lacking = np.isinf(distance)
    z = np.float32(math.sqrt(5.0) / length) * np.where(lacking, np.float32(0), distance)
    logs: NDArray[np.float32] = np.log1p(z + z * z / 3) - z
    other = lacking | ((distance > 0) & unordered[:, None])
    logs[other] = np.float32(-0.5 / length)
    return logs
