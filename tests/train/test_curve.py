"""Stopping by the candidate's own reports: what is stopped, and above all what is not."""

from __future__ import annotations

import numpy as np
import pytest

from archive.records import CurvePoint
from train.language_model.curve import Divergence

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
