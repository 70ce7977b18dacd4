"""Outputs of coding agents' command lines, in the documented formats and broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_ins import CLAUDE, CODEX, GEMINI, GEMINI_LINES, lines

from operators.llm.base import Answer, Message, Prompt
from operators.llm.command.output import Reply, is_structured, read

PROMPT = Prompt("you improve programs", (Message("user", "well?"),))


def reply(output: str) -> Reply:
    return read(output, PROMPT, structured=True)


def answer(output: str) -> Answer:
    found = reply(output)
    return found.usage.answer(found.text, found.model or "tool", None, 1.0, found.cut_off)


@pytest.mark.parametrize(
    ("output", "model", "tokens_in", "out", "cached", "dollars"),
    [
        (json.dumps(CLAUDE[-1]), "claude-sonnet-5-5", 1307, 21, 1000, 0.0125),
        (json.dumps(list(CLAUDE)), "claude-sonnet-5-5", 1307, 21, 1000, 0.0125),
        (lines(CLAUDE), "claude-sonnet-5-5", 1307, 21, 1000, 0.0125),
        (lines(CODEX), "tool", 1300, 21, 1000, None),
        (json.dumps(GEMINI, indent=2), "gemini-9-flash", 1300, 21, 600, None),
        (lines(GEMINI_LINES), "gemini-9-pro", 1300, 21, 600, None),
        (
            f"Loaded cached credentials.\n\x1b[?1004l{json.dumps(GEMINI, indent=2)}",
            "gemini-9-flash",
            1300,
            21,
            600,
            None,
        ),
        (f"{json.dumps(GEMINI, indent=2)}\n(a note below)", "gemini-9-flash", 1300, 21, 600, None),
    ],
)
def test_answer_tokens_and_dollars(
    output: str, model: str, tokens_in: int, out: int, cached: int, dollars: float | None
) -> None:
    found = answer(output)
    assert (found.text, found.model) == ("IDEA: double", model)
    assert (found.tokens_in, found.tokens_out, found.tokens_cached, found.dollars) == (tokens_in, out, cached, dollars)


def changed(**fields: Any) -> str:
    return json.dumps({**CLAUDE[-1], **fields})


def test_what_is_not_reported_is_unknown() -> None:
    bare = answer(json.dumps({"type": "result", "subtype": "success", "result": "IDEA: double"}))
    assert (bare.text, bare.tokens_in, bare.tokens_out, bare.dollars) == ("IDEA: double", None, None, None)
    zeros = answer(changed(result="word " * 300, usage={"input_tokens": 0, "output_tokens": 0}, total_cost_usd="0.1"))
    assert (zeros.tokens_in, zeros.tokens_out, zeros.dollars) == (None, None, None), "counts that do not fit the text"
    assert answer(lines([*CODEX[:-1], {"type": "turn.completed"}])).tokens_out is None


@pytest.mark.parametrize(
    ("output", "error", "status", "kinds"),
    [
        (changed(is_error=True, result="Invalid API key", api_error_status=401), "Invalid API key", 401, ("success",)),
        (changed(subtype="error_max_turns", result=None), "error_max_turns", None, ("error_max_turns",)),
        (lines([*CODEX[:2], {"type": "turn.failed", "error": {"message": "usage limit"}}]), "usage limit", None, ()),
        (lines(CODEX[:-1]), "its output ends before the turn does", None, ()),
        (json.dumps({"error": {"type": "ApiError", "message": "busy", "code": 429}}), "busy", 429, ("ApiError",)),
    ],
)
def test_failures(output: str, error: str, status: int | None, kinds: tuple[str, ...]) -> None:
    found = reply(output)
    assert (found.error, found.status, found.kinds, found.text) == (error, status, kinds, "")


def test_a_declined_and_a_cut_off_answer() -> None:
    assert reply(changed(stop_reason="refusal")).declined
    assert reply(changed(stop_reason="max_tokens")).cut_off


def test_text_is_the_answer_and_reports_no_costs() -> None:
    """A model could otherwise write that it cost nothing."""
    assert is_structured(["claude", "-p", "--output-format", "json"])
    assert not is_structured(["json-tool", "-q"])
    found = read(lines(CLAUDE), PROMPT, structured=False)
    assert (found.text, found.usage.out, found.usage.billed) == (lines(CLAUDE), None, None)
    assert reply("IDEA: plain\n{not json").text == "IDEA: plain\n{not json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
EVENTS: list[dict[str, Any]] = [*CLAUDE, *CODEX, GEMINI, *GEMINI_LINES]


@settings(max_examples=60)
@given(st.data())
def test_any_part_may_be_missing_or_of_another_kind(data: st.DataObject) -> None:
    said: list[dict[str, Any]] = []
    for event in data.draw(st.lists(st.sampled_from(EVENTS), max_size=6)):
        name = data.draw(st.sampled_from(sorted(event)))
        said.append({**event, **({name: data.draw(JSON)} if data.draw(st.booleans()) else {})})
    found = answer("\n".join(map(json.dumps, said)))
    assert isinstance(found.text, str)
    assert all(part is None or part >= 0 for part in (found.tokens_in, found.tokens_out, found.dollars))
