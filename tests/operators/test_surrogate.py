"""The surrogate: its predictions, their uncertainty, and its invariances."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.proposer.surrogate import GpSurrogate, expected_improvement, normal_scores
from operators.numeric.proposer.trials import Key, Observation

A: Key = ("train.py", "A")
B: Key = ("train.py", "B")
SPACE = {A: ParameterRange(0.0, 1.0), B: ParameterRange(0, 3, integer=True, choices=(0, 1, 2, 3), unordered=True)}
WORTH = (0.0, 1.0, 0.2, 0.4)


def loss(a: float, b: int) -> float:
    return (a - 0.7) ** 2 + WORTH[b]


def trials(count: int = 40, noise: float = 0.0, seed: int = 0) -> list[Observation]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        a, b = float(rng.random()), int(rng.integers(4))
        found.append(Observation({A: a, B: b}, loss(a, b) + noise * float(rng.normal())))
    return found


def test_normal_scores_are_quantiles_of_the_ranks() -> None:
    assert normal_scores([3.0, 1.0, 2.0], "minimise") == pytest.approx([-0.967, 0.967, 0.0], abs=1e-3)
    assert normal_scores([3.0, 1.0, 2.0], "maximise") == pytest.approx([0.967, -0.967, 0.0], abs=1e-3)
    assert normal_scores([1.0, 1.0], "minimise") == pytest.approx([0.0, 0.0])


def test_expected_improvement_is_what_sampling_gives() -> None:
    drawn = np.random.default_rng(0).normal(0.3, 0.8, 400_000)
    found = expected_improvement(np.array([0.3]), np.array([0.8]), 0.5)
    assert found[0] == pytest.approx(np.maximum(drawn - 0.5, 0.0).mean(), abs=3e-3)


def test_it_orders_programs_that_nobody_has_trained() -> None:
    model = GpSurrogate(trials(noise=0.05), SPACE, "minimise")
    unseen = [{A: a, B: b} for a in np.linspace(0.03, 0.97, 12) for b in range(4)]
    true = normal_scores([loss(float(values[A]), int(values[B])) for values in unseen], "minimise")
    assert np.corrcoef(model.predict(unseen).mean, true)[0, 1] > 0.9


def test_a_monotone_change_of_the_metric_changes_nothing() -> None:
    known = trials()
    warped = [replace(trial, score=-math.exp(-3 * (trial.score or 0.0))) for trial in known]
    unseen = [{A: 0.2, B: 0}, {A: 0.9, B: 3}]
    assert GpSurrogate(known, SPACE, "minimise").predict(unseen).improvement == pytest.approx(
        GpSurrogate(warped, SPACE, "minimise").predict(unseen).improvement
    )


def test_names_have_no_neighbours_and_amounts_have() -> None:
    """A good value speaks for what is near it, and for no other name."""
    known = [Observation({A: a, B: 0}, (a - 0.5) ** 2) for a in np.linspace(0.0, 1.0, 9)]
    known += [Observation({A: 0.5, B: 1}, -1.0)]
    mean = GpSurrogate(known, SPACE, "minimise").predict([{A: 0.5, B: b} for b in (0, 1, 2, 3)]).mean
    assert mean[1] == max(mean)
    assert mean[2] == pytest.approx(mean[3])


def test_what_is_unknown_is_less_sure_and_more_runs_are_surer() -> None:
    known = [Observation({A: a, B: 0}, a) for a in (0.1, 0.15, 0.2, 0.25)]
    far = GpSurrogate(known, SPACE, "minimise").predict([{A: 0.15, B: 0}, {A: 0.9, B: 2}]).deviation
    assert far[1] > 1.2 * far[0]
    often = [replace(trial, runs=16) for trial in known]
    assert GpSurrogate(often, SPACE, "minimise").predict([{A: 0.15, B: 0}]).deviation[0] < far[0]


def test_failures_nearby_lower_what_is_hoped_for() -> None:
    known = trials()
    failures = [Observation({A: 0.7 + 0.01 * i, B: 0}, None, state="failed") for i in range(-4, 5)]
    here = [{A: 0.7, B: 0}, {A: 0.1, B: 1}]
    before = GpSurrogate(known, SPACE, "minimise").predict(here)
    after = GpSurrogate([*known, *failures], SPACE, "minimise").predict(here)
    assert after.improvement[0] < 0.75 * before.improvement[0]
    assert after.mean == pytest.approx(before.mean)
    assert after.improvement[1] > 0.8 * before.improvement[1]


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 scored programs, and got 1"):
        GpSurrogate([*trials(1), Observation({A: 0.0, B: 0}, None, state="failed")], SPACE, "minimise")


def test_scores_that_are_all_equal_and_many_equal_programs_are_no_trouble() -> None:
    same = [Observation({A: 0.5, B: 1}, 2.0)] * 30
    found = GpSurrogate(same, SPACE, "minimise").predict([{A: 0.5, B: 1}, {A: 0.1, B: 0}])
    assert np.isfinite(found.improvement).all()


def test_a_program_that_lacks_a_constant_still_tells_of_the_others() -> None:
    lacking = [Observation({A: trial.values[A]}, trial.score) for trial in trials(20) if trial.values[B] == 0]
    model = GpSurrogate([*trials(6, seed=5), *lacking], SPACE, "minimise")
    near, far = model.predict([{A: 0.7, B: 0}, {A: 0.05, B: 0}]).mean
    assert near > far


def test_settings_that_cannot_be_solved_are_left_out() -> None:
    """Programs far outside of the range, run often, beside ones that lack the constant: no valid covariance for all."""
    far = [Observation({A: 20.0 * i, B: 0}, float(i % 3), runs=2000) for i in range(30)]
    lacking = [Observation({B: 0}, 1.0, runs=2000)] * 3
    model = GpSurrogate([*far, *lacking], SPACE, "minimise")
    found = model.predict([trial.values for trial in far]).mean
    wanted = normal_scores([trial.score or 0.0 for trial in far], "minimise")
    assert np.corrcoef(found, wanted)[0, 1] > 0.9, "what was run 2,000 times is known"


def test_programs_that_differ_little_are_compared_more_surely_than_each_is_known() -> None:
    model = GpSurrogate(trials(12, noise=0.3), SPACE, "minimise")
    programs = [{A: 0.9, B: 3}, {A: 0.9, B: 3}, {A: 0.85, B: 3}, {A: 0.1, B: 0}]
    gains, alone = model.gains(programs), model.predict(programs)
    assert [gain for gain, _ in gains] == pytest.approx((alone.mean - alone.mean[0])[1:])
    same, near, far = (deviation for _, deviation in gains)
    assert same == pytest.approx(0.0, abs=1e-3)
    assert near**2 < 0.5 * alone.deviation[2] ** 2
    assert near < far
