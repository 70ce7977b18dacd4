"""genes: what values of a program's constants are worth, learned from the scores of all programs that share them.

Every value is a gene. A Gaussian process over the genes says of a program that nobody has trained how it would rank,
and how sure that is; ``tune`` proposes where the expected improvement is largest.

*Scores* are seen as normal scores of their ranks, so a monotone change of the metric changes nothing, and one diverged
run does not flatten the rest. A mean of ``r`` runs has the noise of one run divided by ``r``.

*The kernel* is ``a * mean_d k_d + (1 - a) * prod_d k_d`` with a = 0.3: genes add up, and they interact (additive
Gaussian processes: Duvenaud, Nickisch and Rasmussen 2011). ``k_d`` is Matern 5/2 in the coordinate of
``operators.ranges`` over the width of the range, or ``exp(-1 / (2 l))`` between two values of an unordered constant.

*Lengths and noise* are not fitted. Three lengths and three noise levels are weighed by their evidence (with the
variance profiled out), and predictions are averaged: with a few dozen noisy scores a fitted length is mostly luck.
On tables of real trainings 12 tries of a random search over one length each did no better, at three times the cost.

*Pending* programs are taken at their predicted scores (the kriging believer of Ginsbourger et al. 2010), so
parallel slots get different proposals. *Failed* ones have no score; they lower the chance of success of what lies near.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtr, ndtri

from archive.records import Direction
from archive.tree import Floats
from operators.constants import Number
from operators.ranges import Range

Key = tuple[str, str]
"""(path, name) of a constant."""

LENGTHS = (0.25, 0.6, 1.5)
"""In widths of a range."""
NOISES = (0.05, 0.3, 1.5)
"""Variance of one run over the variance of the programs."""
ADDITIVE = 0.3
_SUCCESS, _FAILURE = 2.0, 0.5  # a Beta prior: programs succeed four times in five until they are seen to fail


@dataclass(frozen=True)
class Trial:
    """A known program: the values of its constants, and what came of it."""

    values: Mapping[Key, Number]
    score: float | None
    """None unless it was scored."""
    runs: int = 1
    state: Literal["scored", "pending", "failed"] = "scored"


@dataclass(frozen=True)
class Prediction:
    """What is expected of M programs, in normal scores: higher is better, 0 the median, one unit a deviation."""

    mean: Floats
    deviation: Floats
    improvement: Floats
    """Expected improvement on the best known program, times the chance that the program does not fail."""


@dataclass(frozen=True)
class _Setting:
    """One length and noise with its share in the average, and the equations solved for it."""

    weight: float
    length: float
    solved: tuple[Floats, bool]
    coefficients: Floats
    scale: float
    best: float


class GeneModel:
    """A model of the constants of ``space``, fitted to trials. Deterministic; costs O(n^3) for n trials."""

    def __init__(self, trials: Sequence[Trial], space: Mapping[Key, Range], direction: Direction) -> None:
        """Raises ValueError if fewer than two trials were scored: nothing could be compared."""
        scored = [trial for trial in trials if trial.score is not None]
        if len(scored) < 2:
            raise ValueError(f"a gene model needs at least 2 scored programs, and got {len(scored)}")
        self._space = dict(space)
        self._unordered = np.array([span.unordered for span in self._space.values()])
        self._places = self._encode([trial.values for trial in scored])
        self._runs = np.array([trial.runs for trial in scored], dtype=np.float64)
        self._target = normal_scores([trial.score or 0.0 for trial in scored], direction)
        self._failed = self._encode([trial.values for trial in trials if trial.state == "failed"])
        pending = self._encode([trial.values for trial in trials if trial.state == "pending"])
        self._settings = self._solve()
        if pending.shape[1]:  # believed at their predicted scores, as if they had landed
            believed = self._moments(pending)[0]
            self._places = np.concatenate([self._places, pending], axis=1)
            self._runs = np.concatenate([self._runs, np.ones(pending.shape[1])])
            self._target = np.concatenate([self._target, believed])
            self._settings = self._solve()

    def predict(self, programs: Sequence[Mapping[Key, Number]]) -> Prediction:
        """[M] predictions for M programs, each given by the values of at least the constants of the space."""
        places = self._encode(programs)
        mean, deviation, improvement = self._moments(places)
        return Prediction(mean, deviation, improvement * self._chance(places))

    # ------------------------------------------------------------ the equations

    def _encode(self, programs: Sequence[Mapping[Key, Number]]) -> Floats:
        """[D, N] coordinates: in widths of the range, or the place among the values of an unordered constant."""
        rows = []
        for key, span in self._space.items():
            low, high = span.bounds
            column = [values[key] for values in programs]
            known = {value: span.coordinate(value) for value in set(column)}  # most children keep most values
            places = np.array([known[value] for value in column], dtype=np.float64)
            rows.append(places if span.unordered else (places - low) / (high - low))
        return np.stack(rows)

    def _kernels(self, a: Floats, b: Floats) -> dict[float, Floats]:
        """By length: [N, M] covariances of the programs ``a`` [D, N] and ``b`` [D, M]."""
        # In single precision numpy's exponential is many times faster, and six digits are plenty for what follows.
        distance = np.abs(a[:, :, None] - b[:, None, :]).astype(np.float32)
        kernels = {}
        for length in LENGTHS:
            z = np.float32(math.sqrt(5.0) / length) * distance
            each = (1 + z + z * z / 3) * np.exp(-z)
            each[self._unordered] = np.where(distance[self._unordered] > 0, np.float32(math.exp(-0.5 / length)), 1)
            kernels[length] = (ADDITIVE * each.mean(axis=0) + (1 - ADDITIVE) * each.prod(axis=0)).astype(np.float64)
        return kernels

    def _solve(self) -> tuple[_Setting, ...]:
        count, found = len(self._target), []
        for length, kernel in self._kernels(self._places, self._places).items():
            for noise in NOISES:
                noisy = kernel.copy()
                noisy[np.diag_indices(count)] += noise / self._runs
                solved = cho_factor(noisy, lower=True, check_finite=False)
                coefficients = cho_solve(solved, self._target, check_finite=False)
                scale = max(float(self._target @ coefficients) / count, 1e-9)
                evidence = -0.5 * count * np.log(scale) - float(np.log(np.diag(solved[0])).sum())
                best = float((kernel @ coefficients).max())
                found.append((evidence, length, solved, coefficients, scale, best))
        top = max(setting[0] for setting in found)
        weights = np.exp([setting[0] - top for setting in found])
        weights /= weights.sum()
        return tuple(_Setting(float(w), *rest) for w, (_, *rest) in zip(weights, found, strict=True) if w > 0.02)

    def _moments(self, places: Floats) -> tuple[Floats, Floats, Floats]:
        """[M] means, deviations and expected improvements, averaged over the settings."""
        mean, square, improvement = np.zeros((3, places.shape[1]))
        kernels = self._kernels(places, self._places)
        total = sum(setting.weight for setting in self._settings)
        for setting in self._settings:
            kernel, share = kernels[setting.length], setting.weight / total
            expected = kernel @ setting.coefficients
            explained = (kernel * cho_solve(setting.solved, kernel.T, check_finite=False).T).sum(axis=1)
            spread = np.sqrt(setting.scale * np.maximum(1.0 - explained, 1e-9))
            mean += share * expected
            square += share * (spread**2 + expected**2)
            improvement += share * expected_improvement(expected, spread, setting.best)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0)), improvement

    def _chance(self, places: Floats) -> Floats:
        """[M] chances of success: successes and failures nearby, counted by kernel, over a Beta prior."""
        if not self._failed.shape[1]:
            return np.ones(places.shape[1])
        near = LENGTHS[0]
        succeeded = self._kernels(places, self._places)[near].sum(axis=1)
        failed = self._kernels(places, self._failed)[near].sum(axis=1)
        chance: Floats = (_SUCCESS + succeeded) / (_SUCCESS + _FAILURE + succeeded + failed)
        return chance


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """``E[max(0, X - best)]`` for normal X: ``(m - b) F(z) + s f(z)``, ``z = (m - b) / s`` (Mockus 1978)."""
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    improvement: Floats = (mean - best) * ndtr(z) + deviation * density
    return improvement


def normal_scores(scores: Sequence[float], direction: Direction) -> Floats:
    """[N] normal quantiles of the ranks, the best highest, ties at their average: ``ndtri((rank - 0.5) / N)``."""
    values = np.asarray(scores, dtype=np.float64)
    keys = -values if direction == "minimise" else values
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    quantiles: Floats = ndtri((ranks[inverse] - 0.5) / len(keys))
    return quantiles
