"""Budgets: what is refused, what is left, what is reserved for the claim, and which one ends the search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.llm.base import Cap
from search.config import Budget, ClaimPlan, Config, completed
from search.run.budget import (
    BudgetRemaining,
    BudgetUse,
    SearchEnd,
    affordable,
    claim_share,
    model_end,
    model_end_before,
    remaining_for_claim,
    remaining_for_search,
    seconds_left,
)
from search.settings import config_for

PLAN = ClaimPlan()
USE = BudgetUse(evaluations=4, in_flight=2, seconds=100.0, device_seconds=80.0, each=10.0, longest=20.0, slots=2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, r"no budget: set one of budget\.evaluations, budget\.hours, budget\.device_hours, budget\.tokens"),
        ({"evaluations": 0}, "budget.evaluations is 0; expected at least 1"),
        ({"evaluations": "many"}, "budget.evaluations is 'many'; expected a whole number"),
        ({"evaluations": 2.5}, "expected a whole number"),
        ({"hours": -1.0}, "budget.hours is -1.0; expected a positive number"),
        ({"hours": float("nan")}, "budget.hours is nan"),
        ({"device_hours": 0}, "budget.device_hours is 0"),
        ({"tokens": 0}, "budget.tokens is 0; expected at least 1"),
        ({"tokens": 1e6}, "budget.tokens is 1000000.0; expected a whole number"),
        ({"dollars": 0.0}, "budget.dollars is 0.0; expected a positive number"),
        ({"target": True}, "budget.target is True"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Budget(**values)


def test_a_target_may_be_negative() -> None:
    assert Budget(target=-2.5).describe() == "target -2.5"


# ---------------------------------------------------------------- what is left


def test_evaluations_count_those_in_flight() -> None:
    assert remaining_for_search(Budget(evaluations=30), USE, reserved=14) == BudgetRemaining(10, "evaluations")
    assert remaining_for_search(Budget(evaluations=20), USE, reserved=14) == BudgetRemaining(0, "evaluations")
    assert remaining_for_claim(Budget(evaluations=20), replace(USE, in_flight=0)) == BudgetRemaining(16, "evaluations")


def test_by_the_hour_one_more_is_begun_only_if_it_would_land_before_the_claim() -> None:
    """At 100 s of use, with 2 slots: 3 rounds of 20 s are reserved for 5 or 6 evaluations of the claim."""
    hours = Budget(hours=200 / 3600)  # 40 s are left for searching: 4 rounds of 10 s, less the two in flight
    six = remaining_for_search(hours, USE, reserved=6)
    assert remaining_for_search(hours, USE, reserved=5) == six == BudgetRemaining(4 * 2 - 2, "hours")
    late = replace(USE, seconds=130.5)
    assert remaining_for_search(hours, late, reserved=6) == BudgetRemaining(0, "hours")
    assert remaining_for_search(hours, replace(late, in_flight=1), reserved=4) == BudgetRemaining(2 * 2 - 1, "hours")


def test_device_hours_are_those_of_all_slots_together() -> None:
    device = Budget(device_hours=200 / 3600)  # 120 s are left, and no slot makes more of them
    assert remaining_for_search(device, USE, reserved=0) == BudgetRemaining(12 - 2, "device_hours")
    assert remaining_for_search(device, USE, reserved=4) == BudgetRemaining(4 - 2, "device_hours")
    assert remaining_for_search(device, replace(USE, seconds=1e9), reserved=4) == BudgetRemaining(4 - 2, "device_hours")
    assert remaining_for_claim(device, replace(USE, in_flight=0)) == BudgetRemaining(6, "device_hours")
    assert seconds_left(device, USE) == 60.0


def test_together_the_first_that_is_used_decides() -> None:
    both = Budget(evaluations=10, hours=1.0, device_hours=1.0, tokens=5, dollars=1.0)
    assert remaining_for_search(both, USE, 0) == BudgetRemaining(4, "evaluations")
    assert remaining_for_search(replace(both, hours=160 / 3600), USE, 0) == BudgetRemaining(4, "evaluations")
    assert remaining_for_search(replace(both, hours=131 / 3600), USE, 0) == BudgetRemaining(4, "evaluations")
    assert remaining_for_search(replace(both, hours=125 / 3600), USE, 0) == BudgetRemaining(2, "hours")
    assert seconds_left(replace(both, hours=125 / 3600), USE) == 25.0


def test_tokens_and_dollars_limit_no_evaluations_and_keep_nothing_for_the_claim() -> None:
    budget = Budget(tokens=1, dollars=0.01)
    assert remaining_for_search(budget, USE, 0).limit == remaining_for_claim(budget, USE).limit is None
    assert claim_share(budget, USE) > PLAN.evaluations
    assert seconds_left(budget, USE) is None


def test_the_root_is_trained_whatever_the_clock_says() -> None:
    fresh = BudgetUse(each=20.0, longest=20.0)
    for budget in (Budget(hours=1e-6), Budget(device_hours=1e-6)):
        assert remaining_for_search(budget, fresh, 0) == BudgetRemaining(1)
        assert remaining_for_search(budget, replace(fresh, in_flight=1), 0).evaluations == 0
        assert remaining_for_search(budget, replace(fresh, evaluations=1), 0).evaluations == 0


# ---------------------------------------------------------------- the claim's share


@pytest.mark.parametrize(
    ("budget", "reserved"),
    [
        (Budget(evaluations=29), 14),
        (Budget(evaluations=10), 4),  # half of it, and that is two seeds a side
        (Budget(evaluations=7), 0),
        (Budget(hours=1.0), 14),
        (Budget(hours=240 / 3600), 12),  # half of it are 6 rounds of 20 s on two slots
        (Budget(device_hours=240 / 3600), 6),
        (Budget(device_hours=160 / 3600), 4),
        (Budget(device_hours=80 / 3600), 0),
        (Budget(evaluations=29, device_hours=160 / 3600), 4),
        (Budget(dollars=1.0), 14),
    ],
)
def test_what_the_plan_needs_is_reserved_and_at_most_half_of_each_budget(budget: Budget, reserved: int) -> None:
    assert affordable(budget, PLAN, USE) == reserved
    assert affordable(budget, None, USE) == 0


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        (Budget(evaluations=36), 3),
        (Budget(evaluations=60), 15),
        (Budget(hours=640 / 3600), 14),  # half of 300 s are 7 rounds of 20 s on two slots
        (Budget(device_hours=800 / 3600), 10),
        (Budget(evaluations=20), 0),
    ],
)
def test_after_a_claim_the_share_is_half_of_what_was_added(budget: Budget, share: int) -> None:
    earlier = replace(USE, evaluations_before=29, seconds_before=340.0, device_seconds_before=400.0)
    assert claim_share(budget, earlier) == share


# ---------------------------------------------------------------- the language model


def test_a_model_that_is_silent_ends_what_lives_on_its_budget() -> None:
    end = model_end(Budget(dollars=1.0), "the cap of $1.00: spent", Cap("dollars", 1.0))
    words = "The dollars for searching are used (budget.dollars=1.0): the cap of $1.00: spent"
    assert end == SearchEnd("llm_budget", words, {"tokens": None, "dollars": 1.0})
    assert model_end_before(Budget(dollars=1.0), end)
    assert not model_end_before(Budget(dollars=2.0), end)
    assert not model_end_before(Budget(dollars=1.0, tokens=5), end)
    assert not model_end_before(Budget(evaluations=5), end)
    for cap in (Cap("dollars", 0.5), Cap("tokens", 1.0), None):
        other = model_end(Budget(dollars=1.0), "closed", cap)
        assert other is not None
        assert other.code == "llm_closed", "another cap held, or the key was refused"
        assert not model_end_before(Budget(dollars=1.0), other)
    assert "tokens or dollars" in str(model_end(Budget(dollars=1.0, tokens=9), "closed"))
    assert model_end(Budget(dollars=1.0), None) is None
    assert model_end(Budget(evaluations=9), "the cap of $1.00") is None, "llm.max_dollars only silences the model"


def test_without_a_model_its_budgets_alone_are_refused() -> None:
    assert "budget.tokens and budget.dollars would never end" in str(Budget(tokens=9, dollars=1.0).needs_model())
    assert Budget(tokens=9, evaluations=9).needs_model() is None
    assert Budget(tokens=9, target=3.0).needs_model() is None


# ---------------------------------------------------------------- what follows from the settings


def settled(*typed: str) -> Config:
    return config_for(typed, "cpu")


@pytest.mark.parametrize(
    ("typed", "evaluations"),
    [
        ([], 29),
        (["budget.evaluations=7"], 7),
        (["budget.hours=8"], None),
        (["budget.device_hours=8"], None),
        (["budget.tokens=1000"], None),
        (["budget.dollars=1"], None),
        (["budget.target=3"], 29),  # it may never be reached
        (["budget.hours=8", "budget.evaluations=400"], 400),
        (["experiment=quick"], 10),
    ],
)
def test_evaluations_are_29_where_no_other_limit_is_set(typed: list[str], evaluations: int | None) -> None:
    assert settled(*typed).budget.evaluations == evaluations


@pytest.mark.parametrize(
    ("typed", "dollars", "tokens"),
    [
        ([], 2.0, 1_000_000),
        (["llm.max_dollars=0.5", "llm.max_total_tokens=9"], 0.5, 9),
        (["budget.dollars=5"], 5, 1_000_000),
        (["budget.dollars=5", "llm.max_dollars=3"], 3, 1_000_000),
        (["budget.dollars=1", "llm.max_dollars=3"], 1, 1_000_000),
        (["budget.tokens=500"], 2.0, 500),
    ],
)
def test_a_budget_is_a_cap_of_the_model_too(typed: list[str], dollars: float, tokens: int) -> None:
    llm = settled(*typed).llm
    assert (llm.max_dollars, llm.max_total_tokens) == (dollars, tokens)


def test_where_there_is_no_model_nothing_is_added_to_its_settings() -> None:
    config = {"budget": {"evaluations": "auto", "dollars": 1.0}, "llm": {"_target_": None}}
    assert completed(config, frozenset())["llm"] == {"_target_": None}
