"""Keys and passwords are hidden in all text from and to a model."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from messages_api import MessagesApi
from model_server import Fail, Raw, Say
from openai_api import MODEL, OpenAiApi

from archive.llm_calls import LlmCall
from operators.config import LlmConfig
from operators.factory import secrets_of
from operators.llm.base import Answer, AnswerRefused, CallId, LlmError, Message, Prompt
from operators.llm.claude import Claude
from operators.llm.compatible import OpenAICompatible
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.llm.secrets import HIDDEN, Secrets, without_user

KEY = "sk-canary-5f1e0c77aa"
PASSWORD = "pw-canary-8d%2F31"
BASIC = base64.b64encode(b"someone:pw-canary-8d/31").decode()
TICKET = CallId("night", 1, 0, "improve")


def hidden(url: str = "http://host") -> Secrets:
    return secrets_of(LlmConfig({"base_url": url, "api_key": KEY}))


def test_which_variables_hold_secrets() -> None:
    environment = {
        "SOME_API_KEY": "a-key-of-length", "GITHUB_TOKEN": "a-token-of-length", "DB_PASSWORD": "a-word-of-length",
        "SHORT_KEY": "short", "KEYBOARD": "a-german-layout", "TOKENIZERS_PARALLELISM": "false-false-false",
        "HOME": "/home/somebody/x", "AWS_SECRET": "a-secret-of-length",
    }  # fmt: skip
    text = " ".join(environment.values())
    said = Secrets.of(environment).hide(text)
    assert said.count(HIDDEN) == 4
    assert "short a-german-layout false-false-false /home/somebody/x" in said


def test_addresses_with_a_password() -> None:
    secrets = Secrets.of({}, urls=[f"https://someone:{PASSWORD}@host/v1", "no address", "http://[", "http://host"])
    for spelling in (PASSWORD, "pw-canary-8d/31", BASIC):
        assert secrets.hide(f"quoted: {spelling}.") == f"quoted: {HIDDEN}."
    assert secrets.hide("someone") == "someone"
    assert (
        without_user(f"llm.base_url=https://someone:{PASSWORD}@host/v1 x@y")
        == f"llm.base_url=https://{HIDDEN}@host/v1 x@y"
    )


def test_the_longer_one_is_hidden_first() -> None:
    assert Secrets.of({}, ["sk-abc", "sk-abc-def"]).hide("sk-abc-def sk-abc") == f"{HIDDEN} {HIDDEN}"
    assert Secrets.of({}, ["", " "]).hide("a b") == "a b", "an empty key hides nothing"


def metered(model: Any, calls: list[LlmCall]) -> Meter:
    quiet: Any = {"sleep": lambda seconds: None, "hidden": hidden()}
    return Meter(model, max_dollars=9, max_tokens=10**9, record=calls.append, **quiet)


def test_no_prompt_holds_a_key() -> None:
    model, calls = Scripted(lambda prompt: "fine"), list[LlmCall]()
    log = f"Traceback: environ = {{'ANTHROPIC_API_KEY': '{KEY}'}}"
    metered(model, calls).complete(Prompt(f"system {KEY}", (Message("user", log, stable=KEY),)), TICKET)
    assert KEY not in model.prompts[0].text
    assert KEY not in repr(calls)
    assert model.prompts[0].text.count(HIDDEN) == 3


def test_no_answer_holds_a_key() -> None:
    model, calls = Scripted([f"IDEA: use {KEY}"]), list[LlmCall]()
    answer = metered(model, calls).complete(Prompt("", ()), TICKET)
    assert KEY not in answer.text + repr(calls)
    declines = Scripted([AnswerRefused(f"no {KEY}", Answer(KEY, KEY, 1, 1, 0, 0.0, 0.0))])
    with pytest.raises(AnswerRefused) as raised:
        metered(declines, calls).complete(Prompt("", ()), TICKET)
    assert KEY not in repr(calls) + str(raised.value) + repr(raised.value.answer)


QUOTES = [
    Fail(401, "authentication_error", f"Incorrect API key provided: {KEY}"),
    Fail(403, "permission_error", f"Authorization: Bearer {KEY} may not"),
    Fail(404, "not_found_error", f"no route for http://someone:{PASSWORD}@host"),
    Fail(400, "invalid_request_error", f"x-api-key {KEY}"),
    Fail(429, "rate_limit_error", f"{KEY} asks too often"),
    Fail(500, "api_error", f"Authorization: Basic {BASIC}"),
    Raw(f"<html>{KEY}</html>".encode(), 502, "text/html"),
    Raw(f"{{{KEY}".encode()),
    Raw(b"", 307, headers={"location": f"http://someone:{PASSWORD}@host/"}),
    Say(f"your header was Bearer {KEY}, {PASSWORD}, {BASIC}"),
]


@pytest.mark.parametrize("act", QUOTES, ids=lambda act: f"{type(act).__name__}-{getattr(act, 'status', 200)}")
@pytest.mark.parametrize("which", ["claude", "openai"])
def test_a_service_that_quotes_what_it_was_sent(which: str, act: Any) -> None:
    """The address holds a password, too, as of a proxy that asks for one."""
    calls: list[LlmCall] = []
    with MessagesApi() if which == "claude" else OpenAiApi() as api:
        api.act, api.listing = (lambda number: act), (act if not isinstance(act, Say) else None)
        address = api.url.replace("//", f"//someone:{PASSWORD}@")
        more: Any = {"api_key": KEY, "timeout": 20.0, "retries": 0}
        model = (
            Claude("claude-sonnet-5-5", base_url=address, **more)
            if which == "claude"
            else OpenAICompatible(MODEL, base_url=f"{address}/v1", **more)
        )
        quiet: Any = {"sleep": lambda seconds: None, "hidden": hidden(address)}
        meter = Meter(model, max_dollars=9, max_tokens=10**9, record=calls.append, **quiet)
        said, shown = [], []
        for call in (lambda: meter.complete(Prompt("s", (Message("user", "x"),)), TICKET).text, lambda: meter.check()):
            try:
                said.append(str(call()))
            except LlmError as error:
                said.append(f"{error!r} {error.args} {error.__cause__!r}")
                shown.append(not error.__suppress_context__)
        assert api.headers, "it was asked"
    assert not any(shown), "no traceback shows the request"
    for secret in (KEY, PASSWORD, "pw-canary-8d/31", BASIC):
        assert secret not in repr(said) + repr(calls) + str(meter.closed)


@pytest.mark.parametrize("which", ["claude", "openai"])
def test_an_address_that_cannot_be_reached_does_not_show_its_password(which: str) -> None:
    address = f"http://someone:{PASSWORD}@127.0.0.1:9/v1"
    more: Any = {"api_key": KEY, "timeout": 5.0, "retries": 0, "base_url": address}
    model = Claude("m", **more) if which == "claude" else OpenAICompatible(MODEL, **more)
    calls: list[LlmCall] = []
    meter = Meter(model, max_dollars=9, max_tokens=10**9, record=calls.append, hidden=hidden(address))
    with pytest.raises(LlmError) as raised:
        meter.complete(Prompt("s", (Message("user", "x"),)), TICKET)
    assert "canary" not in str(raised.value) + repr(calls)
