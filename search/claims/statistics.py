"""Statistics of a few noisy scores: seed deviation, intervals, and the power of a claim.

Pure functions. Where the data allow no conclusion they return ``NoInterval`` with the reason in words, never a number
that looks like one. Scores are in the unit of the metric. The difference of two sides is in ``archive.difference``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from archive.interval import CONFIDENCE, Interval, NoInterval, mean_interval, quantile
from archive.noise import SeedDeviation, estimate
from archive.records import Purpose, Scored
from archive.tree import Tree


def seed_deviation(tree: Tree, before: float = math.inf) -> SeedDeviation | None:
    """Estimate the seed deviation from all comparable repeats of the run; None before the second run of any node.

    Screenings, confirmations and reports are pooled (``archive.noise``); suspects are left out. ``before``: evaluations
    for claims count only if their move has a lower number.
    """
    if before < math.inf:
        return estimate(repeats(tree, before), tree.noise_prior)
    with tree.lock:  # asked several times a move, and a large tree has thousands of repeats
        if "seed_deviation" not in tree.of_repeats:
            tree.of_repeats["seed_deviation"] = estimate(repeats(tree), tree.noise_prior)
        found: SeedDeviation | None = tree.of_repeats["seed_deviation"]
    return found


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


def power(gain: float, runs: int, confidence: float = CONFIDENCE, stages: int = 1) -> float:
    """Return the probability that a claim with ``runs`` per side detects a gain of so many sigma.

    ``P(T' > t(dof))`` for the noncentral t with ``dof = 2 (runs - 1)`` and noncentrality ``gain * sqrt(runs / 2)``.
    ``stages``: of runs that are compared among themselves alone; each takes a degree of freedom from both sides.
    Source: the power of the two-sample t test (Johnson, Kotz and Balakrishnan, "Continuous Univariate Distributions",
    chapter 31; Cohen, "Statistical Power Analysis"). That is Student's test; Welch's has less (simulated: up to 0.10
    with three runs a side, 0.05 with four, 0.01 with eight). Raises ValueError for fewer than 2 runs.
    """
    if runs < 2:
        raise ValueError(f"the power of a claim with {runs} runs a side was asked for; expected at least 2")
    from scipy.special import nctdtr  # a quarter of a second to import (scipy.stats: half)

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
    from scipy.special import log_ndtr

    above = quad(lambda x: -math.expm1(n * float(log_ndtr(x))), 0, 12)[0]
    below = quad(lambda x: math.exp(n * float(log_ndtr(x))), -12, 0)[0]
    return float(above - below)
