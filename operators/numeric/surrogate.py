"""genes: what edits of a program are worth, learned from the scores of all programs that carry some of them.

Every edit over the root is a gene: the value of a constant, and each change of the code
(``operators.languages.code_changes``). A Gaussian process over the genes says of a program that nobody has trained how
it would rank, and how sure that is; ``tune`` proposes where the expected improvement is largest, and ``graft`` the
change of the code. So what was learned of a learning rate is not lost when a block is added, and a block that shifts
the best learning rate is seen to do so.

*Scores* are seen as normal scores of their ranks, so a monotone change of the metric changes nothing, and one diverged
run does not flatten the rest. A mean of ``r`` runs has the noise of one run divided by ``r``.

*The kernel* is ``a * mean_d k_d + (1 - a) * prod_d k_d`` with a = 0.3: genes add up, and they interact (additive
Gaussian processes: Duvenaud, Nickisch and Rasmussen 2011). ``k_d`` is Matern 5/2 in the coordinate of
``operators.numeric.search_space`` over the width of the range, or ``exp(-1 / (2 l))`` between two values of an
unordered constant, and between having a constant and not having it. Where programs differ in code, with ``c = exp(-n /
2)`` for n changes of the code that one of two has and the other has not, the kernel is ``0.7 * (0.6 + 0.4 c) * k + 0.3
c``: most of what is known of a constant holds whatever the code, and the code has a worth of its own.
(``tests/benchmarks/edits.py`` tells these numbers from others, and from a model of programs with the same constants
only, by less than its noise.)

*Lengths and noise* are not fitted. Three lengths and three noise levels are weighed by their evidence (with the
variance profiled out), and predictions are averaged: with a few dozen noisy scores a fitted length is mostly luck.
On tables of real trainings 12 tries of a random search over one length each did no better, at three times the cost.

*Pending* programs are taken at their predicted scores (the kriging believer of Ginsbourger et al. 2010), so
parallel slots get different proposals. *Failed* ones have no score; they lower the chance of success of what lies near.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs
from scipy.special import ndtr, ndtri

from archive.records import Direction
from archive.tree import Floats
from operators.languages.parameters import Number
from operators.numeric.search_space import ParameterRange

Key = tuple[str, str]
"""(path, name) of a constant."""

Codes = frozenset[str] | Sequence[frozenset[str]]
"""Changes of the code: those of all programs, or of each."""

LENGTHS = (0.25, 0.6, 1.5)
"""In widths of a range."""
NOISES = (0.05, 0.3, 1.5)
"""Variance of one run over the variance of the programs."""
ADDITIVE = 0.3
_SHARED = 0.6  # of what is known of constants, whatever the code
_OF_CODE = 0.3  # of the variance, where codes differ
_NEAR = LENGTHS[0]  # of failures
_SUCCESS, _FAILURE = 2.0, 0.5  # a Beta prior: programs succeed four times in five until they are seen to fail


@dataclass(frozen=True)
class Observation:
    """A known program: the values of its constants, its changes of the code, and what came of it."""

    values: Mapping[Key, Number]
    score: float | None
    """None unless it was scored."""
    runs: int = 1
    state: Literal["scored", "pending", "failed"] = "scored"
    code: frozenset[str] = frozenset()
    """Names of the changes of the code over the root's."""
    node_id: str = ""


@dataclass(frozen=True)
class Prediction:
    """What is expected of M programs, in normal scores: higher is better, 0 the median, one unit a deviation."""

    mean: Floats
    deviation: Floats
    improvement: Floats
    """Expected improvement on the best known program, times the chance that the program does not fail."""


