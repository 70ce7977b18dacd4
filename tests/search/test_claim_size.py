"""How many runs a claim gets: the power of the test that it ends with, sigma, and what the budget can pay."""

from __future__ import annotations

import math

import numpy as np
import pytest
from growing import Growth

from archive.difference import Difference, welch
from archive.noise import NoisePrior
from archive.records import Replicate
from search.claims.claim import NoClaim, fit, sized
from search.claims.statistics import power, runs_for, seed_deviation
from search.config import LEAST_SEEDS, ClaimPlan
from search.settings import config_for


def noisy_root(sigma: float) -> Growth:
    """A root whose three runs deviate by exactly ``sigma``, of a task that states 0.03 as its smallest gain."""
    growth = Growth()
    growth.tree.noise_prior = NoisePrior(0.01, 1)
    growth.root(3.4 - sigma, 3.4, 3.4 + sigma)
    return growth


# ---------------------------------------------------------------- power


@pytest.mark.parametrize(("gain", "runs"), [(1.0, 4), (2.0, 4), (2.0, 8), (4.0, 3)])
def test_power_is_what_welchs_interval_shows(gain: float, runs: int) -> None:
    """Simulated with the interval of the claim; Student's power is a little above that of Welch's."""
    rng = np.random.default_rng((int(10 * gain), runs))
    found = 0
    for _ in range(2000):
        difference = welch(list(rng.normal(gain, 1, runs)), list(rng.normal(0, 1, runs)), "minimise")
        assert isinstance(difference, Difference)
        found += difference.significant
    three_errors = 3 * math.sqrt(0.25 / 2000)
    assert -0.09 - three_errors < found / 2000 - power(gain, runs) < three_errors


def test_power_without_a_gain_is_the_level() -> None:
    assert power(0.0, 4) == pytest.approx(0.025)
    assert power(0.0, 4, confidence=0.9) == pytest.approx(0.05)
    assert power(math.inf, 4) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least 2"):
        power(1.0, 1)


def test_the_least_runs_that_have_the_power() -> None:
    assert runs_for(2.86, 0.8, 12) == 4
    assert power(2.86, 4) >= 0.8 > power(2.86, 3)
    assert runs_for(100.0, 0.8, 12) == 2
    assert runs_for(0.01, 0.8, 12) == 12
    assert runs_for(1.0, 0.8, 40) == 17, "the figure of every textbook: 17 a side for one sigma"


# ---------------------------------------------------------------- the plan


