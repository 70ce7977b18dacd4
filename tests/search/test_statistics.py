"""Intervals against scipy's own, against hand-made numbers, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

from archive.difference import Difference, paired_sampling, welch
from archive.interval import Interval, NoInterval, mean_interval
from search.claims.statistics import expected_best_of


@pytest.mark.parametrize(("n_b", "n_c", "spread"), [(2, 2, 1.0), (4, 4, 1.0), (3, 7, 5.0), (2, 9, 0.1)])
@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_welch_is_scipys(n_b: int, n_c: int, spread: float, direction: str) -> None:
    rng = np.random.default_rng(7)
    baseline, champion = rng.normal(3.4, 0.01, n_b), rng.normal(3.3, 0.01 * spread, n_c)
    ours = welch(list(baseline), list(champion), direction)
    sides = (baseline, champion) if direction == "minimise" else (champion, baseline)
    theirs = ttest_ind(*sides, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert isinstance(ours, Difference)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert ours.dof == pytest.approx(theirs.df)
    assert ours.gain == pytest.approx(sides[0].mean() - sides[1].mean())
    assert ours.significant == (theirs.pvalue < 0.05 and theirs.statistic > 0)


def sides_by_window(
    rng: np.random.Generator, windows: int, gain: float, runs: int = 4
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two programs' scores by window: noise of the seeds, of the windows for each program, and of both together."""
    text = rng.normal(3.0, 2.0, windows)
    sides = (text - each + rng.normal(0, 0.6, windows) for each in (0.0, gain))
    base, champion = ([s + rng.normal(0, 0.01) + rng.normal(0, 0.6, windows) for _ in range(runs)] for s in sides)
    return base, champion


def test_the_interval_covers_the_choice_of_positions() -> None:
    """Without the windows' part it covers far less than 95%: all runs share the positions, so their spread is small."""
    rng, tries, alone, together = np.random.default_rng(3), 400, 0, 0
    for _ in range(tries):
        sides = sides_by_window(rng, windows=300, gain=0.1)
        means = [[float(run.mean()) for run in side] for side in sides]
        for sampling in (None, paired_sampling(*sides)):
            found = welch(*means, "minimise", 0.95, sampling)
            assert isinstance(found, Difference)
            covers = found.low <= 0.1 <= found.high
            alone, together = (alone + covers, together) if sampling is None else (alone, together + covers)
    assert alone / tries < 0.85
    assert together / tries > 0.95 - 3 * math.sqrt(0.05 * 0.95 / tries)


def test_equal_runs_still_have_the_error_of_their_positions() -> None:
    windows = [np.array([3.0, 1.0, 2.0, 4.0])] * 2
    sampling = paired_sampling(windows, [w - np.array([0.0, 1.0, 0.0, 1.0]) for w in windows])
    assert sampling is not None
    assert sampling.standard_error == pytest.approx(math.sqrt(1 / 3 / 4))
    found = welch([2.5, 2.5], [2.0, 2.0], "minimise", sampling=sampling)
    assert isinstance(found, Difference)
    assert (found.dof, found.note) == (3.0, "")
    assert found.standard_error == sampling.standard_error
    assert not found.significant
    assert paired_sampling([], windows) is None


def test_a_gain_is_positive_where_the_champion_is_better() -> None:
    low, high = [1.0, 1.1, 0.9], [2.0, 2.1, 1.9]
    for direction, better, worse in (("minimise", low, high), ("maximise", high, low)):
        up, down = welch(worse, better, direction), welch(better, worse, direction)
        assert isinstance(up, Difference)
        assert isinstance(down, Difference)
        assert up.gain == pytest.approx(1.0)
        assert up.significant
        assert not down.significant
        assert down.high < 0


def test_one_steady_side_is_no_division_by_zero() -> None:
    difference = welch([1.0, 1.0, 1.0], [0.5, 0.6, 0.7], "minimise")
    assert isinstance(difference, Difference)
    assert difference.dof == pytest.approx(2)  # of the side that varies
    assert not difference.note


def test_no_variance_at_all_is_said() -> None:
    difference = welch([1.0, 1.0], [0.5, 0.5], "minimise")
    assert isinstance(difference, Difference)
    assert (difference.low, difference.gain, difference.high) == (0.5, 0.5, 0.5)
    assert "no width" in difference.note
    assert difference.significant


def test_rounding_is_not_a_gain() -> None:
    difference = welch([0.1 + 0.2] * 2, [0.3] * 2, "minimise")
    assert isinstance(difference, Difference)
    assert difference.gain == 0
    assert not difference.significant


def test_tiny_scores_keep_their_degrees_of_freedom() -> None:
    difference = welch([1e-160, 2e-160, 3e-160], [1e-160, 2e-160, 3e-160], "minimise")
    assert isinstance(difference, Difference)
    assert math.isfinite(difference.dof)


@pytest.mark.parametrize(
    ("baseline", "champion", "words"),
    [
        ([1.0], [1.0, 2.0], "the baseline has 1 score"),
        ([1.0, 2.0], [], "the champion has 0 score"),
        ([1.0, math.nan], [1.0, 2.0], "not a finite number"),
    ],
)
def test_too_little_data_gives_a_reason(baseline: list[float], champion: list[float], words: str) -> None:
    answer = welch(baseline, champion, "minimise")
    assert isinstance(answer, NoInterval)
    assert words in answer.reason


@pytest.mark.parametrize("sizes", [(4, 4), (2, 2), (2, 6)])
def test_welch_covers(sizes: tuple[int, int]) -> None:
    """With four runs a side the interval covers in 95%; with two, Welch is known to be wide, never narrow."""
    rng = np.random.default_rng(3)
    trials = 2000
    inside = 0
    for _ in range(trials):
        difference = welch(list(rng.normal(0.7, 1.0, sizes[0])), list(rng.normal(0, 2.0, sizes[1])), "minimise")
        assert isinstance(difference, Difference)
        inside += difference.low <= 0.7 <= difference.high
    assert 0.935 <= inside / trials <= (0.985 if 2 in sizes else 0.965)


def test_mean_interval_is_students() -> None:
    scores = [3.41, 3.43, 3.40, 3.42]
    ours = mean_interval(scores)
    theirs = ttest_1samp(scores, 0).confidence_interval(0.95)
    assert isinstance(ours, Interval)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))
    assert ours.deviation == pytest.approx(np.std(scores, ddof=1))
    assert isinstance(mean_interval([3.4]), NoInterval)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval(scores, confidence=95)


def test_expected_best_of_equal_candidates() -> None:
    assert expected_best_of(1) == pytest.approx(0, abs=1e-9)
    assert expected_best_of(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert expected_best_of(100) == pytest.approx(2.5076, abs=1e-4)
    draws = np.random.default_rng(0).normal(size=(20_000, 12)).max(axis=1)
    assert expected_best_of(12) == pytest.approx(draws.mean(), abs=0.02)
    with pytest.raises(ValueError, match="at least 1"):
        expected_best_of(0)
