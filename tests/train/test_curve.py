"""Stopping by the candidate's own reports: what is stopped, and above all what is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from archive.records import CurvePoint
from train.language_model.curve import Divergence, MedianRule, baseline_pace

BUDGET = 10.0


def curve(losses: list[float], budget: float = BUDGET) -> list[CurvePoint]:
    """Reports at equal times over the whole budget."""
    return [CurvePoint(i + 1, budget * (i + 1) / len(losses), loss) for i, loss in enumerate(losses)]


def stopped_at(losses: list[float]) -> int | None:
    """After how many reports the run would be stopped."""
    points = curve(losses)
    found = (n for n in range(1, len(points) + 1) if Divergence().reason(points[:n], BUDGET))
    return next(found, None)


def honest(kind: str) -> list[float]:
    rng = np.random.default_rng(3)
    falling = 2.0 + 3.5 * np.exp(-np.arange(200) / 30.0)
    return {
        "falling": falling,
        "noisy": falling * rng.lognormal(0.0, 0.6, 200),
        "heavy-tailed": falling * (1 + rng.pareto(1.5, 200)),
        "warm-up bump": falling + 25.0 * np.exp(-((np.arange(200) - 8) ** 2) / 8.0),
        "early bump": np.where(np.arange(200) < 15, 30.0, falling),
        "single spikes": np.where(np.arange(200) % 7 == 3, 1000.0, falling),
        "rising a little": 2.0 + np.arange(200) / 60.0,
        "negative": -falling,
        "through zero": np.linspace(0.01, -5.0, 200),
        "negative and exploding": -np.exp(np.arange(200) / 20.0),
        "flat": np.full(200, 5.5),
    }[kind].tolist()


@pytest.mark.parametrize(
    "kind",
    [
        *("falling", "noisy", "heavy-tailed", "warm-up bump", "early bump", "single spikes", "rising a little"),
        *("negative", "through zero", "negative and exploding", "flat"),
    ],
)
def test_an_honest_curve_is_not_stopped(kind: str) -> None:
    assert stopped_at(honest(kind)) is None


def test_a_loss_that_explodes_is_stopped_with_numbers() -> None:
    losses = [5.5] * 40 + [40.0] * 160
    assert stopped_at(losses) == 51  # when more than half of the last 20 are bad
    reason = Divergence().reason(curve(losses), BUDGET)
    assert reason is not None
    assert "the median of its last 20 reported losses is 40 at step 200, 7.3 times that of its first 5 (5.5)" in reason


def test_any_unit_will_do() -> None:
    for unit in (1e-9, 1.0, 1e9):
        assert stopped_at([unit * loss for loss in [5.5] * 40 + [40.0] * 160]) == 51


def test_nothing_is_said_of_the_first_tenth_of_the_budget() -> None:
    points = curve([1.0] * 5 + [100.0] * 995)
    assert Divergence().reason(points[:99], BUDGET) is None
    assert Divergence().reason(points[:100], BUDGET) is not None


def test_few_reports_say_nothing() -> None:
    assert stopped_at([1.0] * 5 + [100.0] * 19) is None
    assert stopped_at([1.0] * 5 + [100.0] * 20) == 25


# ---------------------------------------------------------------- the median rule

FALLING = [2.0 + 3.5 * math.exp(-i / 60.0) for i in range(200)]
PACE = baseline_pace(
    [curve(FALLING), curve([1.05 * loss for loss in FALLING]), curve([0.95 * loss for loss in FALLING])], 10.0
)


def slow(factor: float) -> list[CurvePoint]:
    return curve([factor * loss for loss in FALLING])


def behind_at(points: list[CurvePoint], rule: MedianRule | None = None) -> float | None:
    """The share of the budget at which the run would be stopped."""
    rule = rule or MedianRule()
    found = (n for n in range(1, len(points) + 1) if rule.reason(points[:n], PACE, BUDGET))
    return next((points[n - 1].elapsed / BUDGET for n in found), None)


def test_the_pace_is_the_median_of_smoothed_runs() -> None:
    assert [point.elapsed for point in PACE] == pytest.approx([0.25 * i for i in range(2, 41)])
    for point in PACE:
        window = [p.loss for p in curve(FALLING) if point.elapsed - 0.5 < p.elapsed <= point.elapsed - 0.25]
        assert point.loss == pytest.approx(float(np.median(window)))


def test_no_run_no_pace() -> None:
    assert baseline_pace([], BUDGET) == ()
    assert baseline_pace([[], curve(FALLING)], BUDGET) == ()
    assert MedianRule().reason(slow(9.0), (), BUDGET) is None


def test_a_run_far_behind_is_stopped_and_never_before_30_percent() -> None:
    assert behind_at(slow(1.5)) == pytest.approx(0.3)
    reason = MedianRule().reason(slow(1.5), PACE, BUDGET)
    assert reason is not None
    assert "far behind the baseline" in reason
    assert "10%" in reason


def test_a_run_within_the_margin_goes_on() -> None:
    assert behind_at(slow(1.09)) is None
    assert behind_at(slow(1.09), MedianRule(margin=0.02)) is not None
    assert behind_at(slow(0.5)) is None


def test_a_late_bloomer_goes_on() -> None:
    """Worse until 25%, better afterwards."""
    late = [3.0 * loss if i < 50 else 0.9 * loss for i, loss in enumerate(FALLING)]
    assert behind_at(curve(late)) is None


def test_few_reports_or_negative_losses_say_nothing() -> None:
    assert behind_at(slow(1.5)[::12]) is None
    negative = baseline_pace([curve([-loss for loss in FALLING])], BUDGET)
    assert MedianRule().reason(slow(1.5), negative, BUDGET) is None


def test_the_rule_cannot_be_set_earlier() -> None:
    with pytest.raises(ValueError, match=r"from 0\.3 to 1"):
        MedianRule(after=0.1)
    with pytest.raises(ValueError, match="margin is -1"):
        MedianRule(margin=-1.0)
