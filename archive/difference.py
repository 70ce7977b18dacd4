"""The difference of two sides: Welch's interval over seeds, with the error of cases or text positions, paired.

    cases   seeds a side   interval of the gain
    none    2 or more      Welch's t over the seeds
    common  2 or more      the same, with the variance of the gains by case over the cases as a third part
    common  1              Student's t of the gains by case; seeds are not in it, as the note says
    any     deterministic  none: the difference is exact on these cases

Scores of one side that were made on different text, in stages, are compared within their stage (``welch_in_stages``).

Of several seeds a case has one gain, the difference of the sides' means: cases are the clusters. Pure functions; gains
are positive where the champion is better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.interval import CONFIDENCE, ROUNDING, Interval, NoInterval, deviation, mean_interval, quantile
from archive.records import Direction, Evaluation, Scored
from prepare.output import many

Floats = NDArray[np.float64]
Sampled = Literal["secret positions", "cases"]
"""What a score is a mean over."""
CASES: Sampled = "cases"


@dataclass(frozen=True)
class Measurement:
    """One evaluation of a side."""

    score: float
    cases: Mapping[str, float] = field(default_factory=dict)
    """Score by case; empty for a task without cases."""


def measurements(evaluations: Iterable[Evaluation]) -> list[Measurement]:
    """Return the scored ones of some evaluations, with their scores by case."""
    scored = (e for e in evaluations if isinstance(e, Scored))
    return [Measurement(e.score, {case.case: case.value for case in e.cases}) for e in scored]


@dataclass(frozen=True)
class Sampling:
    """The error of a difference that both sides' scores owe to the choice of text positions or cases."""

    windows: int
    standard_error: float
    what: Sampled = "secret positions"


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
    """The part of the error that comes from the choice of text positions or cases; None where there are none."""

    @property
    def cases(self) -> int:
        """Number of cases that were paired; 0 without scores by case."""
        return self.sampling.windows if self.sampling is not None and self.sampling.what == CASES else 0

    @property
    def significant(self) -> bool:
        """True if the champion is better and the interval excludes zero."""
        return self.low > 0


def compare(
    baseline: Sequence[Measurement],
    champion: Sequence[Measurement],
    direction: Direction,
    confidence: float = CONFIDENCE,
    *,
    deterministic: bool = False,
) -> Difference | NoInterval:
    """Return the champion's gain over the baseline, paired by the cases that all evaluations have (see this module)."""
    if len(names := _common([*baseline, *champion])) < 2:
        before, after = ([each.score for each in side] for side in (baseline, champion))
        sampling = None
    else:
        by_case = [[np.array([each.cases[name] for name in names]) for each in side] for side in (baseline, champion)]
        before, after = ([float(values.mean()) for values in side] for side in by_case)
        sampling = paired_sampling(by_case[0], by_case[1], CASES)
    if deterministic and before and after:
        return exact(before, after, direction, confidence, sampling)
    if sampling is not None and min(len(before), len(after)) == 1:
        gains = gains_by_case(baseline, champion, direction)
        return replace(over_cases(gains, before, after, confidence), note=_ONE_SEED)
    return welch(before, after, direction, confidence, sampling)


_ONE_SEED = "one seed on a side: the spread between seeds is not in the interval"


def gains_by_case(
    baseline: Sequence[Measurement], champion: Sequence[Measurement], direction: Direction
) -> dict[str, float]:
    """Return the gain on each case that all evaluations have: the difference of the means over the seeds."""
    return {
        name: _gain([each.cases[name] for each in baseline], [each.cases[name] for each in champion], direction)
        for name in _common([*baseline, *champion])
    }


def _common(every: Sequence[Measurement]) -> list[str]:
    """Return the names of the cases that all evaluations have."""
    return [name for name in every[0].cases if all(name in each.cases for each in every)] if every else []


def over_cases(
    gains: Mapping[str, float], before: Sequence[float], after: Sequence[float], confidence: float = CONFIDENCE
) -> Difference:
    """Return Student's interval of the mean gain by case, which counts the cases as a random sample.

    Raises ValueError for fewer than 2 cases.
    """
    found = mean_interval(list(gains.values()), confidence)
    if not isinstance(found, Interval):
        raise ValueError(f"the gains on {many(len(gains), 'case')} were given; expected at least 2")
    error = found.deviation / math.sqrt(found.n)
    return Difference(
        found.mean, found.low, found.high, found.n - 1, error, confidence, float(np.mean(before)),
        float(np.mean(after)), len(before), len(after), sampling=Sampling(found.n, error, CASES),
    )  # fmt: skip