@dataclass(frozen=True)
class Comparison:
    """What is expected of M programs beside the first of them, in normal scores."""

    mean: Floats
    deviation: Floats
    covariance: Floats
    """[M] with the first program: what is unknown of both alike cancels out of a difference."""
    chance: Floats
    """[M] that the program does not fail."""

    def differences(self) -> list[tuple[float, float]]:
        """By how much each program after the first is better than that, with the deviation of the difference."""
        gains = self.mean - self.mean[0]
        variances = np.maximum(self.deviation**2 + self.deviation[0] ** 2 - 2 * self.covariance, 1e-12)
        return list(zip(gains[1:].tolist(), np.sqrt(variances[1:]).tolist(), strict=True))


@dataclass(frozen=True)
class _Setting:
    """One length and noise with its share in the average, and the equations solved for it."""

    weight: float
    length: float
    factor: Floats
    """[N, N] Cholesky factor, lower."""
    coefficients: Floats
    scale: float
    best: float


@dataclass(frozen=True)
class _Places:
    """Where N programs lie."""

    constants: Floats
    """[D, N] in widths of the range, or the place among the values of an unordered constant; infinite without one."""
    code: Floats
    """[G, N] 1 for a change of the code that a program has, else 0."""

    def __len__(self) -> int:
        return len(self.constants.T)

    def and_then(self, others: _Places) -> _Places:
        constants = np.concatenate([self.constants, others.constants], axis=1)
        return _Places(constants, np.concatenate([self.code, others.code], axis=1))


