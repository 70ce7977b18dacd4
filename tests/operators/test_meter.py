"""The meter: caps that hold with calls in flight, every call a record, no answer paid twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from archive.records import LlmCall
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
from operators.llm.meter import Meter, Spending, Ticket
from operators.llm.prices import price_of
from operators.llm.scripted import Scripted

PROMPT = Prompt("system", (Message("user", "hello"),))


def ticket(move: int = 0, turn: int = 0) -> Ticket:
    return Ticket("run", move, turn, "improve")


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

    def worst(self, prompt: Prompt) -> Cost:
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
            return meter.complete(PROMPT, ticket(move)).text
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
    assert meter.spending == Spending(4, 400, 0.0 if priced is None else pytest.approx(0.4), 4 if priced is None else 0)


def test_whoever_asks_for_room_first_is_never_refused_for_calls_in_flight() -> None:
    """A dollar holds four worst cases of a quarter."""
    meter = metered(Priced())
    assert [meter.room(others) for others in range(5)] == [True, True, True, True, False]
    meter.complete(PROMPT, ticket(0))
    assert [meter.room(others) for others in range(5)] == [True, True, True, False, False]  # 0.10 are spent
    for move in range(1, 6):
        meter.complete(PROMPT, ticket(move))
    assert [meter.room(others) for others in range(3)] == [True, False, False]  # 0.60
    unpriced = metered(Priced(dollars=None), tokens=1000)
    unpriced.complete(PROMPT, ticket(0))
    assert [unpriced.room(others) for others in range(4)] == [True, True, True, False]


def test_a_concurrency_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match=r"llm\.concurrency is 0; expected at least 1"):
        Meter(Priced(), max_dollars=1.0, max_tokens=1, record=lambda call: None, concurrency=0)


def test_the_cap_closes_the_meter_when_no_call_fits_any_more() -> None:
    model = Priced()
    meter = metered(model)
    for move in range(8):
        meter.complete(PROMPT, ticket(move))
    with pytest.raises(BudgetSpent, match=r"cap of \$1.00: \$0.8000 spent, a call may cost \$0.2500"):
        meter.complete(PROMPT, ticket(8))
    assert meter.closed is not None
    assert model.calls == 8


def test_every_call_is_a_record() -> None:
    calls: list[LlmCall] = []
    meter = metered(Priced(), calls)
    meter.complete(PROMPT, ticket(3, 1))
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
        (Interrupted("cut"), "failed", None, 0.75),
        (AnswerRefused("no", Answer("", "priced", 60, 5, 0, 1.0, 0.04)), "refused", 0.04, 0.04),
    ],
)
def test_failed_calls_are_recorded_and_charged_as_far_as_they_may_be_billed(
    error: LlmError, outcome: str, dollars: float | None, charged: float
) -> None:
    calls: list[LlmCall] = []
    meter = metered(Priced(error), calls)
    with pytest.raises(type(error)):
        meter.complete(PROMPT, ticket())
    assert (calls[0].outcome, calls[0].dollars) == (outcome, dollars)
    assert type(error).__name__ in calls[0].reason
    assert meter.spending.dollars == pytest.approx(charged)
    assert meter.closed is None


def test_a_refused_key_closes_the_meter() -> None:
    model = Priced(KeyRefused("bad key"))
    meter = metered(model)
    with pytest.raises(KeyRefused):
        meter.complete(PROMPT, ticket())
    with pytest.raises(BudgetSpent, match="bad key"):
        meter.complete(PROMPT, ticket(1))
    assert model.calls == 1


def test_a_paid_answer_is_replayed_and_not_paid_again() -> None:
    calls: list[LlmCall] = []
    first = metered(Priced(), calls)
    answer = first.complete(PROMPT, ticket(5))
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
    assert meter.complete(PROMPT, ticket(5)) == answer
    assert again.calls == 0
    assert len(calls) == 1
    assert meter.spending == first.spending
    with pytest.raises(BudgetSpent):
        meter.complete(PROMPT, ticket(5, turn=1))


def test_a_refusal_is_replayed_and_a_failure_is_tried_again() -> None:
    calls: list[LlmCall] = []
    refused = AnswerRefused("no", Answer("", "priced", 60, 5, 0, 1.0, 0.04))
    for move, error in ((0, refused), (1, Interrupted("cut"))):
        with pytest.raises(LlmError):
            metered(Priced(error), calls).complete(PROMPT, ticket(move))
    model = Priced()
    model.gate.set()
    meter = Meter(
        model, max_dollars=1, max_tokens=10**6, record=calls.append, lookup=lambda run, move, turn: calls[move]
    )
    with pytest.raises(AnswerRefused):
        meter.complete(PROMPT, ticket(0))
    assert model.calls == 0
    assert meter.complete(PROMPT, ticket(1)).text == "yes"


def test_spending_before_a_resume_counts() -> None:
    model = Priced()
    model.gate.set()
    meter = Meter(model, max_dollars=1.0, max_tokens=10**6, record=lambda call: None, spent=Spending(9, 900, 0.9, 0))
    with pytest.raises(BudgetSpent):
        meter.complete(PROMPT, ticket())


def test_an_unknown_price_is_said_and_the_tokens_hold() -> None:
    assert (
        "price is unknown: the cap of $1.00 cannot be kept, at most 1,000,000 tokens"
        in metered(Priced(dollars=None)).describe()
    )
    assert metered(Priced()).describe() == "priced, at most $1.00 and 1,000,000 tokens"
    calls: list[LlmCall] = []
    metered(Priced(dollars=None), calls).complete(PROMPT, ticket())
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
