"""Statistics of a few noisy scores: seed deviation, intervals, and the difference of two sides.

Pure functions. Where the data allow no conclusion they return ``NoInterval`` with the reason in words, never a number
that looks like one. Scores are in the unit of the metric; gains are positive where the champion is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, nctdtr  # scipy.stats has the same, and takes half a second to import

from archive.interval import CONFIDENCE as CONFIDENCE
from archive.interval import ROUNDING, quantile
from archive.interval import Interval as Interval
from archive.interval import NoInterval as NoInterval
from archive.interval import deviation as deviation
from archive.interval import mean_interval as mean_interval
from archive.noise import SeedDeviation as SeedDeviation
from archive.noise import estimate
from archive.records import Direction, Purpose, Scored
from archive.tree import Tree

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """The error of a difference that both sides' scores owe to the choice of text positions."""

    windows: int
    standard_error: float
    what: str = "secret positions"
    """What the windows are, for the user."""


@dataclass(frozen=True)
class Difference:
    """The champion's mean gain over the baseline, with its interval."""

    gain: float
    """Difference of the means, positive where the champion is better."""
    low: float
    high: float
    dof: float
    """Welch-Satterthwaite degrees of freedom."""
    standard_error: float
    confidence: float
    baseline_mean: float
    champion_mean: float
    baseline_n: int
    champion_n: int
    note: str = ""
    """A caveat about the interval; empty in the ordinary case."""
    sampling: Sampling | None = None
    """The part of the error that comes from the choice of text positions; None where all positions are scored."""

    @property
    def significant(self) -> bool:
        """True if the champion is better and the interval excludes zero."""
        return self.low > 0


def seed_deviation(tree: Tree, before: float = math.inf) -> SeedDeviation | None:
    """Estimate the seed deviation from all comparable repeats of the run; None before the second run of any node.

    Screenings, confirmations and reports are pooled (``archive.noise``); suspects are left out. ``before``: evaluations
    for claims count only if their move has a lower number.
    """
    return estimate(repeats(tree, before), tree.noise_prior)


def repeats(tree: Tree, before: float = math.inf) -> Iterator[list[float]]:
    """Yield the scores of each program for one purpose, those for a claim by the positions that judged them."""
    for node_id in tree.repeated:
        if tree.suspect(node_id):
            continue
        groups: dict[tuple[Purpose, str | None], list[float]] = {}
        for e in tree.evaluations[node_id]:
            purpose = e.request.purpose
            if not isinstance(e, Scored) or e.conditions != tree.conditions:
                continue
            if purpose == "screen" or e.request.move < before:
                positions = None if e.windows is None else e.windows.position_set
                groups.setdefault((purpose, positions), []).append(e.score)
        yield from (scores for scores in groups.values() if len(scores) > 1)


def expects(scores: Sequence[float], runs: int, confidence: float = CONFIDENCE) -> Interval | NoInterval:
    """Return the prediction interval of the mean of ``runs`` more runs: ``mean +- t(n - 1) s sqrt(1/n + 1/runs)``.

    Of a normal sample (Hahn and Meeker, "Statistical Intervals"). Raises ValueError for
    ``runs`` below 1.
    """
    if runs < 1:
        raise ValueError(f"the mean of {runs} runs was asked for; expected at least 1")
    known = mean_interval(scores, confidence)
    if isinstance(known, NoInterval):
        return known
    half = quantile(confidence, known.n - 1) * known.deviation * math.sqrt(1 / known.n + 1 / runs)
    return Interval(known.mean, known.mean - half, known.mean + half, known.deviation, known.n, confidence)


def paired_sampling(
    baseline: Sequence[Floats], champion: Sequence[Floats], what: str = "secret positions"
) -> Sampling | None:
    """Return the sampling error of the difference of two sides whose runs were all scored in the same windows [N].

    The variance over windows of ``d_w``, the difference of the sides' mean scores in window w, divided by N: the
    windows count as a random sample of the text. Text positions are common to all runs, so the scores' deviation over
    seeds does not show this error. (The part of ``d_w`` that differs between seeds is in both: the sum is too wide
    rather than too narrow.) None without scores by window, and for a single one.
    """
    if not baseline or not champion:
        return None
    difference = np.mean(np.stack(baseline), axis=0) - np.mean(np.stack(champion), axis=0)
    if len(difference) < 2:
        return None
    return Sampling(len(difference), float(difference.std(ddof=1)) / math.sqrt(len(difference)), what)


