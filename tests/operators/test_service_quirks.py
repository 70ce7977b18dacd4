"""What services and gateways do differently from the API's page, each with what a user reads of it.

The real SDKs against local servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from messages_api import MODEL as CLAUDE
from messages_api import MessagesApi
from model_server import Act, Fail, Raw, Say
from openai_api import MODEL as QWEN
from openai_api import OpenAiApi

from operators.llm.base import (
    CallId,
    Interrupted,
    InvalidSetting,
    KeyRefused,
    LanguageModel,
    LlmError,
    Message,
    NoText,
    Overloaded,
    Prompt,
    RefusedAgain,
    RequestRefused,
)
from operators.llm.claude import Claude
from operators.llm.compatible import OpenAICompatible
from operators.llm.meter import Meter

PROMPT = Prompt("you improve programs", (Message("user", "well?"),))
LIMIT = 100
BOTH = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture
def api() -> Iterator[OpenAiApi]:
    with OpenAiApi() as api:
        yield api


@pytest.fixture
def messages() -> Iterator[MessagesApi]:
    with MessagesApi() as api:
        yield api


def gpt(api: OpenAiApi, **more: Any) -> OpenAICompatible:
    return OpenAICompatible(
        **{"model": QWEN, "base_url": f"{api.url}/v1", "key": None, "timeout": 20.0, "max_tokens": LIMIT, **more}
    )


def claude(api: MessagesApi, **more: Any) -> Claude:
    return Claude(**{"model": CLAUDE, "base_url": api.url, "api_key": "sk-x", "timeout": 20.0, **more})


def metered(model: LanguageModel, **more: Any) -> Meter:
    return Meter(model, **{"max_dollars": 1.0, "max_tokens": 10**6, "record": lambda call: None, **more})


def completion(deltas: list[Any], stream: bool, stop: str = "stop", usage: Any = None, **message: Any) -> Act:
    """An answer whose ``content`` comes in these pieces; whole, it is their concatenation."""
    about = {"id": "x", "object": "x", "created": 1, "model": QWEN}
    if not stream:
        whole = deltas[0] if len(deltas) == 1 else "".join(deltas)
        choice = {"index": 0, "finish_reason": stop, "message": {"role": "assistant", "content": whole, **message}}
        return Raw(json.dumps(about | {"choices": [choice], "usage": usage}).encode())
    chunks: list[dict[str, Any]] = [
        about | {"choices": [{"index": 0, "delta": {"content": delta, **message}, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks.append(about | {"choices": [{"index": 0, "delta": {}, "finish_reason": stop}], "usage": usage})
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return Raw(events.encode(), kind="text/event-stream")


# ---------------------------------------------------------------- text


TEXT = {"type": "text", "text": "IDEA"}
PARTS: list[tuple[str, Any, str]] = [
    ("Mistral", [{"type": "thinking", "thinking": [TEXT]}, TEXT], "IDEA"),
    ("two texts", [TEXT, {"type": "text", "text": ": x"}], "IDEA: x"),
    ("Responses API", [{"type": "reasoning", "summary": []}, {"type": "output_text", "text": "IDEA"}], "IDEA"),
    ("Assistants", [{"type": "text", "text": {"value": "IDEA", "annotations": []}}], "IDEA"),
    ("strings", ["IDEA", ": x"], "IDEA: x"),
    ("one part", {"type": "text", "text": "IDEA"}, "IDEA"),
    ("image", [TEXT, {"type": "image_url", "image_url": {"url": "x"}}], "IDEA"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_typed_parts_are_joined_and_thoughts_left_out(
    api: OpenAiApi, stream: bool, content: Any, expected: str
) -> None:
    api.act = lambda number: completion([content], stream)
    assert gpt(api, stream=stream).complete(PROMPT).text == expected


@BOTH
@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (["IDEA: \ud83d", "\ude00!"], "IDEA: \U0001f600!"),
        (["IDEA: \ud83d", "x"], "IDEA: �x"),
        (["\udc80IDEA", "\ud800"], "�IDEA�"),
    ],
    ids=["split", "lone", "both ends"],
)
def test_surrogates_are_joined_or_replaced(api: OpenAiApi, stream: bool, deltas: list[str], expected: str) -> None:
    api.act = lambda number: completion(deltas, stream)
    answer = gpt(api, stream=stream).complete(PROMPT)
    assert answer.text == expected
    api.act = lambda number: Raw(b'{"model": "m\\ud83d\\u001b[2J\\n", "choices": [{"finish_reason": "stop", "message": '
                                 b'{"content": "x"}}]}')  # fmt: skip
    assert gpt(api, stream=False).complete(PROMPT).model == "m�"


def test_a_prompt_can_be_sent_whatever_it_quotes(api: OpenAiApi, messages: MessagesApi) -> None:
    odd = Prompt("a \ud83d", (Message("user", "b \udc80", stable="c \ud800"),)).followed_by("\ud83d", "\udfff")
    for server, client in ((api, gpt(api)), (messages, claude(messages))):
        assert client.complete(odd).text
        assert "�" in json.dumps(server.asked[-1], ensure_ascii=False)
    assert client.max_cost(odd).tokens > 0


def test_words_of_a_service_cannot_steer_a_terminal(api: OpenAiApi) -> None:
    api.act = lambda number: Fail(400, "invalid", "no \x1b[2J\x1b]52;c;x\x07\ud83d way")
    with pytest.raises(RequestRefused) as raised:
        gpt(api).complete(PROMPT)
    assert "400 no way" in str(raised.value)


def test_what_was_not_sent_costs_nothing(api: OpenAiApi) -> None:
    calls: list[Any] = []
    model = gpt(api, extra={"penalty": float("nan"), "odd": "\ud83d"}, price={"input": 1, "output": 1})
    meter = metered(model, record=calls.append)
    with pytest.raises(RequestRefused, match="could not be sent"):
        meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
    assert api.asked == []
    assert (meter.spending.charged_dollars, meter.spending.charged_tokens, calls[0].dollars) == (0.0, 0, 0.0)


# ---------------------------------------------------------------- counts


def counts(prompt: Any = None, answer: Any = None, total: Any = None, reasoning: Any = None, **more: Any) -> Any:
    usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}
    return usage | {"completion_tokens_details": {"reasoning_tokens": reasoning}} | more


USAGES: list[tuple[str, Any, tuple[int | None, int | None]]] = [
    ("plain", counts(21, 9, 30), (21, 9)),
    ("reasoning within", counts(21, 69, 90, 60), (21, 69)),
    ("all of it reasoning", counts(21, 0, 81, 60), (21, 60)),
    ("reasoning apart", counts(21, 9, 90, 60), (21, 69)),
    ("reasoning apart, not in the total", counts(21, 9, 30, 60), (21, 69)),
    ("reasoning apart, no total", counts(21, 9, None, 60), (21, 69)),
    ("reasoning only in the total", counts(21, 9, 90), (21, 69)),
    ("no count of the answer", counts(21, None, 81), (21, 60)),
    ("no count at all", None, (None, None)),
    ("zeros", counts(0, 0, 0), (None, None)),
    ("no prompt", counts(0, 9, 9), (None, 9)),
    ("no answer", counts(21, 0, 21), (21, None)),
    ("a total below its parts", counts(21, 9, 12), (21, None)),
    ("a total beyond the limit", counts(21, 9, 10**6), (21, None)),
    ("cached within", counts(21, 9, 30, prompt_tokens_details={"cached_tokens": 20}), (21, 9)),
    ("cached apart", counts(21, 9, 2030, prompt_tokens_details={"cached_tokens": 2000}), (2021, 9)),
    ("more cached than there is", counts(21, 9, 30, prompt_tokens_details={"cached_tokens": 2000}), (None, 9)),
    ("DeepSeek", counts(21, 9, 30, prompt_cache_hit_tokens=20, prompt_cache_miss_tokens=1), (21, 9)),
    ("words", counts("many", [9], {}), (None, None)),
    ("negative", counts(-1, -1, -2), (None, None)),
]


@BOTH
@pytest.mark.parametrize(("usage", "expected"), [row[1:] for row in USAGES], ids=[row[0] for row in USAGES])
def test_counts_that_do_not_fit_are_unknown(api: OpenAiApi, stream: bool, usage: Any, expected: Any) -> None:
    api.act = lambda number: completion(["IDEA: x"], stream, usage=usage)
    answer = gpt(api, stream=stream, price={"input": 2, "output": 10}).complete(PROMPT)
    assert (answer.tokens_in, answer.tokens_out) == expected
    assert (answer.dollars is None) == (None in expected)


def test_a_server_that_counts_nothing_reaches_the_cap(api: OpenAiApi) -> None:
    api.act = lambda number: completion(["IDEA: x"], True, usage=counts(0, 0, 0, cost=0))
    model = gpt(api, price={"input": 2, "output": 10})
    meter = metered(model, max_tokens=3 * model.max_cost(PROMPT).tokens)
    for move in range(3):
        meter.complete(PROMPT, CallId("run", move, 0, "improve"))
    with pytest.raises(LlmError, match="the cap"):
        meter.complete(PROMPT, CallId("run", 4, 0, "improve"))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"cost": 0.5}, 0.5),
        ({"cost": 0}, None),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 0.21),
        ({"cost": 0, "is_byok": True}, None),
    ],
)
def test_a_router_that_bills(api: OpenAiApi, more: Any, expected: float | None) -> None:
    """A cost of 0 is that of a model without a price; with a price, the counts decide."""
    api.act = lambda number: completion(["IDEA: x"], False, usage=counts(21, 9, 30, **more))
    by_count = (21 * 2 + 9 * 10) / 1e6
    dollars = gpt(api, stream=False, price={"input": 2, "output": 10}).complete(PROMPT).dollars
    assert dollars == pytest.approx(by_count if expected is None else expected)


def message_events(first: dict[str, Any], last: dict[str, Any], text: str = "IDEA: x", stop: str = "end_turn") -> Act:
    """A stream of the Messages API with these counts at its beginning and its end."""
    about = {"id": "x", "type": "message", "role": "assistant", "model": CLAUDE, "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": about | {"usage": first}}]
    events += [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    events += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}]
    events += [{"type": "content_block_stop", "index": 0}]
    events += [{"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": last}]
    events += [{"type": "message_stop"}]
    return Raw(
        "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events).encode(), kind="text/event-stream"
    )


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({"input_tokens": 21, "output_tokens": 1}, {"output_tokens": 9}, (21, 9)),
        ({"input_tokens": 21, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 9}, (21, 9)),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 21, "output_tokens": 9}, (21, 9)),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 0, "output_tokens": 9}, (None, 9)),
        ({"input_tokens": 0, "output_tokens": 0}, {"output_tokens": 0}, (None, None)),
        ({"input_tokens": 0, "cache_read_input_tokens": 21}, {"output_tokens": 9}, (21, 9)),
        ({"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 20}}, {"output_tokens": 9}, (21, 9)),
        ({"input_tokens": 21, "output_tokens": 1}, {}, (21, None)),
    ],
)
def test_counts_of_a_claude_stream(messages: MessagesApi, first: Any, last: Any, expected: Any) -> None:
    messages.act = lambda number: message_events(first, last)
    answer = claude(messages).complete(PROMPT)
    assert (answer.tokens_in, answer.tokens_out) == expected


# ---------------------------------------------------------------- reasoning without an answer


@BOTH
@pytest.mark.parametrize(
    ("stop", "message", "usage"),
    [
        ("length", {}, counts(21, 60, 81, 60)),
        ("stop", {}, counts(21, 60, 81, 60)),
        ("length", {}, counts(21, 0, 81, 60)),
        ("length", {}, None),
        ("stop", {"reasoning_content": "hm"}, None),
        ("length", {"reasoning": "hm"}, None),
    ],
)
def test_nothing_but_reasoning_names_the_settings(
    api: OpenAiApi, stream: bool, stop: str, message: Any, usage: Any
) -> None:
    api.act = lambda number: completion([None], stream, stop, usage, **message)
    meter = metered(gpt(api, stream=stream))
    with pytest.raises(NoText, match=r"wrote no answer\. Raise llm\.max_tokens \(it is 100\) or lower llm\.effort"):
        meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
    assert len(api.asked) == 1, "no repair, which would cost as much"
    assert meter.spending.charged_tokens > 0
    with pytest.raises(RefusedAgain, match=r"llm\.max_tokens"):
        meter.complete(PROMPT, CallId("run", 1, 0, "improve"))
    assert meter.closed is not None


def test_nothing_but_reasoning_of_claude(messages: MessagesApi) -> None:
    messages.act = lambda number: message_events({"input_tokens": 21}, {"output_tokens": 9}, "", "max_tokens")
    with pytest.raises(NoText, match=r"spent all its 9 tokens .* llm\.max_tokens .* llm\.effort"):
        claude(messages).complete(PROMPT)


# ---------------------------------------------------------------- refusals


REFUSALS: list[tuple[str, Act, dict[str, Any], str]] = [
    ("temperature", Fail(400, "invalid_request_error", "Unsupported value: 'temperature' does not support 0.7"),
     {"temperature": 0.7}, r"Set llm\.temperature=null\."),
    ("tokens key", Fail(400, "invalid_request_error", "Unrecognized request argument supplied: max_completion_tokens"),
     {}, r"Set llm\.tokens_key=max_tokens"),
    ("older key", Fail(400, "unsupported_parameter", "'max_tokens' is not supported. Use 'max_completion_tokens'."),
     {"tokens_key": "max_tokens"}, r"Set llm\.tokens_key=max_completion_tokens"),
    ("effort", Fail(422, "invalid", "extra fields not permitted: reasoning_effort"), {"effort": "low"},
     r"Set llm\.effort=null\."),
    ("stream options", Fail(400, "invalid", "stream_options is not supported"), {}, r"Set llm\.stream=false\."),
    ("extra", Fail(422, "invalid", "unknown field top_k"), {"extra": {"top_k": 3}}, r"Set llm\.extra without top_k\."),
    ("FastAPI", Raw(json.dumps({"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs"}]}).encode(), 422),
     {"temperature": 0.7}, r"body\.temperature: Extra inputs\. Set llm\.temperature=null\."),
    ("plain detail", Raw(b'{"detail": "no stream here"}', 400), {}, r"400 no stream here\. Set llm\.stream=false"),
    ("too long", Fail(400, "context_length_exceeded", "8192 tokens at most"), {}, r"Lower llm\.prompt_tokens"),
    ("too long, in words", Fail(400, "invalid", "too long"), {}, r"Lower llm\.prompt_tokens"),
    ("moderated", Raw(json.dumps({"error": {"message": "no", "metadata": {"reasons": ["x"]}}}).encode(), 403), {},
     "403 no"),
    ("unnamed", Fail(422, "invalid", "no"), {"temperature": 0.7}, r"llm\.tokens_key=max_tokens.* or llm\.temperature"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "settings", "advice"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_the_second_equal_refusal_stops_the_model_and_names_the_setting(
    api: OpenAiApi, act: Act, settings: dict[str, Any], advice: str
) -> None:
    api.act = lambda number: act
    meter = metered(gpt(api, **settings))
    with pytest.raises(RequestRefused, match=advice):
        meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
    assert meter.closed is None
    assert meter.room(0)
    assert not meter.room(1), "one at a time from now on"
    with pytest.raises(RefusedAgain, match=advice):
        meter.complete(PROMPT, CallId("run", 1, 0, "improve"))
    assert meter.closed is not None
    assert meter.spending.charged_tokens == 0
    assert len(api.asked) == 2


def test_claude_names_its_settings(messages: MessagesApi) -> None:
    messages.act = lambda number: Fail(400, "invalid_request_error", "output_config.effort: not supported")
    with pytest.raises(RequestRefused, match=r"Set llm\.effort=null"):
        claude(messages, effort="high").complete(PROMPT)
    messages.act = lambda number: Fail(400, "invalid_request_error", "system.0.cache_control.ttl: Extra inputs")
    with pytest.raises(RequestRefused, match=r"Set llm\.cache=null"):
        claude(messages).complete(PROMPT)


def test_status_and_codes_and_no_words_tell_refusals_apart(api: OpenAiApi) -> None:
    acts = [Fail(400, "one", "no"), Fail(400, "other", "no"), Fail(422, "other", "no"), Fail(422, "other", "as before")]
    api.act = lambda number: acts[number - 1]
    meter = metered(gpt(api))
    for move in range(3):
        with pytest.raises(RequestRefused):
            meter.complete(PROMPT, CallId("run", move, 0, "improve"))
    with pytest.raises(RefusedAgain):
        meter.complete(PROMPT, CallId("run", 3, 0, "improve"))


def test_a_model_that_answers_between_refusals_goes_on(api: OpenAiApi) -> None:
    long = Fail(400, "context_length_exceeded", "too long")
    acts: list[Act] = [long, completion(["IDEA"], True), long, completion(["IDEA"], True), long, long, long]
    api.act = lambda number: acts[number - 1]
    meter = metered(gpt(api))
    for move, act in enumerate(acts):
        if act is long:
            with pytest.raises(RequestRefused):
                meter.complete(PROMPT, CallId("run", move, 0, "improve"))
        else:
            meter.complete(PROMPT, CallId("run", move, 0, "improve"))
    assert meter.closed is None, "another prompt may be shorter"


@pytest.mark.parametrize("act", [Fail(529, "overloaded_error", "busy"), Fail(503, "x", "down"), Fail(500, "x", "oops")])
def test_an_outage_is_no_refusal(api: OpenAiApi, act: Act) -> None:
    api.act = lambda number: act
    meter = metered(gpt(api), sleep=lambda seconds: None)
    for move in range(4):
        with pytest.raises(Overloaded):
            meter.complete(PROMPT, CallId("run", move, 0, "improve"))
    assert meter.closed is None


@BOTH
@pytest.mark.parametrize(
    "act",
    [
        Fail(405, "method_not_allowed", "Method Not Allowed"),
        Fail(404, "not_found", "Not Found"),
        Raw(b"<html>hello</html>", kind="text/html"),
        Raw(b"<html>hello</html>", 404, kind="text/html"),
        Raw(b"", 405, kind="text/html"),
        Raw(b"hello", kind="text/plain"),
        Raw(b'{"models": []}'),
    ],
)
def test_an_address_with_something_else_behind_it_is_named(
    api: OpenAiApi, messages: MessagesApi, stream: bool, act: Act
) -> None:
    for server, client in ((api, gpt(api, stream=stream)), (messages, claude(messages, stream=stream))):
        server.act = lambda number: act
        meter = metered(client, sleep=lambda seconds: None)
        with pytest.raises(LlmError, match=r"llm\.base_url") as raised:
            meter.complete(PROMPT, CallId("run", 0, 0, "improve"))
        assert raised.value.fatal
        assert len(server.asked) <= 2


def test_an_answer_of_another_kind_is_told_from_one_that_broke_off(api: OpenAiApi) -> None:
    api.act = lambda number: Raw(b"<html>hello</html>", kind="text/html")
    with pytest.raises(Interrupted) as raised:
        gpt(api).complete(PROMPT)
    assert raised.value.settled
    api.act = lambda number: Say(cut=True)
    with pytest.raises(Interrupted) as raised:
        gpt(api).complete(PROMPT)
    assert not raised.value.settled


# ---------------------------------------------------------------- settings and environment


def proxies(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ALL_PROXY", "socks5h://127.0.0.1:9", "ALL_PROXY is 'socks5h://127.0.0.1:9', a SOCKS proxy"),
        ("all_proxy", "socks4://u:word@127.0.0.1:9", r"all_proxy is 'socks4://\[hidden\]@127"),
        ("http_proxy", "http://127.0.0.1:notaport", "http_proxy is 'http://127.0.0.1:notaport'; expected"),
        ("http_proxy", "ftp://127.0.0.1:3", "http_proxy is 'ftp://127.0.0.1:3'; expected"),
        ("SSL_CERT_FILE", "/nowhere.pem", "SSL_CERT_FILE is '/nowhere.pem'; expected"),
    ],
)
def test_a_variable_that_is_unusable_is_named(
    api: OpenAiApi, messages: MessagesApi, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    proxies(monkeypatch, **{variable: value})
    for client in (gpt(api), claude(messages)):
        for act in (client.check, lambda client=client: client.complete(PROMPT)):
            with pytest.raises(InvalidSetting, match=words):
                act()


@pytest.mark.parametrize("address", ["http://127.0.0.1:x/v1", "http://127.0.0.1:99999/v1", "http://[::1/v1", "http://"])
def test_an_address_that_is_none_is_named(messages: MessagesApi, address: str) -> None:
    for client in (OpenAICompatible("m", base_url=address, key=None), Claude("m", base_url=address, api_key="sk-x")):
        for act in (client.check, lambda client=client: client.complete(PROMPT)):
            with pytest.raises(LlmError, match=r"llm\.base_url") as raised:
                act()
            assert raised.value.fatal


@pytest.mark.parametrize("key", ["sk-x\n", "sk-ключ", "sk x", "sk-\x00"])
def test_a_key_that_no_header_can_hold_names_its_variable(
    api: OpenAiApi, messages: MessagesApi, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    if "\x00" not in key:
        monkeypatch.setenv("SOME_KEY", key)
    more: Any = {"key": "SOME_KEY", "api_key": key if "\x00" in key else None}
    for client in (gpt(api, **more), claude(messages, **more)):
        with pytest.raises(KeyRefused, match="SOME_KEY holds a blank, a line end") as raised:
            client.check()
        assert key not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [{"timeout": 0}, {"timeout": -1.0}, {"timeout": "soon"}, {"timeout": float("nan")}, {"max_tokens": 0},
     {"max_tokens": "many"}, {"max_tokens": 1.5}, {"retries": -1}, {"retries": None}],
)  # fmt: skip
def test_numbers_that_are_none_are_named(settings: dict[str, Any]) -> None:
    (name,) = settings
    for kind in (OpenAICompatible, Claude):
        with pytest.raises(ValueError, match=rf"llm\.{name} is"):
            kind("m", **settings)
