"""The Claude client alone: cache marks, effort, prices of the cache. The rest is in ``test_llm_wire.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from messages_api import MODEL, TOKENS_IN, TOKENS_OUT, MessagesApi
from model_server import Fail, Raw, Say

from operators.llm.base import KeyRefused, Message, Prompt, UnknownModel
from operators.llm.claude import Claude

STABLE = Message("user", "what is new", stable="the parent program")
PROMPT = Prompt("you improve programs", (STABLE, Message("assistant", "hm"), Message("user", "well?")))


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi() as api:
        yield api


def claude(api: MessagesApi, **more: Any) -> Claude:
    return Claude(**{"model": MODEL, "timeout": 20.0, "api_key": "sk-ant-not-a-key", "base_url": api.url, **more})


@pytest.mark.slow
def test_what_is_the_same_is_marked_for_the_cache(api: MessagesApi) -> None:
    claude(api, effort="medium").complete(PROMPT)
    (sent,) = api.asked
    mark = {"cache_control": {"type": "ephemeral", "ttl": "5m"}}
    assert sent["system"] == [{"type": "text", "text": "you improve programs", **mark}]
    assert sent["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "the parent program", **mark},
                {"type": "text", "text": "what is new"},
            ],
        },
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "well?"},
    ]
    assert sent["output_config"] == {"effort": "medium"}


@pytest.mark.slow
def test_the_cache_may_keep_it_for_an_hour_or_not_at_all(api: MessagesApi) -> None:
    claude(api, cache="1h").complete(PROMPT)
    claude(api, cache=None).complete(PROMPT)
    hour, never = api.asked
    assert json.dumps(hour).count('{"type": "ephemeral", "ttl": "1h"}') == 2
    assert "cache_control" not in json.dumps(never)
    assert "output_config" not in never, "models that do not know the effort are not told of it"
    with pytest.raises(ValueError, match=r"llm\.cache is '2h'; expected 5m, 1h or null"):
        claude(api, cache="2h")


@pytest.mark.slow
def test_no_more_marks_than_the_api_takes(api: MessagesApi) -> None:
    claude(api).complete(Prompt("s", (STABLE, Message("assistant", "hm")) * 5 + (Message("user", "x"),)))
    assert json.dumps(api.asked[0]).count("cache_control") == 4


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_the_cache_is_billed_by_its_own_prices(api: MessagesApi, stream: bool) -> None:
    usage = {
        "input_tokens": 100, "output_tokens": 50, "cache_creation_input_tokens": 1500, "cache_read_input_tokens": 3000,
        "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 500},
    }  # fmt: skip
    api.usage = lambda say: usage  # type: ignore[method-assign]
    answer = claude(api, stream=stream).complete(PROMPT)
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached) == (4600, 50, 3000)
    assert answer.dollars == pytest.approx((100 * 2 + 1000 * 2.5 + 500 * 4 + 3000 * 0.1 + 50 * 10) / 1e6)


def test_an_unknown_price_is_none_unless_it_is_told(api: MessagesApi) -> None:
    model = claude(api, model="claude-of-tomorrow")
    assert model.complete(PROMPT).dollars is None
    assert model.max_cost(PROMPT).dollars is None
    told = claude(api, model="claude-of-tomorrow", price={"input": 1, "output": 2})
    assert told.complete(PROMPT).dollars == pytest.approx((TOKENS_IN + 2 * TOKENS_OUT) / 1e6)


def test_an_answer_that_outgrew_the_context_is_cut_off(api: MessagesApi) -> None:
    message = api.whole(Say(), "half of", 1) | {"stop_reason": "model_context_window_exceeded"}
    api.act = lambda number: Raw(json.dumps(message).encode())
    assert claude(api, stream=False).complete(PROMPT).cut_off


def test_thinking_is_no_answer(api: MessagesApi) -> None:
    api.act = lambda number: Say("IDEA: x")
    assert [claude(api, stream=stream).complete(PROMPT).text for stream in (True, False)] == ["IDEA: x"] * 2


def test_the_check_tells_a_bad_key_from_an_unknown_model(api: MessagesApi) -> None:
    model = claude(api)
    model.check()
    api.listing = Fail(401, "authentication_error", "invalid x-api-key")
    with pytest.raises(KeyRefused, match="Set ANTHROPIC_API_KEY to a key that is valid"):
        model.check()
    api.listing = Fail(404, "not_found_error", "model: x")
    with pytest.raises(UnknownModel, match=r"Set llm\.model"):
        model.check()


def test_the_key_may_stand_in_another_variable(api: MessagesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWN_KEY", "sk-ant-mine")
    claude(api, api_key=None, key="MY_OWN_KEY").complete(PROMPT)
    assert api.headers[0]["authorization"] == "Bearer sk-ant-mine"
