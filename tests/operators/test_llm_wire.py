"""Both clients at the wire: the real SDKs against local servers, streamed and not streamed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from messages_api import MODEL as CLAUDE
from messages_api import MessagesApi
from model_server import TOKENS_IN, TOKENS_OUT, Act, Fail, Hang, ModelServer, Raw, Say
from openai_api import MODEL as QWEN
from openai_api import OpenAiApi

from operators.llm.base import (
    AnswerRefused,
    Interrupted,
    KeyRefused,
    LanguageModel,
    LlmError,
    Message,
    NoText,
    Overloaded,
    Prompt,
    QuotaExhausted,
    RequestRefused,
    Unavailable,
    UnknownModel,
)
from operators.llm.claude import Claude
from operators.llm.compatible import OpenAICompatible
from operators.llm.wire import LONGEST_ANSWER

KEY = "sk-test-1234567890abcdef"
PROMPT = Prompt(
    "you improve programs", (Message("user", "hello"), Message("assistant", "hm"), Message("user", "well?"))
)


class Side:
    """A server, and how a client for it is made."""

    def __init__(self, api: ModelServer, stream: bool) -> None:
        self.api = api
        self.stream = stream
        self.is_claude = isinstance(api, MessagesApi)

    def client(self, **more: Any) -> LanguageModel:
        options: dict[str, Any] = {"timeout": 20.0, "api_key": KEY, "stream": self.stream, **more}
        if self.is_claude:
            return Claude(**{"model": CLAUDE, "base_url": self.api.url, **options})
        return OpenAICompatible(**{"model": QWEN, "base_url": f"{self.api.url}/v1", **options})

    def says(self, *acts: Act) -> Side:
        self.api.act = lambda number: acts[min(number, len(acts)) - 1]
        return self


@pytest.fixture(params=["claude-stream", "claude-whole", "openai-stream", "openai-whole"])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    kind, _, way = request.param.partition("-")
    with MessagesApi() if kind == "claude" else OpenAiApi() as api:
        yield Side(api, way == "stream")


STREAMED = pytest.mark.parametrize("side", ["claude-stream", "openai-stream"], indirect=True)


def test_an_answer_with_its_tokens(side: Side) -> None:
    answer = side.says(Say("IDEA: x\ny")).client(max_tokens=777).complete(PROMPT)
    assert (answer.text, answer.cut_off) == ("IDEA: x\ny", False)
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached) == (TOKENS_IN, TOKENS_OUT, 0)
    assert answer.model == (CLAUDE if side.is_claude else QWEN)
    assert answer.seconds > 0
    (sent,) = side.api.asked
    assert bool(sent.get("stream")) is side.stream
    assert sent["max_tokens" if side.is_claude else "max_completion_tokens"] == 777
    assert side.api.headers[0]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (Fail(401, "authentication_error", "invalid key"), KeyRefused),
        (Fail(403, "permission_error", "not for you"), KeyRefused),
        (Fail(403, "forbidden", "input was flagged by moderation"), RequestRefused),
        (Fail(400, "content_policy_violation", "not this"), RequestRefused),
        (Fail(402, "billing_error", "pay first"), QuotaExhausted),
        (Fail(429, "insufficient_quota", "You exceeded your current quota"), QuotaExhausted),
        (Fail(400, "billing_hard_limit_reached", "limit reached"), QuotaExhausted),
        (Fail(400, "invalid_request_error", "Your credit balance is too low"), QuotaExhausted),
        (Fail(400, "invalid_request_error", "prompt is too long"), RequestRefused),
        (Fail(404, "not_found_error", "model: x"), UnknownModel),
        (Fail(400, "model_not_found", "no such model"), UnknownModel),
        (Fail(413, "request_too_large", "too large"), RequestRefused),
        (Fail(429, "rate_limit_error", "slow down"), Overloaded),
        (Fail(500, "api_error", "oops"), Overloaded),
        (Fail(529, "overloaded_error", "busy"), Overloaded),
        (Fail(408, "timeout", "took too long"), Overloaded),
    ],
)
def test_each_refusal_has_its_name(side: Side, act: Fail, expected: type[LlmError]) -> None:
    with pytest.raises(expected) as raised:
        side.says(act).client().complete(PROMPT)
    assert type(raised.value) is expected
    assert act.message in str(raised.value)
    assert len(side.api.asked) == 1, "the client sends once; the meter sends again"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "soon"}, None),
        ({"date": "Sat, 21 Nov 2026 10:00:00 GMT", "retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30.0),
    ],
)
def test_how_long_the_service_wants_to_be_left_alone(
    side: Side, headers: dict[str, str], seconds: float | None
) -> None:
    with pytest.raises(Overloaded) as raised:
        side.says(Fail(429, "rate_limit_error", "slow down", headers)).client().complete(PROMPT)
    if "date" in headers:  # the server adds a date of its own
        assert raised.value.retry_after is not None
    else:
        assert raised.value.retry_after == seconds


@pytest.mark.parametrize(
    "act",
    [
        Raw(b"{not json"),
        Raw(b'"hello"'),
        Raw(b"{}"),
        Raw(b"[1, 2]"),
        Raw(b'{"choices": [], "content": null}'),
        Raw(b""),
        Raw(b"<html>hello</html>", kind="text/html"),
        Raw(b"data: {not json\n\n", kind="text/event-stream"),
        Raw(b"event: message_start\ndata: 7\n\n", kind="text/event-stream"),
        Raw(None),
        Say(cut=True),
    ],
)
def test_what_is_no_answer_is_an_interruption(side: Side, act: Act) -> None:
    """It may have been billed: the meter assumes so."""
    with pytest.raises(Interrupted):
        side.says(act).client().complete(PROMPT)


def test_a_bad_gateway_is_an_overload(side: Side) -> None:
    with pytest.raises(Overloaded):
        side.says(Raw(b"<html>bad gateway</html>", 502, "text/html")).client().complete(PROMPT)


@STREAMED
def test_a_stream_that_ends_too_early_is_told_from_one_that_ends(side: Side) -> None:
    """A proxy that closes a stream properly, in the middle of the answer."""
    pieces = side.api.pieces(Say(), "IDEA: a long answer " * 40, 1)
    for kept in (1, 8, len(pieces) - (4 if side.is_claude else 3)):
        side.says(Raw(b"".join(pieces[:kept]), kind="text/event-stream"))
        with pytest.raises(Interrupted):
            side.client().complete(PROMPT)
    side.says(Raw(b"".join(pieces), kind="text/event-stream"))
    assert side.client().complete(PROMPT).text == "IDEA: a long answer " * 40


@STREAMED
def test_an_error_in_the_middle_of_a_stream_is_an_interruption(side: Side) -> None:
    with pytest.raises(Interrupted, match="busy now"):
        side.says(Fail(200, "overloaded_error", "busy now")).client().complete(PROMPT)


def test_empty_cut_off_and_refused_answers(side: Side) -> None:
    client = side.says(Say(""), Say("half of", stop="length"), Say("", stop="refusal")).client()
    with pytest.raises(NoText, match="sent no text") as empty:
        client.complete(PROMPT)
    assert empty.value.answer is not None
    assert empty.value.answer.tokens_out == TOKENS_OUT, "it was billed"
    answer = client.complete(PROMPT)
    assert (answer.text, answer.cut_off) == ("half of", True)
    with pytest.raises(AnswerRefused) as raised:
        client.complete(PROMPT)
    assert raised.value.answer is not None
    assert raised.value.answer.tokens_out == TOKENS_OUT, "a refusal was billed"


def test_tokens_that_are_not_named_are_unknown_and_not_zero(side: Side) -> None:
    answer = side.says(Say("IDEA: x", counted=False)).client().complete(PROMPT)
    assert (answer.text, answer.tokens_in, answer.tokens_out, answer.dollars) == ("IDEA: x", None, None, None)


def test_an_answer_of_two_megabytes_arrives(side: Side) -> None:
    text = "IDEA: long\n" + "x = 1\n" * 350_000
    assert side.says(Say(text)).client().complete(PROMPT).text == text


def test_an_answer_without_an_end_is_ended(side: Side) -> None:
    body = b"data: " + b"x" * (LONGEST_ANSWER + 1000)
    with pytest.raises(Interrupted, match="bytes"):
        side.says(Raw(body, kind="text/event-stream" if side.stream else "application/json")).client().complete(PROMPT)


def test_a_time_out_is_an_interruption(side: Side) -> None:
    with pytest.raises(Interrupted, match="timed out"):
        side.says(Hang()).client(timeout=0.2).complete(PROMPT)


@STREAMED
def test_an_answer_that_trickles_is_over_when_its_time_is(side: Side) -> None:
    """Each piece comes in time, and the whole would take for ever."""
    began = time.monotonic()
    with pytest.raises(Interrupted, match="timed out"):
        side.says(Say("word " * 100, trickle=0.4)).client(timeout=1.0).complete(PROMPT)
    assert time.monotonic() - began < 8, "twenty pieces would take that long"


def test_calls_at_the_same_time_have_their_own_time(side: Side) -> None:
    side.api.latency = lambda number: 0.3 if number % 2 else 0.0
    client, found = side.client(timeout=20.0), []

    def call() -> None:
        found.append(client.complete(PROMPT).text)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 8, "no two alike"


def test_nobody_listens(side: Side) -> None:
    """Nothing was sent, so nothing was billed."""
    with pytest.raises(Overloaded, match="cannot be reached"):
        side.client(base_url="http://127.0.0.1:9").complete(PROMPT)


@pytest.mark.parametrize("address", ["127.0.0.1:9/v1", "htp://host/v1", "/v1"])
def test_an_address_that_is_none_is_said(side: Side, address: str) -> None:
    with pytest.raises(LlmError) as raised:
        side.client(base_url=address).complete(PROMPT)
    assert raised.value.fatal, "asking again would not help"
    assert "llm.base_url" in str(raised.value)


def test_no_redirect_is_followed_with_a_key(side: Side) -> None:
    with MessagesApi() as elsewhere:
        moved = Raw(b"", 307, headers={"location": f"{elsewhere.url}/v1/messages"})
        with pytest.raises(UnknownModel, match="has moved: 307"):
            side.says(moved).client().complete(PROMPT)
        assert elsewhere.headers == []


def test_the_check_is_free_and_tells_what_is_wrong(side: Side) -> None:
    client = side.client()
    client.check()
    side.api.listing = Fail(401, "authentication_error", "invalid key")
    with pytest.raises(KeyRefused):
        client.check()
    side.api.listing = Fail(503, "overloaded_error", "busy")
    with pytest.raises(Unavailable):
        client.check()
    assert side.api.asked == []


def test_a_worst_case_bounds_what_a_call_costs(side: Side) -> None:
    price = {"input": 2, "output": 10}
    client = side.says(Say("x")).client(max_tokens=TOKENS_OUT, price=price)
    long = Prompt("s" * 2 * TOKENS_IN, PROMPT.messages)
    max_cost, answer = client.max_cost(long), client.complete(long)
    assert max_cost.dollars is not None
    assert answer.dollars == pytest.approx((2 * TOKENS_IN + 10 * TOKENS_OUT) / 1e6)
    assert answer.dollars <= max_cost.dollars
    assert max_cost.tokens >= TOKENS_IN + TOKENS_OUT


def test_without_a_key_nothing_is_sent(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(KeyRefused, match="no key: set"):
        side.client(api_key=None).complete(PROMPT)
    assert side.api.headers == []


def test_a_bug_of_ours_is_not_taken_for_an_answer(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Callable[[], None]:
        raise RuntimeError("ours")

    client = side.says(Say("x")).client()
    monkeypatch.setattr(client, "_answer", broken)
    with pytest.raises(RuntimeError, match="ours"):
        client.complete(PROMPT)


def test_the_local_servers_speak_as_the_services_do(side: Side) -> None:
    """What the SDKs of both make of it without our clients, so that the tests are no mirror of themselves."""
    if side.is_claude:
        import anthropic

        service = anthropic.Anthropic(api_key=KEY, base_url=side.api.url, max_retries=0)
        with service.messages.stream(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": "x"}]) as said:
            message = said.get_final_message()
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens == TOKENS_OUT
        assert message.content[-1].type == "text"
    else:
        import openai

        other = openai.OpenAI(api_key=KEY, base_url=f"{side.api.url}/v1", max_retries=0)
        found = other.chat.completions.create(model=QWEN, messages=[{"role": "user", "content": "x"}])
        assert found.usage is not None
        assert found.usage.completion_tokens == TOKENS_OUT
        assert json.dumps(found.choices[0].message.content)
