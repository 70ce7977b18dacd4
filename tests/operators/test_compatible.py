"""The OpenAI-compatible client alone; the rest is in ``test_llm_wire.py``."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from typing import Any

import pytest
from model_server import TOKENS_IN, TOKENS_OUT, Act, Fail, Raw, Say
from openai_api import MODEL, OpenAiApi

from operators.llm.base import AnswerRefused, Interrupted, KeyRefused, Message, Prompt
from operators.llm.compatible import OpenAICompatible

PROMPT = Prompt(
    "you improve programs",
    (Message("user", "new", stable="parent"), Message("assistant", "hm"), Message("user", "well?")),
)
FREE = {"input": 0, "output": 0}


@pytest.fixture
def api() -> Iterator[OpenAiApi]:
    with OpenAiApi() as api:
        yield api


def client(api: OpenAiApi, **more: Any) -> OpenAICompatible:
    return OpenAICompatible(**{"model": MODEL, "base_url": f"{api.url}/v1", "key": None, "timeout": 20.0, **more})


def test_what_is_sent(api: OpenAiApi) -> None:
    client(api, tokens_key="max_tokens", max_tokens=99, temperature=0.7, effort="low", extra={"top_k": 3}).complete(
        PROMPT
    )
    (sent,) = api.asked
    assert sent["messages"] == [
        {"role": "system", "content": "you improve programs"},
        {"role": "user", "content": "parent\n\nnew"},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "well?"},
    ]
    assert (sent["max_tokens"], sent["temperature"], sent["reasoning_effort"], sent["top_k"]) == (99, 0.7, "low", 3)
    assert "max_completion_tokens" not in sent
    assert sent["stream_options"] == {"include_usage": True}
    client(api).complete(PROMPT)
    assert not {"temperature", "reasoning_effort", "max_tokens"} & set(api.asked[1])


@pytest.mark.slow
def test_a_local_server_wants_no_key(api: OpenAiApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    client(api).complete(PROMPT)
    assert "sk-of-somebody-else" not in json.dumps(api.headers), "nor does it get one that is meant for others"
    client(api, key="OPENAI_API_KEY").complete(PROMPT)
    assert api.headers[-1]["authorization"] == "Bearer sk-of-somebody-else"


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_cached_tokens_have_their_own_price(api: OpenAiApi, stream: bool) -> None:
    api.cached = 2000
    answer = client(api, stream=stream, price={"input": 2, "output": 10, "read": 0.1}).complete(PROMPT)
    assert (answer.tokens_in, answer.tokens_cached, answer.tokens_out) == (TOKENS_IN, 2000, TOKENS_OUT)
    assert answer.dollars == pytest.approx(((TOKENS_IN - 2000) * 2 + 2000 * 0.1 + TOKENS_OUT * 10) / 1e6)


def test_what_a_router_says_that_it_cost_counts(api: OpenAiApi) -> None:
    api.cost = 0.0123
    assert client(api).complete(PROMPT).dollars == 0.0123
    for nonsense in (-1.0, float("nan"), 1e12):
        api.cost = nonsense
        assert client(api).complete(PROMPT).dollars is None


def test_a_machine_of_ones_own_costs_nothing_whether_it_counts_or_not(api: OpenAiApi) -> None:
    api.act = lambda number: Say("IDEA: x", counted=number > 1)
    silent, counted = (client(api, price=FREE).complete(PROMPT) for _ in range(2))
    assert (silent.tokens_in, silent.dollars) == (None, 0.0)
    assert (counted.tokens_in, counted.dollars) == (TOKENS_IN, 0.0)
    assert client(api).complete(PROMPT).dollars is None, "but an unknown price is unknown"


def test_nonsense_counts_are_unknown(api: OpenAiApi) -> None:
    def usage(value: object) -> Raw:
        body = api.whole(Say(), "IDEA: x", 1) | {"usage": {"prompt_tokens": value, "completion_tokens": value}}
        return Raw(json.dumps(body).encode())

    for value in (-5, "many", True, 1e30, None):
        api.act = lambda number, value=value: usage(value)  # type: ignore[misc]
        answer = client(api, stream=False).complete(PROMPT)
        assert (answer.text, answer.tokens_in, answer.tokens_out) == ("IDEA: x", None, None)


def test_a_connection_that_breaks_after_the_end_of_the_answer_costs_only_the_count(api: OpenAiApi) -> None:
    pieces = api.pieces(Say(), "IDEA: x", 1)
    api.act = lambda number: Raw(b"".join(pieces[:-2]) + b"data: {broken\n\n", kind="text/event-stream")
    answer = client(api).complete(PROMPT)
    assert (answer.text, answer.tokens_in) == ("IDEA: x", None)


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_in_words_is_one(api: OpenAiApi, stream: bool) -> None:
    part = {"role": "assistant", "content": None, "refusal": "I cannot help with that"}
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": part}
    body = json.dumps({"id": "x", "object": "x", "created": 1, "model": MODEL, "choices": [choice]})
    sent = f"data: {body}\n\ndata: [DONE]\n\n" if stream else body
    api.act = lambda number: Raw(sent.encode(), kind="text/event-stream" if stream else "application/json")
    with pytest.raises(AnswerRefused, match="I cannot help with that"):
        client(api, stream=stream).complete(PROMPT)


def test_a_router_whose_provider_failed_is_an_interruption(api: OpenAiApi) -> None:
    chunk = {"id": "x", "model": MODEL, "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "error"}]}
    api.act = lambda number: Raw(f"data: {json.dumps(chunk)}\n\n".encode(), kind="text/event-stream")
    with pytest.raises(Interrupted, match="broke off"):
        client(api).complete(PROMPT)


def test_thoughts_at_the_beginning_are_left_out(api: OpenAiApi) -> None:
    api.act = lambda number: Say("<think>\nperhaps\n<<<<<<< SEARCH\n</think>\n\nIDEA: x <think>kept</think>")
    assert client(api).complete(PROMPT).text == "IDEA: x <think>kept</think>"


def test_the_check_names_what_the_server_has_and_leaves_the_rest_to_the_first_call(api: OpenAiApi) -> None:
    assert client(api).check() is None
    warning = client(api, model="qwen9").check()
    assert warning is not None
    assert f"not among the 1 models that the server lists: {MODEL}. Its first call will show" in warning
    assert "llm.model" in warning
    api.model = "qwen9:latest"
    assert client(api, model="qwen9").check() is None


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("x/y", "x/y:nitro"),
        ("models/g", "g"),
        ("g", "models/g"),
        ("x/y:free", "x/y:free"),
        ("qwen9:latest", "qwen9"),
    ],
)
def test_a_name_that_the_list_has_in_another_spelling_needs_no_warning(api: OpenAiApi, listed: str, name: str) -> None:
    api.model = listed
    assert client(api, model=name).check() is None


@pytest.mark.parametrize(
    "listing",
    [
        Fail(403, "permission_error", "this key may not list models"),
        Fail(404, "not_found", "no such path"),
        Fail(405, "method_not_allowed", "Method Not Allowed"),
        Fail(501, "not_implemented", "no"),
        Raw(b'{"object": "list", "data": null}'),
        Raw(b'{"object": "list", "data": [{"id": "first"}], "has_more": true}'),
        Raw(b'[{"name": "another"}]'),
        Raw(b'{"models": ["another"]}'),
        Raw(b"{}"),
        Raw(b"null"),
    ],
)
def test_a_list_that_says_nothing_of_the_model_is_a_warning_and_no_error(api: OpenAiApi, listing: Act) -> None:
    api.listing = listing
    warning = client(api, model="my-deployment").check()
    assert warning is not None
    assert "my-deployment could not be checked for free" in warning
    assert client(api, model="my-deployment").complete(PROMPT).text


def test_a_list_in_other_forms_is_read(api: OpenAiApi) -> None:
    for body in (b'[{"name": "mine"}]', b'{"models": [{"model": "mine"}]}', b'["mine"]'):
        api.listing = Raw(body)
        assert client(api, model="mine").check() is None


def test_a_page_instead_of_a_list_names_the_address(api: OpenAiApi) -> None:
    api.listing = Raw(b"<html>hello</html>", kind="text/html")
    with pytest.raises(Interrupted, match=r"check llm\.base_url"):
        client(api).check()


def test_a_key_that_is_refused_names_its_variable(api: OpenAiApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.act = lambda number: Fail(401, "invalid_api_key", "who are you")
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-1")
    with pytest.raises(KeyRefused, match="Set OPENROUTER_API_KEY to a key that is valid"):
        client(api, key="OPENROUTER_API_KEY").complete(PROMPT)
    with pytest.raises(KeyRefused, match=r"Name the key's variable in llm\.key"):
        client(api).complete(PROMPT)


def test_without_the_package_it_says_what_to_install(api: OpenAiApi, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "openai":
            raise ModuleNotFoundError("No module named 'openai'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    for act in (lambda: client(api).complete(PROMPT), lambda: client(api).check()):
        with pytest.raises(KeyRefused, match=r"pip install 'treewright\[openai\]'"):
            act()