def welch(
    baseline: Sequence[float],
    champion: Sequence[float],
    direction: Direction,
    confidence: float = CONFIDENCE,
    sampling: Sampling | None = None,
) -> Difference | NoInterval:
    """Return the champion's gain over the baseline with the two-sided interval of Welch's t.

    ``gain +- t(dof) * se``, ``se^2 = v_b + v_c`` with ``v = s^2 / n`` of each side, and the Welch-Satterthwaite
    ``dof = se^4 / (v_b^2 / (n_b - 1) + v_c^2 / (n_c - 1))``. The sides need not share a variance or a size.
    Source: Welch (1947), "The generalization of 'Student's' problem when several different population variances are
    involved"; Satterthwaite (1946). ``sampling`` adds a third variance, with N - 1 degrees of freedom.

    ``NoInterval`` with fewer than 2 scores on a side, or a score that is not finite. Where neither side varies the
    interval has no width and ``note`` says so: expected of a deterministic task, suspicious for any other.
    """
    for side, scores in (("baseline", baseline), ("champion", champion)):
        if len(scores) < 2:
            return NoInterval(f"the {side} has {len(scores)} score(s); an interval needs at least 2 on each side")
        if not np.isfinite(scores).all():
            return NoInterval(f"the {side} has a score that is not a finite number")
    n_b, n_c = len(baseline), len(champion)
    v_b, v_c = (deviation(baseline) or 0.0) ** 2 / n_b, (deviation(champion) or 0.0) ** 2 / n_c
    mean_b, mean_c = float(np.mean(baseline)), float(np.mean(champion))
    gain = mean_b - mean_c if direction == "minimise" else mean_c - mean_b
    parts = [(v_b, n_b - 1), (v_c, n_c - 1)]
    if sampling is not None:
        parts.append((sampling.standard_error**2, sampling.windows - 1))
    variance = sum(part for part, _ in parts)
    dof, note = float(n_b + n_c - 2), "no run differs from another on either side, so the interval has no width"
    if variance > 0:
        shares = ((part / variance, own) for part, own in parts)  # so that tiny variances do not underflow when squared
        dof, note = 1 / sum(share**2 / own for share, own in shares), ""
    elif math.isclose(mean_b, mean_c, rel_tol=ROUNDING):
        gain = 0.0
    error = math.sqrt(variance)
    half = quantile(confidence, dof) * error
    return Difference(gain, gain - half, gain + half, dof, error, confidence, mean_b, mean_c, n_b, n_c, note, sampling)


def power(gain: float, runs: int, confidence: float = CONFIDENCE) -> float:
    """Return the probability that a claim with ``runs`` per side detects a gain of so many sigma.

    ``P(T' > t(dof))`` for the noncentral t with ``dof = 2 (runs - 1)`` and noncentrality ``gain * sqrt(runs / 2)``.
    Source: the power of the two-sample t test (Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions",
    chapter 31; Cohen, "Statistical Power Analysis"). That is Student's test; Welch's has less (simulated: up to 0.10
    with three runs a side, 0.05 with four, 0.01 with eight). Raises ValueError for fewer than 2 runs.
    """
    if runs < 2:
        raise ValueError(f"the power of a claim with {runs} runs a side was asked for; expected at least 2")
    dof = 2.0 * (runs - 1)
    return 1.0 - float(nctdtr(dof, min(gain, 1e3) * math.sqrt(runs / 2), quantile(confidence, dof)))


def runs_for(gain: float, wanted: float, most: int, confidence: float = CONFIDENCE) -> int:
    """Return the fewest runs per side that detect a gain of so many sigma with ``wanted`` power, from 2 to ``most``."""
    return next((runs for runs in range(2, most) if power(gain, runs, confidence) >= wanted), max(2, most))


def expected_best_of(n: int) -> float:
    """Return the expected maximum of n standard normal draws: the apparent gain of the best of n equal candidates.

    ``E[max] = int_0^inf (1 - F(x)^n) dx - int_-inf^0 F(x)^n dx`` for the standard normal F: 1.63 for 12, 2.51 for 100.
    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"the best of {n} candidates was asked for; expected at least 1")
    from scipy.integrate import quad  # needed here alone, a quarter of a second

    above = quad(lambda x: -math.expm1(n * float(log_ndtr(x))), 0, 12)[0]
    below = quad(lambda x: math.exp(n * float(log_ndtr(x))), -12, 0)[0]
    return float(above - below)
