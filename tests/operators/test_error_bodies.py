"""Errors of services in the shapes that they have: the words reach the user, and the cause decides what is done."""

from __future__ import annotations

import json
from typing import Any

import pytest
from messages_api import MessagesApi
from model_server import Act, Raw
from openai_api import OpenAiApi
from test_service_quirks import PROMPT, api, claude, completion, gpt, messages, metered

from operators.llm.base import (
    Answer,
    AnswerRefused,
    CallId,
    Interrupted,
    KeyRefused,
    LlmError,
    NoText,
    Overloaded,
    QuotaExhausted,
    RequestRefused,
    UnknownModel,
)
from operators.llm.error_bodies import words_of

__all__ = ["api", "messages"]

KEY = {"error": {"code": 400, "message": "API key not valid. Please pass one.", "status": "INVALID_ARGUMENT"}}
EXTRA = {"type": "extra_forbidden", "loc": ["body", "tools"], "msg": "Extra inputs are not permitted"}
BODIES: list[tuple[str, int, Any, type[LlmError], str]] = [
    ("Gemini, a list", 400, [KEY], KeyRefused, "API key not valid"),
    ("Gemini", 429, [{"error": {"code": 429, "message": "exceeded your quota"}}], Overloaded, "exceeded your quota"),
    ("Ollama", 404, {"error": "model 'x' not found, try pulling it first"}, UnknownModel, "try pulling it first"),
    ("Ollama, a field", 400, {"error": "x does not support thinking"}, RequestRefused, "not support thinking"),
    ("Mistral", 422, {"object": "error", "message": {"detail": [EXTRA]}}, RequestRefused, r"body\.tools: Extra inputs"),
    ("Mistral, model", 400, {"object": "error", "message": "Invalid model: x"}, UnknownModel, "llm.model"),
    ("xAI, model", 400, {"code": "an invalid argument", "error": "Model not found: x"}, UnknownModel, "llm.model"),
    ("xAI, credit", 403, {"code": "x", "error": "Your team doesn't have any credits."}, QuotaExhausted, "any credits"),
    ("Cloudflare", 400, {"errors": [{"code": 5004, "message": "Invalid data"}]}, RequestRefused, "Invalid data"),
    ("problem", 400, {"type": "about:blank", "title": "Bad", "detail": "no JSON"}, RequestRefused, "no JSON"),
    ("Azure, filter", 400, {"error": {"code": "content_filter", "message": "no"}}, RequestRefused, "400 no$"),
    ("unknown names", 400, {"error": {"message": {"a": "odd words"}}}, RequestRefused, "odd words"),
    ("a page", 400, "<html><title>400 Bad thing</title><body>x", RequestRefused, "400 Bad thing"),
    ("a page without a title", 502, "<html><h1>bad <b>gateway</b></h1>", Overloaded, "502 bad gateway"),
    ("law", 451, {"error": {"message": "not in your country"}}, RequestRefused, "not in your country$"),
    ("OpenRouter", 200, {"error": {"code": 429, "message": "upstream is busy"}}, Overloaded, "upstream is busy"),
    ("OpenRouter, credit", 200, {"error": {"code": 402, "message": "no credit"}}, QuotaExhausted, "no credit"),
    ("MiniMax", 200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None},
     QuotaExhausted, "insufficient balance"),
    ("llama.cpp", 200, {"error": "CUDA out of memory"}, Interrupted, "in place of an answer: CUDA out of memory"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "words"), [row[1:] for row in BODIES], ids=[r[0] for r in BODIES])
def test_the_words_of_an_error_arrive_whatever_its_shape(
    api: OpenAiApi, messages: MessagesApi, status: int, body: Any, kind: type[LlmError], words: str
) -> None:
    page = isinstance(body, str)
    act = Raw((body if page else json.dumps(body)).encode(), status, "text/html" if page else "application/json")
    for server, client in ((api, gpt(api)), (api, gpt(api, stream=False)), (messages, claude(messages, stream=False))):
        server.act = lambda number: act
        with pytest.raises(LlmError, match=words) as raised:
            client.complete(PROMPT)
        assert type(raised.value) is kind


def test_an_error_that_a_stream_begins_with(api: OpenAiApi) -> None:
    event = b'data: {"error": {"code": 429, "message": "slow down"}, "choices": []}\n\n'
    api.act = lambda number: Raw(event, kind="text/event-stream")
    with pytest.raises(Overloaded, match="429 slow down"):
        gpt(api).complete(PROMPT)
    half = b'data: {"choices": [{"delta": {"content": "IDEA"}}]}\n\n'
    api.act = lambda number: Raw(half + event, kind="text/event-stream")
    with pytest.raises(Interrupted, match="slow down"):
        gpt(api).complete(PROMPT)


def test_a_server_that_does_not_stream(api: OpenAiApi) -> None:
    api.act = lambda number: completion(["IDEA: x"], False)
    assert gpt(api).complete(PROMPT).text == "IDEA: x"


@pytest.mark.parametrize("deep", ["[" * 50 + "]" * 50, '{"a":' * 50 + "1" + "}" * 50, "[1, null, true, {}]", '""'])
def test_a_body_without_words_has_none(deep: str) -> None:
    assert words_of(json.loads(deep)) == ""


ENDS: list[tuple[str, Any, type[LlmError] | None]] = [
    ("MAX_TOKENS", "IDEA: x", None),
    ("model_length", "", NoText),
    ("SAFETY", None, AnswerRefused),
    ("sensitive", "", AnswerRefused),
    ("insufficient_system_resource", "IDEA", Interrupted),
    ("tool_calls", None, NoText),
    ("stop", "", NoText),
    ("stop", " \n", NoText),
    ("stop", {"a": 1}, NoText),
]


@pytest.mark.parametrize(("stop", "content", "kind"), ENDS)
def test_ends_of_an_answer_in_other_words(api: OpenAiApi, stop: str, content: Any, kind: type[LlmError] | None) -> None:
    act: Act = completion([content], False, stop)
    api.act = lambda number: act
    try:
        answer: Answer | LlmError = gpt(api, stream=False).complete(PROMPT)
    except LlmError as error:
        answer = error
    assert answer.cut_off if isinstance(answer, Answer) else type(answer) is kind


def test_answers_without_text_stop_a_model(api: OpenAiApi) -> None:
    """Not a repair turn for each: 52 equal calls."""
    api.act = lambda number: completion([""], False)
    meter = metered(gpt(api, stream=False))
    for move in range(2):
        with pytest.raises(LlmError, match=r"sent no text \(finish_reason: stop\)"):
            meter.complete(PROMPT, CallId("run", move, 0, "improve"))
    assert meter.closed is not None