def test_the_default_claim_finds_its_smallest_gain_on_a_quiet_machine_with_four_seeds() -> None:
    plan = config_for([], "cpu").claim
    assert plan.smallest_gain == 0.03
    assert power(plan.smallest_gain / 0.011, 4) >= plan.power
    wanted = sized(plan, noisy_root(0.011).tree)
    assert wanted.report_seeds == 9, "more, where it can be paid: sigma is not known so well"
    in_the_default_budget = fit(wanted, 29 // 2)
    assert isinstance(in_the_default_budget, ClaimPlan)
    assert (in_the_default_budget.candidates, in_the_default_budget.report_seeds) == (3, 4)


def test_noise_asks_for_more_seeds_and_a_larger_gain_for_fewer() -> None:
    plan = ClaimPlan(smallest_gain=0.03)
    seeds = [sized(plan, noisy_root(sigma).tree).report_seeds for sigma in (0.001, 0.008, 0.011, 0.013, 0.05)]
    assert seeds == [5, 6, 9, 10, 12]
    assert sized(ClaimPlan(smallest_gain=0.06), noisy_root(0.013).tree).report_seeds == 5, "as many as two looks need"
    assert sized(ClaimPlan(smallest_gain=0.06, looks=1), noisy_root(0.013).tree).report_seeds == 4
    assert sized(ClaimPlan(smallest_gain=0.03, power=0.5), noisy_root(0.013).tree).report_seeds == 6
    assert sized(ClaimPlan(smallest_gain=0.03, most_report_seeds=6), noisy_root(0.013).tree).report_seeds == 6
    assert sized(ClaimPlan(smallest_gain=0.03, report_seeds=20), noisy_root(0.013).tree).report_seeds == 20


def test_a_sigma_from_more_runs_needs_fewer_seeds() -> None:
    """The same estimate: what is reckoned with is an upper bound, which comes down to it."""
    plan = ClaimPlan(smallest_gain=0.03)
    growth = noisy_root(0.011)
    seeds = [sized(plan, growth.tree).report_seeds]
    for runs in (3, 12):
        for _ in range(runs):
            for score in (3.4 - 0.011, 3.4, 3.4 + 0.011):
                growth.land(growth.choose(Replicate(growth.tree.root)), score)
        seeds.append(sized(plan, growth.tree).report_seeds)
    assert seeds == sorted(seeds, reverse=True)
    assert (seeds[0], seeds[-1]) == (9, 5)


def test_the_size_gives_the_power_that_was_asked_for_on_average() -> None:
    """With sigma from three runs, as in a short search; sigma is 1, and 1.5 of it are to be found."""
    rng, plan = np.random.default_rng(5), ClaimPlan(smallest_gain=1.5)
    achieved = []
    for _ in range(400):
        growth = Growth()
        growth.root(*rng.normal(3.4, 1.0, 3))
        achieved.append(power(1.5, sized(plan, growth.tree).report_seeds))
    assert 0.75 <= np.mean(achieved) <= 0.85


def test_a_lead_beyond_luck_needs_fewer_seeds() -> None:
    growth, plan = noisy_root(0.013), ClaimPlan(smallest_gain=0.03)
    found = seed_deviation(growth.tree)
    assert found is not None
    bound = found.high
    growth.child(3.4 - bound * math.sqrt(2 * math.log(2)) - 0.03)
    assert sized(plan, growth.tree).report_seeds == 10, "as far ahead as luck and the smallest gain explain"
    growth.child(3.4 - bound * math.sqrt(2 * math.log(3)) - 2.25 * bound)
    assert sized(plan, growth.tree).report_seeds == 5, "2.25 sigma are to be found"
    for _ in range(60):
        growth.child(3.5)
    assert sized(plan, growth.tree).report_seeds == 10, "the best of 62 is luckier"
    growth.child(2.4)
    assert sized(plan, growth.tree).report_seeds == 3
    best = Growth("maximise")
    best.root(3.38, 3.4, 3.42)
    best.child(4.4)
    assert sized(plan, best.tree).report_seeds == 3


def test_without_a_smallest_gain_or_a_sigma_the_plan_stays() -> None:
    assert sized(ClaimPlan(), noisy_root(0.5).tree) == ClaimPlan()
    growth = Growth()
    growth.root(3.4)
    plan = ClaimPlan(smallest_gain=0.03)
    assert sized(plan, growth.tree) == plan
    growth.land(growth.choose(Replicate(growth.tree.root)), 3.4)  # no noise at all
    assert sized(plan, growth.tree) == plan


def test_runs_of_the_claim_do_not_change_its_size() -> None:
    growth = noisy_root(0.011)
    child = growth.child(3.39)
    plan = ClaimPlan(smallest_gain=0.03)
    before = sized(plan, growth.tree)
    assert before.report_seeds == 9
    for score in (3.0, 9.0, 1.0):
        growth.land(growth.choose(Replicate(child, "confirm")), score)
        growth.land(growth.choose(Replicate(child, "report")), score)
    assert sized(plan, growth.tree) == before


@pytest.mark.parametrize(
    ("left", "candidates", "report_seeds"),
    [
        (100, 3, 10),
        (26, 3, 10),
        (24, 3, 9),
        (23, 3, 8),
        (14, 3, 4),
        (13, 2, 4),
        (11, 1, 5),
        (8, 1, 4),
        (7, 1, 3),
        (4, 1, LEAST_SEEDS),
    ],
)
def test_a_small_budget_takes_seeds_first_then_finalists(left: int, candidates: int, report_seeds: int) -> None:
    wanted = sized(ClaimPlan(smallest_gain=0.03), noisy_root(0.013).tree)
    plan = fit(wanted, left)
    assert isinstance(plan, ClaimPlan)
    assert (plan.candidates, plan.report_seeds, plan.limit) == (candidates, report_seeds, left)
    assert plan.evaluations <= left
    assert isinstance(fit(wanted, 3), NoClaim)


def test_numbers_that_make_no_claim_are_refused() -> None:
    for wrong in (
        {"candidates": 10**9},
        {"most_report_seeds": 0},
        {"power": 80.0},
        {"smallest_gain": 0.0},
        {"smallest_gain": -1.0},
        {"smallest_gain": math.inf},
    ):
        with pytest.raises(ValueError, match="the claim's"):
            ClaimPlan(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("task.smallest_gain=0.2", "smallest_gain", 0.2),
        ("claim.smallest_gain=0.1", "smallest_gain", 0.1),
        ("claim.power=0.9", "power", 0.9),
        ("claim.most_report_seeds=30", "most_report_seeds", 30),
    ],
)
def test_overrides_arrive_in_the_plan(override: str, key: str, value: float) -> None:
    assert getattr(config_for([override], "cpu").claim, key) == value


def test_a_task_that_says_nothing_gets_the_usual_claim() -> None:
    config = config_for(["~task.smallest_gain"], "cpu")
    assert config.claim == ClaimPlan()
