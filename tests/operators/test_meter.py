"""The meter: caps hold with calls in flight, every call is recorded, no answer is paid for twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from archive.llm_calls import LlmCall, LlmRequest
from operators.llm.base import (
    Answer,
    AnswerRefused,
    BudgetSpent,
    Cost,
    Interrupted,
    KeyRefused,
    LlmError,
    Message,
    Overloaded,
    Prompt,
)
from operators.llm.meter import LONGEST_PAUSE, CallId, Meter, Spending, charged_for, pause_before_next
from operators.llm.prices import price_from, price_of
from operators.llm.scripted import Scripted
from operators.llm.several import ModelRouter

PROMPT = Prompt("system", (Message("user", "hello"),))


def call_id(move: int = 0, turn: int = 0) -> CallId:
    return CallId("run", move, turn, "improve")


class Priced:
    """Costs a dime a call, and may cost a quarter; says how many calls are in flight at once."""

    name = "priced"
    attempts = 3

    def __init__(self, error: LlmError | None = None, dollars: float | None = 0.10) -> None:
        self.error = error
        self.dollars = dollars
        self.gate = threading.Event()
        self.calls = 0
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        with self._lock:
            self.calls += 1
        self.gate.wait(10)
        if self.error:
            raise self.error
        return Answer("yes", self.name, 60, 40, 10, 1.0, self.dollars)

    def max_cost(self, prompt: Prompt) -> Cost:
        return Cost(250, None if self.dollars is None else 0.25)

    def check(self) -> None: ...


def metered(model: Priced, calls: list[LlmCall] | None = None, dollars: float = 1.0, tokens: int = 10**6) -> Meter:
    model.gate.set()
    record = [].append if calls is None else calls.append
    return Meter(model, max_dollars=dollars, max_tokens=tokens, record=record)


@pytest.mark.parametrize(("dollars", "priced", "tokens"), [(1.0, 0.10, 10**6), (1.0, None, 1000), (9.0, 0.10, 1000)])
def test_the_cap_holds_with_calls_in_flight(dollars: float, priced: float | None, tokens: int) -> None:
    """Four worst cases fit; the other eight threads are refused while those are in flight."""
    model = Priced(dollars=priced)
    meter = Meter(model, max_dollars=dollars, max_tokens=tokens, record=lambda call: None)

    def call(move: int) -> str:
        try:
            return meter.complete(PROMPT, call_id(move)).text
        except BudgetSpent as error:
            return str(error)

    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(call, move) for move in range(12)]
        refused = []
        while len(refused) < 8:
            refused = [future.result() for future in futures if future.done()]
        assert model.calls <= 4
        model.gate.set()
        answers = [future.result() for future in futures]
    assert answers.count("yes") == 4
    assert all("calls in flight counted" in reason for reason in refused)
    assert meter.closed is None, "what was reserved and not used is free again"
    dollars_spent = 0.0 if priced is None else pytest.approx(0.4)
    assert meter.spending == Spending(4, 400, dollars_spent, 4 if priced is None else 0, 0, 400, dollars_spent)
    assert meter.reserved.tokens == 0
    assert meter.reserved.dollars == pytest.approx(0)


def test_whoever_asks_for_room_first_is_never_refused_for_calls_in_flight() -> None:
    """A dollar holds four worst cases of a quarter."""
    meter = metered(Priced())
    assert [meter.room(others) for others in range(5)] == [True, True, True, True, False]
    meter.complete(PROMPT, call_id(0))
    assert [meter.room(others) for others in range(5)] == [True, True, True, False, False]  # 0.10 are spent
    for move in range(1, 6):
        meter.complete(PROMPT, call_id(move))
    assert [meter.room(others) for others in range(3)] == [True, False, False]  # 0.60
    unpriced = metered(Priced(dollars=None), tokens=1000)
    unpriced.complete(PROMPT, call_id(0))
    assert [unpriced.room(others) for others in range(4)] == [True, True, True, False]


def test_a_concurrency_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"llm\.concurrency is 0; expected at least 1"):
        Meter(Priced(), max_dollars=1.0, max_tokens=1, record=lambda call: None, concurrency=0)


def test_the_cap_closes_the_meter_when_no_call_fits_any_more() -> None:
    model = Priced()
    meter = metered(model)
    for move in range(8):
        meter.complete(PROMPT, call_id(move))
    with pytest.raises(BudgetSpent, match=r"cap of \$1.00: \$0.8000 spent; a call may cost \$0.2500"):
        meter.complete(PROMPT, call_id(8))
    assert meter.closed is not None
    assert model.calls == 8


def test_every_call_is_a_record() -> None:
    calls: list[LlmCall] = []
    meter = metered(Priced(), calls)
    meter.complete(PROMPT, call_id(3, 1))
    call = calls[0]
    assert (call.run, call.move, call.turn, call.operator, call.model) == ("run", 3, 1, "improve", "priced")
    assert (call.outcome, call.answer, call.tokens_in, call.tokens_out, call.tokens_cached) == (
        "answered",
        "yes",
        60,
        40,
        10,
    )
    assert call.prompt == "[system]\nsystem\n\n[user]\nhello"
    assert call.dollars == 0.10


@pytest.mark.parametrize(
    ("error", "outcome", "dollars", "charged"),
    [
        (Overloaded("busy"), "failed", 0.0, 0.0),
        (Interrupted("cut"), "failed", None, 0.25),
        (AnswerRefused("no", Answer("", "priced", 60, 5, 0, 1.0, 0.04)), "refused", 0.04, 0.04),
    ],
)
def test_failed_calls_are_recorded_and_charged_as_far_as_they_may_be_billed(
    error: LlmError, outcome: str, dollars: float | None, charged: float
) -> None:
    calls: list[LlmCall] = []
    model, pauses = Priced(error), []
    model.gate.set()
    meter = Meter(model, max_dollars=9, max_tokens=10**6, record=calls.append, sleep=pauses.append)
    with pytest.raises(type(error)):
        meter.complete(PROMPT, call_id())
    tries = 1 if isinstance(error, AnswerRefused) else model.attempts
    assert len(calls) == model.calls == tries, "each sending is a row"
    assert len(pauses) == tries - 1
    assert {(call.outcome, call.dollars) for call in calls} == {(outcome, dollars)}
    assert type(error).__name__ in calls[0].reason
    assert meter.spending.charged_dollars == pytest.approx(tries * charged)
    assert meter.spending.dollars == pytest.approx(tries * (dollars or 0))
    assert calls[0].tokens_in == (None if isinstance(error, Interrupted) else 60 if tries == 1 else 0)
    assert meter.closed is None


def test_a_refused_key_closes_the_meter() -> None:
    model = Priced(KeyRefused("bad key"))
    meter = metered(model)
    with pytest.raises(KeyRefused):
        meter.complete(PROMPT, call_id())
    with pytest.raises(BudgetSpent, match="bad key"):
        meter.complete(PROMPT, call_id(1))
    assert model.calls == 1


def test_a_paid_answer_is_replayed_and_not_paid_again() -> None:
    calls: list[LlmCall] = []
    first = metered(Priced(), calls)
    answer = first.complete(PROMPT, call_id(5))
    again = Priced()
    archive = {(call.run, call.move, call.turn): call for call in calls}
    meter = Meter(
        again,
        max_dollars=0.0,
        max_tokens=0,
        record=calls.append,
        lookup=lambda *key: archive.get(key),
        spent=first.spending,
    )
    assert meter.complete(PROMPT, call_id(5)) == answer
    assert again.calls == 0
    assert len(calls) == 1
    assert meter.spending == first.spending
    with pytest.raises(BudgetSpent):
        meter.complete(PROMPT, call_id(5, turn=1))


def test_an_answer_that_was_cut_off_is_so_when_it_is_replayed() -> None:
    """Otherwise a resumed search would accept half an answer that the first one refused."""
    archive: dict[Any, LlmCall] = {}

    class Short(Priced):
        def complete(self, prompt: Prompt) -> Answer:
            return Answer("half of", self.name, 60, 40, 10, 1.0, 0.1, cut_off=True)

    def meter() -> Meter:
        record = lambda call: archive.update({(call.run, call.move, call.turn): call})  # noqa: E731
        return Meter(Short(), max_dollars=1, max_tokens=10**6, record=record, lookup=lambda *key: archive.get(key))

    first = meter().complete(PROMPT, call_id())
    again = meter().complete(PROMPT, call_id())
    assert (first.cut_off, again) == (True, first)
    assert archive["run", 0, 0].outcome == "answered"


def test_a_refusal_is_replayed_and_a_failure_is_tried_again() -> None:
    calls: list[LlmCall] = []
    refused = AnswerRefused("no", Answer("", "priced", 60, 5, 0, 1.0, 0.04))
    for move, error in ((0, refused), (1, Overloaded("busy", retry_after=1e6))):
        with pytest.raises(LlmError):
            metered(Priced(error), calls).complete(PROMPT, call_id(move))
    model = Priced()
    model.gate.set()
    meter = Meter(
        model, max_dollars=1, max_tokens=10**6, record=calls.append, lookup=lambda run, move, turn: calls[move]
    )
    with pytest.raises(AnswerRefused):
        meter.complete(PROMPT, call_id(0))
    assert model.calls == 0
    assert meter.complete(PROMPT, call_id(1)).text == "yes"


def test_spending_before_a_resume_counts() -> None:
    model = Priced()
    model.gate.set()
    meter = Meter(
        model, max_dollars=1.0, max_tokens=10**6, record=lambda call: None, spent=Spending(charged_dollars=0.9)
    )
    with pytest.raises(BudgetSpent):
        meter.complete(PROMPT, call_id())


def test_an_unknown_price_is_said_and_the_tokens_hold() -> None:
    assert (
        "price is unknown: the cap of $1.00 cannot be kept, at most 1,000,000 tokens"
        in metered(Priced(dollars=None)).describe()
    )
    assert metered(Priced()).describe() == "priced, at most $1.00 and 1,000,000 tokens"
    calls: list[LlmCall] = []
    metered(Priced(dollars=None), calls).complete(PROMPT, call_id())
    assert calls[0].dollars is None


def test_prices() -> None:
    sonnet, haiku = price_of("claude-sonnet-5-5"), price_of("claude-haiku-5-5")
    assert sonnet is not None
    assert haiku is not None
    assert sonnet.dollars(fresh=1000, written=1000, read=1000, out=1000) == pytest.approx(0.0146)
    assert haiku.dollars(fresh=100_000, out=0) == pytest.approx(0.01)
    assert haiku.dollars(fresh=100_000, read=1, out=0) == pytest.approx(0.05, rel=1e-3)
    assert price_of("claude-haiku-4-5-20251001") == price_of("claude-haiku-4-5")
    assert price_of("gpt-unheard-of") is None
    luna = price_of("gpt-6-luna-2026-09-22")
    assert luna == price_of("gpt-6-luna")
    assert luna is not None
    assert luna.dollars(fresh=1000, read=1000, out=1000) == pytest.approx((100 + 10 + 500) / 1e6)
    assert luna.dollars(fresh=272_001, out=0) == pytest.approx(0.0544, rel=1e-3)
    assert sonnet.at_most(1000, 0) == pytest.approx(0.004), "written to the cache for an hour"


class Flaky(Priced):
    """Fails so often, then answers."""

    def __init__(self, *errors: LlmError) -> None:
        super().__init__()
        self.errors = list(errors)
        self.gate.set()

    def complete(self, prompt: Prompt) -> Answer:
        self.error = self.errors.pop(0) if self.errors else None
        return super().complete(prompt)


def test_a_call_is_sent_again_after_the_pause_that_the_service_asked_for() -> None:
    calls: list[LlmCall] = []
    pauses: list[float] = []
    model = Flaky(Overloaded("busy", retry_after=7.0), Overloaded("busy"))
    meter = Meter(model, max_dollars=1, max_tokens=10**6, record=calls.append, sleep=pauses.append)
    assert meter.complete(PROMPT, call_id()).text == "yes"
    assert pauses[0] == 7.0
    assert 0.75 <= pauses[1] <= 1.25, "a second, by chance a quarter more or less"
    assert [call.outcome for call in calls] == ["failed", "failed", "answered"]
    assert [call.turn for call in calls] == [0, 0, 0]
    assert meter.spending.charged_dollars == pytest.approx(0.1)


def test_a_service_that_wants_to_be_left_alone_for_long_is_left_to_the_search() -> None:
    model = Flaky(Overloaded("busy", retry_after=LONGEST_PAUSE + 1))
    meter = Meter(model, max_dollars=1, max_tokens=10**6, record=lambda call: None, sleep=lambda seconds: None)
    with pytest.raises(Overloaded):
        meter.complete(PROMPT, call_id())
    assert model.calls == 1
    assert meter.closed is None


def test_pauses_double_and_have_a_ceiling() -> None:
    pauses = [pause_before_next(attempt, 99, None, "x") for attempt in range(1, 40)]
    assert all(pause is not None and pause <= 1.25 * LONGEST_PAUSE for pause in pauses)
    assert pauses[0] is not None
    assert pauses[0] < 1 < (pauses[5] or 0)
    assert pause_before_next(3, 3, None, "x") is None
    assert pause_before_next(1, 3, LONGEST_PAUSE, "x") == LONGEST_PAUSE
    assert pause_before_next(1, 3, LONGEST_PAUSE + 0.1, "x") is None
    assert pause_before_next(1, 3, None, "x") != pause_before_next(1, 3, None, "y")


def test_what_is_sent_is_written_down_before_it_is_sent() -> None:
    """So that whoever is killed while it is on its way has it in the archive."""
    requests: list[LlmRequest] = []
    calls: list[LlmCall] = []

    class Watched(Priced):
        def complete(self, prompt: Prompt) -> Answer:
            assert len(requests) == 1
            assert not calls
            return super().complete(prompt)

    model = Watched()
    model.gate.set()
    meter = Meter(model, max_dollars=1, max_tokens=10**6, record=calls.append, requested=requests.append)
    meter.complete(PROMPT, call_id(3, 1))
    (request,) = requests
    assert (request.run, request.move, request.turn, request.operator, request.asked) == (
        "run", 3, 1, "improve", "priced",
    )  # fmt: skip
    assert (request.tokens_at_most, request.dollars_at_most) == (250, 0.25)
    assert calls[0].request == request.request != ""
    assert (calls[0].asked, calls[0].charged_tokens, calls[0].charged_dollars) == ("priced", 100, 0.10)


def test_tokens_that_nobody_counted_are_unknown_and_charged_at_the_most() -> None:
    calls: list[LlmCall] = []

    class Silent(Priced):
        def complete(self, prompt: Prompt) -> Answer:
            super().complete(prompt)
            return Answer("yes", self.name, None, None, None, 1.0, None)

    meter = metered(Silent(), calls)
    meter.complete(PROMPT, call_id())
    assert (calls[0].tokens_in, calls[0].tokens_out, calls[0].tokens_cached, calls[0].dollars) == (None,) * 4
    assert meter.spending == Spending(1, 0, 0.0, 1, 1, 250, 0.25)
    assert charged_for(Answer("", "m", 5, None, None, 1.0, 0.01), Cost(9, 0.25)) == Cost(9, 0.01)


def test_a_call_that_is_too_large_does_not_close_the_meter_for_those_that_fit() -> None:
    class ByLength(Priced):
        def max_cost(self, prompt: Prompt) -> Cost:
            return Cost(len(prompt.text), 0.0)

    model = ByLength()
    meter = metered(model, tokens=1000)
    large = Prompt("system", (Message("user", "x" * 5000),))
    meter.complete(PROMPT, call_id(0))
    with pytest.raises(BudgetSpent, match=r"raise llm\.max_total_tokens"):
        meter.complete(large, call_id(1))
    assert meter.closed is None
    assert meter.room(5), "and the large one is not taken for the size of the others"
    meter.complete(PROMPT, call_id(2))


def test_an_answer_that_is_asked_to_be_repaired_goes_back_in_part_if_it_is_long() -> None:
    repair = PROMPT.followed_by("a" * 1_000_000 + "z", "mend it")
    assert 60_000 < len(repair.text) < 70_000
    assert "characters left out" in repair.text
    assert repair.messages[-2].text.endswith("az")
    assert PROMPT.followed_by(" ", "again").messages[-2].text == "(empty answer)"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input": 1}, "lacks 'output'"),
        ({"input": 1, "output": -1}, "output is -1"),
        ({"input": 1, "output": "2"}, "output is '2'"),
        ({"input": 1, "output": 2, "cached": 3}, "'cached'; expected input, output"),
        ({"input": 1, "output": float("nan")}, "output is nan"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        price_from(row)


def test_a_price_of_ones_own() -> None:
    assert price_from({"input": 0, "output": 0}).is_free
    price = price_from({"input": 1, "output": 2, "long": {"over": 10, "input": 3, "output": 4}})
    assert not price.is_free
    assert price.dollars(fresh=10, out=1) == pytest.approx(12e-6)
    assert price.dollars(fresh=1, read=10, out=1) == pytest.approx((3 + 30 + 4) / 1e6), "the cache costs as the rest"


def test_a_script_is_spoken_in_order_with_latency() -> None:
    slept: list[float] = []
    model = Scripted(["a", Overloaded("busy")], latency=2.5, sleep=slept.append)
    assert model.complete(PROMPT).text == "a"
    with pytest.raises(Overloaded):
        model.complete(PROMPT)
    with pytest.raises(LlmError, match="no answer number 3"):
        model.complete(PROMPT)
    assert slept == [2.5] * 3
    assert Scripted(lambda prompt: prompt.messages[-1].text.upper()).complete(PROMPT).text == "HELLO"


def test_what_a_call_would_cost_is_known_of_one_model() -> None:
    scripted = Meter(Scripted(), max_dollars=1, max_tokens=10**6, record=lambda call: None)
    assert scripted.price == price_of("scripted")
    both = ModelRouter({"a": Scripted(), "b": Scripted()})
    assert Meter(both, max_dollars=1, max_tokens=10**6, record=lambda call: None).price is None


def test_a_check_is_made_again_when_the_service_is_busy_and_not_when_the_key_is_bad() -> None:
    class Busy(Priced):
        def __init__(self, *errors: LlmError) -> None:
            super().__init__()
            self.errors = list(errors)

        def check(self) -> None:
            self.calls += 1
            if self.errors:
                raise self.errors.pop(0)

    for errors, calls in (([Overloaded("busy"), Interrupted("cut")], 3), ([], 1)):
        model = Busy(*errors)
        Meter(model, max_dollars=1, max_tokens=99, record=lambda call: None, sleep=lambda seconds: None).check()
        assert model.calls == calls
    for errors, kind, calls in (
        ([Overloaded("busy")] * 9, Overloaded, 3),
        ([KeyRefused("bad")], KeyRefused, 1),
        ([Overloaded("come back tomorrow", retry_after=1e5)], Overloaded, 1),
    ):
        model = Busy(*errors)
        meter = Meter(model, max_dollars=1, max_tokens=99, record=lambda call: None, sleep=lambda seconds: None)
        with pytest.raises(kind):
            meter.check()
        assert model.calls == calls
