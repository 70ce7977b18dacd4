"""Claude at the wire: the real SDK against a local server that speaks the Messages API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from operators.llm.base import (
    AnswerRefused,
    Interrupted,
    KeyRefused,
    LlmError,
    Message,
    Overloaded,
    Prompt,
    QuotaExhausted,
    RequestRefused,
    UnknownModel,
)
from operators.llm.claude import Claude

KEY = "sk-ant-not-a-key"
PROMPT = Prompt(
    "you improve programs", (Message("user", "hello"), Message("assistant", "hm"), Message("user", "well?"))
)
MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "stop_reason": "end_turn",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "IDEA: "},
        {"type": "text", "text": "x"},
    ],
    "usage": {
        "input_tokens": 100, "output_tokens": 50, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 3000,
    },
}  # fmt: skip


def error(kind: str, message: str = "as it is") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@dataclass
class Wire:
    """What the server says next (status, body; a body of None cuts the connection), and what it was sent."""

    url: str = ""
    says: list[tuple[int, Any]] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Answers wait until it is set."""


@pytest.fixture
def wire() -> Iterator[Wire]:
    state = Wire()
    state.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            state.got.append({"path": self.path, "headers": dict(self.headers.items()), "body": body})
            state.gate.wait(5)
            status, said = state.says.pop(0) if len(state.says) > 1 else state.says[0]
            if said is None:
                self.connection.close()
                self.close_connection = True
                return
            raw = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def claude(wire: Wire, **more: Any) -> Claude:
    options: dict[str, Any] = {"model": "claude-sonnet-5-5", "retries": 1, "timeout": 5.0, "api_key": KEY, **more}
    return Claude(**options, base_url=wire.url)


def test_an_answer_with_its_tokens_and_dollars(wire: Wire) -> None:
    wire.says = [(200, MESSAGE)]
    answer = claude(wire, effort="medium", max_tokens=777).complete(PROMPT)
    assert (answer.text, answer.model, answer.cut_off) == ("IDEA: x", "claude-sonnet-5-5", False)
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached) == (4100, 50, 3000)
    assert answer.dollars == pytest.approx((100 * 2 + 1000 * 2.5 + 3000 * 0.1 + 50 * 10) / 1e6)
    sent = wire.got[0]
    assert sent["path"] == "/v1/messages"
    assert sent["body"]["max_tokens"] == 777
    assert sent["body"]["output_config"] == {"effort": "medium"}
    assert sent["body"]["system"] == [
        {"type": "text", "text": "you improve programs", "cache_control": {"type": "ephemeral"}}
    ]
    assert sent["body"]["messages"] == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "well?"},
    ]


def test_an_unknown_price_is_none(wire: Wire) -> None:
    wire.says = [(200, {**MESSAGE, "model": "claude-of-tomorrow"})]
    model = claude(wire, model="claude-of-tomorrow")
    assert model.complete(PROMPT).dollars is None
    assert model.worst(PROMPT).dollars is None
    assert "output_config" not in wire.got[0]["body"]


def test_the_worst_case_bounds_the_price(wire: Wire) -> None:
    wire.says = [(200, {**MESSAGE, "usage": {"input_tokens": 12, "output_tokens": 16_000}})]
    model = claude(wire)
    worst, answer = model.worst(PROMPT), model.complete(PROMPT)
    assert worst.dollars is not None
    assert answer.dollars is not None
    assert answer.dollars <= worst.dollars
    assert answer.tokens_in + answer.tokens_out <= worst.tokens


@pytest.mark.parametrize(
    ("status", "body", "expected", "sent"),
    [
        (401, error("authentication_error", "invalid x-api-key"), KeyRefused, 1),
        (403, error("permission_error"), KeyRefused, 1),
        (402, error("billing_error"), QuotaExhausted, 1),
        (400, error("invalid_request_error", "Your credit balance is too low"), QuotaExhausted, 1),
        (400, error("invalid_request_error", "prompt is too long"), RequestRefused, 1),
        (404, error("not_found_error", "model: claude-x"), UnknownModel, 1),
        (413, error("request_too_large"), RequestRefused, 1),
        (429, error("rate_limit_error"), Overloaded, 2),
        (500, error("api_error"), Overloaded, 2),
        (529, error("overloaded_error"), Overloaded, 2),
        (502, b"<html>bad gateway</html>", Overloaded, 2),
        (200, b"{not json", Interrupted, 1),
        (200, b'"hello"', Interrupted, 1),
        (200, {}, Interrupted, 1),
        (0, None, Interrupted, 2),
    ],
)
def test_each_end_has_its_name_and_retries_have_a_ceiling(
    wire: Wire, status: int, body: Any, expected: type[LlmError], sent: int
) -> None:
    wire.says = [(status, body)]
    with pytest.raises(expected) as raised:
        claude(wire).complete(PROMPT)
    assert len(wire.got) == sent
    assert KEY not in str(raised.value)
    if isinstance(body, dict) and body:
        assert body["error"]["message"] in str(raised.value)


def test_a_retry_that_succeeds_is_an_answer(wire: Wire) -> None:
    wire.says = [(529, error("overloaded_error")), (200, MESSAGE)]
    assert claude(wire).complete(PROMPT).text == "IDEA: x"
    assert len(wire.got) == 2


def test_empty_cut_off_and_refused_answers(wire: Wire) -> None:
    wire.says = [
        (200, {**MESSAGE, "content": []}),
        (200, {**MESSAGE, "stop_reason": "max_tokens"}),
        (200, {**MESSAGE, "content": [], "stop_reason": "refusal"}),
    ]
    model = claude(wire)
    assert model.complete(PROMPT).text == ""
    assert model.complete(PROMPT).cut_off
    with pytest.raises(AnswerRefused) as raised:
        model.complete(PROMPT)
    assert raised.value.answer is not None
    assert raised.value.answer.tokens_out == 50, "a refusal was billed"


def test_the_check_is_free_and_tells_a_bad_key_from_an_unknown_model(wire: Wire) -> None:
    found = {"id": "claude-sonnet-5-5", "type": "model", "display_name": "x", "created_at": "2026-09-28T00:00:00Z"}
    wire.says = [(200, found), (401, error("authentication_error")), (404, error("not_found_error"))]
    model = claude(wire)
    model.check()
    with pytest.raises(KeyRefused):
        model.check()
    with pytest.raises(UnknownModel, match="Set llm"):
        model.check()
    assert [sent["path"] for sent in wire.got] == ["/v1/models/claude-sonnet-5-5"] * 3


def test_without_a_key_nothing_is_sent(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    wire.says = [(200, MESSAGE)]
    with pytest.raises(LlmError):
        claude(wire, api_key=None).complete(PROMPT)
    assert not wire.got


def test_a_time_out_is_an_interruption(wire: Wire) -> None:
    wire.says = [(200, MESSAGE)]
    wire.gate.clear()
    with pytest.raises(Interrupted, match="timed out"):
        claude(wire, retries=0, timeout=0.05).complete(PROMPT)
    wire.gate.set()


def test_nobody_listens() -> None:
    lonely = Claude("claude-sonnet-5-5", retries=0, base_url="http://127.0.0.1:9", api_key=KEY)
    with pytest.raises(Interrupted):
        lonely.complete(PROMPT)