def exact(
    before: Sequence[float],
    after: Sequence[float],
    direction: Direction,
    confidence: float = CONFIDENCE,
    sampling: Sampling | None = None,
) -> Difference:
    """Return the champion's gain where neither seeds nor cases are a sample: its interval has no width."""
    gain, means = _gain(before, after, direction), (float(np.mean(before)), float(np.mean(after)))
    found = Difference(gain, gain, gain, math.inf, 0.0, confidence, *means, len(before), len(after))
    return found if sampling is None else replace(found, sampling=replace(sampling, standard_error=0.0))


def _gain(before: Sequence[float], after: Sequence[float], direction: Direction) -> float:
    gain = float(np.mean(before)) - float(np.mean(after))
    return gain if direction == "minimise" else -gain


def paired_sampling(
    baseline: Sequence[Floats], champion: Sequence[Floats], what: Sampled = "secret positions"
) -> Sampling | None:
    """Return the sampling error of the difference of two sides whose runs were all scored in the same windows [N].

    The variance over windows of ``d_w``, the difference of the sides' mean scores in window w, divided by N: the
    windows count as a random sample of the text, or of the cases. They are common to all runs, so the scores' deviation
    over seeds does not show this error. (The part of ``d_w`` that differs between seeds is in both: the sum is too wide
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
    return welch_in_stages([ScoreStage(baseline, champion, sampling)], direction, confidence)


@dataclass(frozen=True)
class ScoreStage:
    """The scores of both sides that were made on the same text or cases."""

    baseline: Sequence[float]
    champion: Sequence[float]
    sampling: Sampling | None = None

    @property
    def information(self) -> float:
        """The weight of the stage's gain: the inverse of its variance, in units of that of one score."""
        return 1 / (1 / len(self.baseline) + 1 / len(self.champion))


def welch_in_stages(
    stages: Sequence[ScoreStage], direction: Direction, confidence: float = CONFIDENCE
) -> Difference | NoInterval:
    """Return Welch's interval of the mean of the stages' gains, weighted by the number of runs behind them.

    Scores are compared within a stage only, so that its text may be harder than another's: each side's variance is
    pooled over the stages, with ``sum (n - 1)`` degrees of freedom. For one stage this is ``welch``, as is the result.
    """
    for side in ("baseline", "champion"):
        scores = [score for stage in stages for score in getattr(stage, side)]
        if len(scores) < 1 + len(stages):
            return NoInterval(f"the {side} has {many(len(scores), 'score')}; an interval needs at least 2 on each side")
        if not np.isfinite(scores).all():
            return NoInterval(f"the {side} has a score that is not a finite number")
    total = sum(stage.information for stage in stages)
    shares = [stage.information / total for stage in stages]
    mean_b, v_b, dof_b = _pooled([stage.baseline for stage in stages], shares)
    mean_c, v_c, dof_c = _pooled([stage.champion for stage in stages], shares)
    gain = mean_b - mean_c if direction == "minimise" else mean_c - mean_b
    parts, sampling = [(v_b, dof_b), (v_c, dof_c)], _joint_sampling(stages, shares)
    if sampling is not None:
        parts.append((sampling.standard_error**2, sampling.windows - 1))
    variance = sum(part for part, _ in parts)
    dof, note = float(dof_b + dof_c), "no run differs from another on either side, so the interval has no width"
    if variance > 0:
        relative = ((part / variance, own) for part, own in parts)  # so that tiny variances do not underflow if squared
        dof, note = 1 / sum(share**2 / own for share, own in relative), ""
    elif math.isclose(mean_b, mean_c, rel_tol=ROUNDING):
        gain = 0.0
    error = math.sqrt(variance)
    half = quantile(confidence, dof) * error
    counts = sum(len(stage.baseline) for stage in stages), sum(len(stage.champion) for stage in stages)
    return Difference(gain, gain - half, gain + half, dof, error, confidence, mean_b, mean_c, *counts, note, sampling)


def _pooled(scores: Sequence[Sequence[float]], shares: Sequence[float]) -> tuple[float, float, int]:
    """Return a side's mean over the stages, the variance of that mean, and its degrees of freedom."""
    dof = sum(len(own) - 1 for own in scores)
    squares = sum((deviation(own) or 0.0) ** 2 * (len(own) - 1) for own in scores)
    mean = sum(share * float(np.mean(own)) for share, own in zip(shares, scores, strict=True))
    return mean, squares / dof * sum(w**2 / len(own) for w, own in zip(shares, scores, strict=True)), dof


def _joint_sampling(stages: Sequence[ScoreStage], shares: Sequence[float]) -> Sampling | None:
    """Return the sampling error of the weighted mean of stages that have no window or case in common."""
    known = [(stage.sampling, w) for stage, w in zip(stages, shares, strict=True) if stage.sampling is not None]
    if not known:
        return None
    error = math.sqrt(sum((w * sampling.standard_error) ** 2 for sampling, w in known))
    return Sampling(sum(sampling.windows for sampling, _ in known), error, known[0][0].what)