class GpSurrogate:
    """A model of the constants of ``space`` and of code, fitted to trials. Deterministic; O(n^3) for n trials."""

    def __init__(
        self, trials: Sequence[Observation], space: Mapping[Key, ParameterRange], direction: Direction
    ) -> None:
        """Raises ValueError if fewer than two trials were scored: nothing could be compared.

        A trial may lack constants of ``space``; what else it has is not looked at.
        """
        scored = [trial for trial in trials if trial.score is not None]
        if len(scored) < 2:
            raise ValueError(f"a gene model needs at least 2 scored programs, and got {len(scored)}")
        self._space = dict(space)
        everywhere = frozenset.intersection(*(trial.code for trial in trials))
        self._changes = sorted(frozenset.union(*(trial.code for trial in trials)) - everywhere)
        self._unordered = np.array([span.unordered for span in self._space.values()])
        self._known = self._placed(scored)
        self._runs = np.array([trial.runs for trial in scored], dtype=np.float64)
        self._target = normal_scores([trial.score or 0.0 for trial in scored], direction)
        self._failed = self._placed([trial for trial in trials if trial.state == "failed"])
        pending = self._placed([trial for trial in trials if trial.state == "pending"])
        known = self._kernels(self._known, self._known)
        self.evidence = -math.inf
        """Logarithm of the scores' likelihood, but for what is the same for all models of as many scores."""
        self._settings = self._solve(known)
        if len(pending):  # believed at their predicted scores, as if they had landed
            across, among = self._kernels(pending, self._known), self._kernels(pending, pending)
            believed = self._moments(across)[0]
            self._known = self._known.and_then(pending)
            self._runs = np.concatenate([self._runs, np.ones(len(pending))])
            self._target = np.concatenate([self._target, believed])
            both = {n: np.block([[known[n], across[n].T], [across[n], among[n]]]) for n in LENGTHS}
            self._settings = self._solve(both)

    def predict(self, programs: Sequence[Mapping[Key, Number]], code: Codes = frozenset()) -> Prediction:
        """[M] predictions for M programs, each given by the values of its constants.

        ``code``: the changes of the code of all of them, or of each. Changes that no trial has, or that all have, make
        no difference.
        """
        places = self._encode(programs, _of_each(code, len(programs)))
        kernels = self._kernels(places, self._known)
        mean, deviation, improvement = self._moments(kernels)
        return Prediction(mean, deviation, improvement * self._chance(places, kernels[_NEAR]))

    def compare(self, programs: Sequence[Mapping[Key, Number]], code: Codes = frozenset()) -> Comparison:
        """M programs beside the first of them; as for ``predict``."""
        codes = _of_each(code, len(programs))
        places, base = self._encode(programs, codes), self._encode(programs[:1], codes[:1])
        known, prior = self._kernels(places, self._known), self._kernels(base, places)
        mean, square, product = np.zeros((3, len(places)))
        for setting, share, expected, variance, whitened in self._each(known):
            covariance = setting.scale * (prior[setting.length][0] - whitened[:, 0] @ whitened)
            mean += share * expected
            square += share * (variance + expected**2)
            product += share * (covariance + expected[0] * expected)
        deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
        return Comparison(mean, deviation, product - mean[0] * mean, self._chance(places, known[_NEAR]))

    # ------------------------------------------------------------ the equations

    def _placed(self, trials: Sequence[Observation]) -> _Places:
        return self._encode([trial.values for trial in trials], [trial.code for trial in trials])

    def _encode(self, programs: Sequence[Mapping[Key, Number]], codes: Sequence[frozenset[str]]) -> _Places:
        places = np.empty((len(self._space), len(programs)))
        for row, (key, span) in zip(places, self._space.items(), strict=True):
            low, high = span.bounds
            column = [values.get(key) for values in programs]
            # Most children keep most values.
            known = {v: math.inf if v is None else span.coordinate(v) for v in set(column)}
            row[:] = [known[value] for value in column]
            if not span.unordered:
                row[:] = (row - low) / (high - low)
        changes = [[name in code for code in codes] for name in self._changes]
        return _Places(places, np.array(changes, dtype=np.float64).reshape(len(self._changes), len(programs)))

    def _kernels(self, a: _Places, b: _Places) -> dict[float, Floats]:
        """By length: [N, M] covariances of N and M programs."""
        kernels = self._of_constants(a.constants, b.constants)
        if not self._changes:
            return kernels
        unlike = a.code.T @ (1 - b.code) + (1 - a.code).T @ b.code
        alike = np.exp(-0.5 * unlike)
        among = (1 - _OF_CODE) * (_SHARED + (1 - _SHARED) * alike)
        return {length: among * kernel + _OF_CODE * alike for length, kernel in kernels.items()}

    def _of_constants(self, a: Floats, b: Floats) -> dict[float, Floats]:
        """By length: [N, M] covariances by the constants ``a`` [D, N] and ``b`` [D, M] alone.

        The programs of ``a`` have most values in common, so each differs from the commonest ones in few genes: what
        those change is added to what the commonest have (to its logarithm, for the product).
        """
        if not len(a):  # nothing that programs could differ in
            return {length: np.ones((a.shape[1], b.shape[1])) for length in LENGTHS}
        middle = a.shape[1] // 2
        common = np.partition(a, middle, axis=1)[:, middle] if a.shape[1] else np.zeros(len(a))
        program, gene = np.nonzero((a != common[:, None]).T)
        has_one, first = np.unique(program, return_index=True)
        # In single precision numpy's exponential is many times faster, and six digits are plenty for what follows.
        of_common = _distance(common[:, None], b)
        of_change = _distance(a[gene, program][:, None], b[gene])
        kernels = {}
        for length in LENGTHS:
            logs = _log_correlation(of_common, self._unordered, length)
            changed = _log_correlation(of_change, self._unordered[gene], length)
            each = np.exp(logs)
            total = np.tile(each.sum(axis=0), (a.shape[1], 1))
            product = np.tile(logs.sum(axis=0), (a.shape[1], 1))
            if len(first):
                total[has_one] += np.add.reduceat(np.exp(changed) - each[gene], first, axis=0)
                product[has_one] += np.add.reduceat(changed - logs[gene], first, axis=0)
            kernel = ADDITIVE / len(a) * total + (1 - ADDITIVE) * np.exp(product)
            kernels[length] = kernel.astype(np.float64)
        return kernels

    def _solve(self, kernels: Mapping[float, Floats]) -> tuple[_Setting, ...]:
        """``kernels``: by length, [N, N] covariances of the programs that have a score or are believed to."""
        count, found = len(self._target), []
        for length, kernel in kernels.items():
            for noise in NOISES:
                noisy = kernel.copy()
                noisy[np.diag_indices(count)] += noise / self._runs
                factor, failed = dpotrf(noisy, lower=True)
                if failed:  # far outside of a range, and between having a constant and not, no kernel is certain to fit
                    continue
                coefficients, _ = dpotrs(factor, self._target, lower=True)
                scale = max(float(self._target @ coefficients) / count, 1e-9)
                evidence = -0.5 * count * np.log(scale) - float(np.log(np.diag(factor)).sum())
                best = float((kernel @ coefficients).max())
                found.append((evidence, length, factor, coefficients, scale, best))
        if not found:
            raise ArithmeticError("the gene model cannot be solved for any of its lengths and noises")
        top = max(setting[0] for setting in found)
        weights = np.exp([setting[0] - top for setting in found])
        self.evidence = float(top) + math.log(weights.sum())
        weights /= weights.sum()
        return tuple(_Setting(float(w), *rest) for w, (_, *rest) in zip(weights, found, strict=True) if w > 0.02)

    def _moments(self, kernels: Mapping[float, Floats]) -> tuple[Floats, Floats, Floats]:
        """[M] means, deviations and expected improvements, averaged over the settings.

        ``kernels``: by length, [M, N] covariances with the programs that are known.
        """
        mean, square, improvement = np.zeros((3, len(kernels[LENGTHS[0]])))
        for setting, share, expected, variance, _ in self._each(kernels):
            spread = np.sqrt(variance)
            mean += share * expected
            square += share * (spread**2 + expected**2)
            improvement += share * expected_improvement(expected, spread, setting.best)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0)), improvement

    def _each(self, kernels: Mapping[float, Floats]) -> Iterator[tuple[_Setting, float, Floats, Floats, Floats]]:
        """Each setting with its share in the average, and by it [M] means and variances and [N, M] whitened kernels."""
        total = sum(setting.weight for setting in self._settings)
        for setting in self._settings:
            kernel = kernels[setting.length]
            whitened, _ = dtrtrs(setting.factor, kernel.T, lower=True)
            variance = setting.scale * np.maximum(1.0 - (whitened * whitened).sum(axis=0), 1e-9)
            yield setting, setting.weight / total, kernel @ setting.coefficients, variance, whitened

    def _chance(self, places: _Places, kernel: Floats) -> Floats:
        """[M] chances of success: successes and failures nearby, counted by kernel, over a Beta prior."""
        if not len(self._failed):
            return np.ones(len(places))
        succeeded = kernel.sum(axis=1)
        failed = self._kernels(places, self._failed)[_NEAR].sum(axis=1)
        chance: Floats = (_SUCCESS + succeeded) / (_SUCCESS + _FAILURE + succeeded + failed)
        return chance


def _of_each(code: Codes, count: int) -> Sequence[frozenset[str]]:
    return [code] * count if isinstance(code, frozenset) else code


def _distance(a: Floats, b: Floats) -> NDArray[np.float32]:
    """Infinite between a program that has the constant and one that lacks it, 0 between two that lack it."""
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    return np.nan_to_num(distance, nan=0.0, posinf=np.inf).astype(np.float32)


def _log_correlation(distance: NDArray[np.float32], unordered: NDArray[np.bool_], length: float) -> NDArray[np.float32]:
    """[D, M] logarithms of ``k_d``; ``unordered`` [D]. Matern 5/2: ``(1 + z + z^2 / 3) exp(-z)``, z = sqrt(5) d / l."""
    lacking = np.isinf(distance)
    z = np.float32(math.sqrt(5.0) / length) * np.where(lacking, np.float32(0), distance)
    logs: NDArray[np.float32] = np.log1p(z + z * z / 3) - z
    another = lacking | ((distance > 0) & unordered[:, None])
    logs[another] = np.float32(-0.5 / length)
    return logs


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
