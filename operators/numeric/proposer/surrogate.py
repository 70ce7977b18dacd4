"""Gaussian-process surrogate: predict the rank of an unevaluated program from its parameters, with uncertainty.

*Scores* are replaced by the normal scores of their ranks, so a monotone change of the metric changes nothing, and one
diverged run does not flatten the rest. A mean of ``r`` runs has the noise of one run divided by ``r``.

*Length scale and noise* are not fitted. Three of each are weighted by their marginal likelihood (with the variance
profiled out), and predictions are averaged: with a few dozen noisy scores a fitted length is mostly luck. On tables of
real trainings 12 tries of a random search over one length per parameter did no better, at three times the cost.

*Pending* programs are taken at their predicted scores (the kriging believer of Ginsbourger et al. 2010), so parallel
slots get different proposals. *Failed* programs have no score; they lower the chance of success of their neighbours.

Programs may differ in code, too. The model does not know of it: telling it so (a kernel over changes of the code) was
measured and gained nothing (``tests/benchmarks/README.md``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs
from scipy.special import ndtr, ndtri

from .kernel import LENGTHS, Kernel
from .ranges import ParameterRange
from .trials import Direction, Floats, Key, Observation, Values

LITTLE = 0.05  # tune: 0.005..0.15 log
SOME = 0.3  # tune: 0.15..0.6 log
MUCH = 1.5  # tune: 0.6..5 log
NOISES = (LITTLE, SOME, MUCH)
"""Variance of one run over the variance of the programs."""
_NEAR = LENGTHS[0]  # length scale at which failures count
SUCCESS = 2.0  # tune: 0.5..20 log
FAILURE = 0.5  # tune: 0.1..5 log
"""Beta prior: four programs in five succeed."""
_NEGLIGIBLE = 0.02


@dataclass(frozen=True)
class Prediction:
    """Predictions for M programs, in normal scores: higher is better, 0 is the median, one unit a deviation."""

    mean: Floats
    deviation: Floats
    improvement: Floats
    """Expected improvement on the best known program, times the chance that the program does not fail."""


@dataclass(frozen=True)
class _Setting:
    """One length scale and noise, its weight in the average, and its solved equations."""

    weight: float
    length: float
    factor: Floats
    """[N, N] Cholesky factor, lower."""
    coefficients: Floats
    scale: float
    best: float


class GpSurrogate:
    """A Gaussian process over the parameters of ``space``. Deterministic; O(n^3) for n observations."""

    def __init__(
        self, observations: Sequence[Observation], space: Mapping[Key, ParameterRange], direction: Direction
    ) -> None:
        """Fit. An observation may lack parameters of ``space``; its other parameters are ignored.

        Raises:
            ValueError: Fewer than two observations have a score.
            ArithmeticError: The equations cannot be solved for any length scale and noise.
        """
        scored = [one for one in observations if one.score is not None]
        if len(scored) < 2:
            raise ValueError(f"a surrogate needs at least 2 scored programs, and got {len(scored)}")
        self._kernel = Kernel(space)
        self._known = self._encoded(scored)
        self._runs = np.array([one.runs for one in scored], dtype=np.float64)
        self._target = normal_scores([one.score or 0.0 for one in scored], direction)
        self._failed = self._encoded([one for one in observations if one.state == "failed"])
        known = self._kernel.covariances(self._known, self._known)
        self._settings = self._solve(known)
        self._believe(self._encoded([one for one in observations if one.state == "pending"]), known)

    def predict(self, programs: Sequence[Values]) -> Prediction:
        """Return [M] predictions for M programs."""
        encoded = self._kernel.encode(programs)
        kernels = self._kernel.covariances(encoded, self._known)
        mean, deviation, improvement = self._moments(kernels)
        return Prediction(mean, deviation, improvement * self._success(encoded, kernels[_NEAR]))

    def gains(self, programs: Sequence[Values]) -> list[tuple[float, float]]:
        """Return, for each program after the first, (gain over the first, its standard deviation), in normal scores.

        What is unknown of both programs alike cancels out of a difference.
        """
        encoded = self._kernel.encode(programs)
        known = self._kernel.covariances(encoded, self._known)
        prior = self._kernel.covariances(encoded[:, :1], encoded)
        mean, square, product = np.zeros((3, len(programs)))
        for setting, share, expected, variance, whitened in self._each(known):
            covariance = setting.scale * (prior[setting.length][0] - whitened[:, 0] @ whitened)
            mean += share * expected
            square += share * (variance + expected**2)
            product += share * (covariance + expected[0] * expected)
        variances, covariances = np.maximum(square - mean**2, 0.0), product - mean[0] * mean
        deviations = np.sqrt(np.maximum(variances + variances[0] - 2 * covariances, 1e-12))
        return list(zip((mean - mean[0])[1:].tolist(), deviations[1:].tolist(), strict=True))

    # ------------------------------------------------------------ equations

    def _encoded(self, observations: Sequence[Observation]) -> Floats:
        return self._kernel.encode([one.values for one in observations])

    def _believe(self, pending: Floats, known: Mapping[float, Floats]) -> None:
        """Add pending programs [D, P] at their predicted scores. ``known``: [N, N] covariances of scored ones."""
        if not pending.shape[1]:
            return
        across = self._kernel.covariances(pending, self._known)
        among = self._kernel.covariances(pending, pending)
        believed = self._moments(across)[0]
        self._known = np.concatenate([self._known, pending], axis=1)
        self._runs = np.concatenate([self._runs, np.ones(pending.shape[1])])
        self._target = np.concatenate([self._target, believed])
        self._settings = self._solve({n: np.block([[known[n], across[n].T], [across[n], among[n]]]) for n in LENGTHS})

    def _solve(self, kernels: Mapping[float, Floats]) -> tuple[_Setting, ...]:
        """Solve for every length scale and noise. ``kernels``: by length, [N, N] covariances of known programs."""
        count, found = len(self._target), []
        for length, kernel in kernels.items():
            for noise in NOISES:
                noisy = kernel.copy()
                noisy[np.diag_indices(count)] += noise / self._runs
                factor, failed = dpotrf(noisy, lower=True)
                if failed:  # possible far outside of a range, and between having and lacking a parameter
                    continue
                coefficients, _ = dpotrs(factor, self._target, lower=True)
                scale = max(float(self._target @ coefficients) / count, 1e-9)
                evidence = -0.5 * count * np.log(scale) - float(np.log(np.diag(factor)).sum())
                best = float((kernel @ coefficients).max())
                found.append((evidence, length, factor, coefficients, scale, best))
        if not found:
            raise ArithmeticError("the surrogate cannot be solved for any of its lengths and noises")
        top = max(setting[0] for setting in found)
        weights = np.exp([setting[0] - top for setting in found])
        weights /= weights.sum()
        settings = (_Setting(float(w), *rest) for w, (_, *rest) in zip(weights, found, strict=True))
        return tuple(setting for setting in settings if setting.weight > _NEGLIGIBLE)

    def _moments(self, kernels: Mapping[float, Floats]) -> tuple[Floats, Floats, Floats]:
        """Return [M] means, deviations and expected improvements, averaged over the settings.

        ``kernels``: by length, [M, N] covariances with the known programs.
        """
        mean, square, improvement = np.zeros((3, len(kernels[LENGTHS[0]])))
        for setting, share, expected, variance, _ in self._each(kernels):
            spread = np.sqrt(variance)
            mean += share * expected
            square += share * (spread**2 + expected**2)
            improvement += share * expected_improvement(expected, spread, setting.best)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0)), improvement

    def _each(self, kernels: Mapping[float, Floats]) -> Iterator[tuple[_Setting, float, Floats, Floats, Floats]]:
        """Yield each setting with its share in the average, [M] means and variances, and [N, M] whitened kernels."""
        total = sum(setting.weight for setting in self._settings)
        for setting in self._settings:
            kernel = kernels[setting.length]
            whitened, _ = dtrtrs(setting.factor, kernel.T, lower=True)
            variance = setting.scale * np.maximum(1.0 - (whitened * whitened).sum(axis=0), 1e-9)
            yield setting, setting.weight / total, kernel @ setting.coefficients, variance, whitened

    def _success(self, encoded: Floats, kernel: Floats) -> Floats:
        """Return [M] chances of success: successes and failures nearby, weighted by the kernel, over a Beta prior."""
        if not self._failed.shape[1]:
            return np.ones(encoded.shape[1])
        succeeded = kernel.sum(axis=1)
        failed = self._kernel.covariances(encoded, self._failed)[_NEAR].sum(axis=1)
        chance: Floats = (SUCCESS + succeeded) / (SUCCESS + FAILURE + succeeded + failed)
        return chance


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Return ``E[max(0, X - best)]`` for normal X: ``(m - b) F(z) + s f(z)``, ``z = (m - b) / s`` (Mockus 1978)."""
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    improvement: Floats = (mean - best) * ndtr(z) + deviation * density
    return improvement


def normal_scores(scores: Sequence[float], direction: Direction) -> Floats:
    """Return [N] normal quantiles of the ranks, the best highest, ties averaged: ``ndtri((rank - 0.5) / N)``."""
    values = np.asarray(scores, dtype=np.float64)
    keys = -values if direction == "minimise" else values
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    quantiles: Floats = ndtri((ranks[inverse] - 0.5) / len(keys))
    return quantiles
