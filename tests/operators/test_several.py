"""Several models: the choice, its repetition after a resume, and the exclusion of one that fails."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from archive.llm_calls import LlmCall
from operators.llm.base import (
    Answer,
    BudgetSpent,
    Cost,
    KeyRefused,
    LlmError,
    Message,
    Prompt,
    QuotaExhausted,
    UnknownModel,
)
from operators.llm.meter import CallId, Meter
from operators.llm.scripted import Scripted
from operators.llm.several import Bandit, ModelCredit, ModelRouter, Weighted

PROMPT = Prompt("system", (Message("user", "hello"),))


def call_id(move: int, turn: int = 0, run: str = "night") -> CallId:
    return CallId(run, move, turn, "improve")


def scripted(name: str) -> Scripted:
    return Scripted(lambda prompt: name, model=name)


def pair(**more: object) -> ModelRouter:
    return ModelRouter({"a": scripted("a"), "b": scripted("b")}, **more)  # type: ignore[arg-type]


def shares(several: ModelRouter, moves: int = 2000) -> dict[str, float]:
    counts = Counter(several.route(call_id(move))[0] for move in range(moves))
    return {name: count / moves for name, count in counts.items()}


def test_weights_are_shares() -> None:
    assert shares(pair(weights={"a": 3.0, "b": 1.0}))["a"] == pytest.approx(0.75, abs=0.03)
    assert shares(pair())["a"] == pytest.approx(0.5, abs=0.03)
    assert shares(pair(weights={"a": 0, "b": 1})) == {"b": 1.0}


def test_a_move_has_its_model_whenever_it_is_asked_for() -> None:
    first, again = pair(), pair()
    assert [first.route(call_id(move))[0] for move in range(50)] == [
        again.route(call_id(move))[0] for move in range(50)
    ]
    assert all(first.route(call_id(move, turn=1))[0] == first.route(call_id(move))[0] for move in range(50)), (
        "a repair, too"
    )
    other = [again.route(call_id(move, run="other"))[0] for move in range(50)]
    assert other != [again.route(call_id(move))[0] for move in range(50)]


def test_the_formula_of_the_bandit() -> None:
    bandit = Bandit(exploration=0.5, training_dollars=0.01, first=3)
    credits = {"dear": ModelCredit(10, 0.8, 0.4, 1.0), "cheap": ModelCredit(30, 0.9, 0.3, 0.3)}
    index = bandit.index(credits)
    wide = math.sqrt(2 * math.log(40) / 10)
    assert index["dear"] == pytest.approx((0.08 / 0.4 + 0.5 * wide) / (0.1 + 0.01))
    assert index["cheap"] == pytest.approx((0.03 / 0.4 + 0.5 * math.sqrt(2 * math.log(40) / 30)) / (0.01 + 0.01))
    assert bandit.choose({"dear": 1, "cheap": 1}, lambda: credits, 0.5) == "cheap"


def test_nothing_gained_is_no_division_by_zero() -> None:
    index = Bandit().index({"a": ModelCredit(1, 0.0, 0.0, 0.0), "b": ModelCredit(1, 0.0, 0.0, 0.0)})
    assert index["a"] == index["b"] > 0
    assert math.isfinite(index["a"])


def test_a_model_of_unknown_price_costs_as_much_as_the_dearest() -> None:
    index = Bandit().index({"a": ModelCredit(10, 1.0, 0.2, 5.0), "b": ModelCredit(10, 1.0, 0.2, None)})
    assert index["a"] == index["b"]


def test_a_model_that_costs_nothing_is_not_asked_for_ever() -> None:
    credits = {"free": ModelCredit(100, 0.0, 0.0, 0.0), "paid": ModelCredit(100, 30.0, 1.0, 2.0)}
    assert Bandit(training_dollars=0.05).choose({"free": 1, "paid": 1}, lambda: credits, 0.5) == "paid"


def test_models_are_drawn_by_weight_until_each_has_ended_a_few_moves() -> None:
    known = {"a": ModelCredit(50, 9.0, 1.0, 0.1), "b": ModelCredit(2, 0.0, 0.0, 0.1)}
    assert Bandit(first=3).choose({"a": 1, "b": 1}, lambda: known, 0.0) == "b"
    assert Bandit(first=2).choose({"a": 1, "b": 1}, lambda: known, 0.0) == "a"
    assert Bandit(first=3).choose({"a": 1, "b": 1}, dict, 0.0) == "a"


def gains(chance: Callable[[str, int], float], costs: Mapping[str, float], moves: int) -> Counter[str]:
    """How often the bandit asks each model, where the gain of a move of a model is ``chance(model, move)``."""
    credits: dict[str, ModelCredit] = {}
    several = pair(choose=Bandit(exploration=0.3), credits=lambda run, move: credits)
    asked: Counter[str] = Counter()
    for move in range(moves):
        name, _ = several.route(call_id(move))
        asked[name] += 1
        gain = chance(name, move)
        before = credits.get(name, ModelCredit(0, 0.0, 0.0, 0.0))
        credits[name] = ModelCredit(
            before.moves + 1, before.gain + gain, max(before.best, gain), (before.dollars or 0) + costs[name]
        )
    return asked


def test_the_bandit_finds_the_model_that_gains_more_for_its_money() -> None:
    costs = {"a": 0.05, "b": 0.05}
    better = gains(lambda name, move: 0.1 if name == "b" and move % 3 == 0 else 0.01, costs, 400)
    assert better["b"] > 3 * better["a"]
    assert better["a"] >= 3, "and never gives up the other"
    cheaper = gains(lambda name, move: 0.1 if move % 3 == 0 else 0.0, {"a": 0.01, "b": 0.2}, 400)
    assert cheaper["a"] > 3 * cheaper["b"]


class Refuses(Scripted):
    """Cannot be asked."""

    def __init__(self, error: LlmError) -> None:
        super().__init__(model="refuses")
        self.error = error

    def complete(self, prompt: Prompt) -> Answer:
        raise self.error

    def check(self) -> None:
        raise self.error


def metered(several: ModelRouter, calls: list[LlmCall], dollars: float = 1.0) -> Meter:
    return Meter(several, max_dollars=dollars, max_tokens=10**9, record=calls.append, sleep=lambda seconds: None)


def test_a_model_that_can_no_longer_be_asked_leaves_the_others() -> None:
    calls: list[LlmCall] = []
    several = ModelRouter({"bad": Refuses(QuotaExhausted("no credit left")), "good": scripted("good")})
    meter = metered(several, calls)
    texts = [meter.complete(PROMPT, call_id(move)).text for move in range(20)]
    assert set(texts) == {"good"}
    assert [call.outcome for call in calls].count("failed") == 1, "it is not tried twice"
    assert {call.asked for call in calls} == {"bad", "good"}
    assert meter.closed is None


def test_when_none_is_left_that_is_the_end() -> None:
    calls: list[LlmCall] = []
    several = ModelRouter({"a": Refuses(QuotaExhausted("no credit")), "b": Refuses(KeyRefused("bad key"))})
    meter = metered(several, calls)
    with pytest.raises(LlmError) as raised:
        meter.complete(PROMPT, call_id(0))
    assert raised.value.fatal
    assert len(calls) == 2
    assert meter.closed == str(raised.value)


def test_the_dearest_falls_out_when_only_the_cheap_one_fits() -> None:
    class Costs(Scripted):
        def __init__(self, name: str, dollars: float) -> None:
            super().__init__(lambda prompt: name, model=name)
            self.dollars = dollars

        def complete(self, prompt: Prompt) -> Answer:
            return Answer(self.name, self.name, 5, 5, 0, 0.0, self.dollars)

        def max_cost(self, prompt: Prompt) -> Cost:
            return Cost(10, self.dollars)

    calls: list[LlmCall] = []
    meter = metered(ModelRouter({"dear": Costs("dear", 0.4), "cheap": Costs("cheap", 0.01)}), calls)
    texts = []
    for move in range(200):
        try:
            texts.append(meter.complete(PROMPT, call_id(move)).text)
        except BudgetSpent:
            break
    assert texts.count("dear") == 2
    assert texts[-1] == "cheap"
    assert meter.spending.dollars == pytest.approx(1.0, abs=0.0101)
    assert meter.spending.dollars <= 1.0


def test_every_model_is_checked_and_named() -> None:
    with pytest.raises(UnknownModel, match=r"llm\.models\.bad: no such model"):
        metered(ModelRouter({"a": scripted("a"), "bad": Refuses(UnknownModel("no such model"))}), []).check()


def test_names_and_worst_cases_together() -> None:
    several = pair()
    assert several.name == "a and b"
    assert several.max_cost(PROMPT).dollars is None, "no price of either is known"
    free = ModelRouter({"a": Scripted(), "b": Scripted(max_tokens=9999)})
    assert free.max_cost(PROMPT) == Cost(free.members["b"].max_cost(PROMPT).tokens, 0.0)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"c": 1}, "names 'c'"),
        ({"a": -1}, "at least 0"),
        ({"a": 0, "b": 0}, "one above it"),
        ({"a": math.nan}, "at least"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pair(weights=weights)
    with pytest.raises(ValueError, match="empty"):
        ModelRouter({})
    with pytest.raises(ValueError, match="more than 0"):
        Bandit(training_dollars=0)
    assert Weighted().choose({"a": 1.0}, dict, 0.999999) == "a"
