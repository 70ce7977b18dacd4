"""Answers and costs in the output of the known programs; any other output is the answer itself.

    claude -p --output-format json         {"type": "result", "result": ..., "total_cost_usd": ..., "usage": {...}}
    ... --output-format stream-json        the same object as the last of many lines
    codex exec --json                      lines; the answer in "agent_message" items, tokens in "turn.completed"
    gemini --output-format json            {"response": ..., "stats": {"models": {NAME: {"tokens": {...}}}}}
    ... --output-format stream-json        lines; the answer in "message" pieces, tokens in "result"

What an output does not report is unknown, never 0. Everything here is untrusted: no part of it has to be there, or to
be of the documented kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from operators.llm.base import Prompt
from operators.llm.text import content_text, field, without_thoughts
from operators.llm.usage import Usage, count, of_completions, of_messages

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_MOST_DOLLARS = 1e6

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What one run of a program said."""

    text: str
    usage: Usage
    model: str | None = None
    cut_off: bool = False
    declined: bool = False
    error: str | None = None
    """The program's words if it reports a failure; None else."""
    status: int | None = None
    """The HTTP status that a failure comes from, if the program reports it."""
    kinds: tuple[str, ...] = ()
    """Machine-readable names of the failure."""

    def with_quoted(self, words: str) -> Reply:
        """Add status and kinds of a service's response that a failed program quotes, in its error or last words.

        Claude Code writes ``API Error: 429 {"type": "error", "error": {"type": "rate_limit_error", ...}}``.
        """
        quoted = self.error or words
        found = next(iter(_first(quoted[quoted.find("{") :])), {}) if "{" in quoted else {}
        about = field(found, "error")
        names = tuple(name for key in ("code", "type", "status") if isinstance(name := field(about, key), str))
        return replace(self, kinds=(*self.kinds, *names), status=self.status or count(field(about, "code")))


_UNKNOWN = Usage(None, None, read=None)


def is_structured(command: Sequence[str]) -> bool:
    """Return whether a command line asks for JSON. Of other output the costs are unknown, whatever it says."""
    return any("json" in word for word in command[1:])


def read(output: str, prompt: Prompt, *, structured: bool) -> Reply:
    """Return what an output says. ``structured``: it is that of a command line that asks for JSON."""
    text = _ESCAPES.sub("", output)
    events = _events(text) if structured else ()
    for kind in (_claude, _codex, _gemini_stream, _gemini):
        if (reply := kind(events, prompt)) is not None:
            return replace(reply, text=without_thoughts(reply.text))
    return Reply(without_thoughts(text), _UNKNOWN)


def _events(text: str) -> Sequence[Event]:
    """Return the JSON objects of an output: one, a list of them, or one for each line. Other lines are left out."""
    start = min((place for mark in ("{", "[{") if (place := _line_with(text, mark)) >= 0), default=-1)
    whole = _decoded(text[start:]) if start >= 0 else None
    if isinstance(whole, list):
        return [event for event in whole if isinstance(event, Mapping)]
    if isinstance(whole, Mapping):
        return [whole]
    found = (_decoded(line) for line in text.splitlines() if line.lstrip().startswith("{"))
    events = [event for event in found if isinstance(event, Mapping)]
    return events or ([] if start < 0 else _first(text[start:]))


def _first(text: str) -> list[Event]:
    """Return the JSON object that a text begins with, whatever comes after it."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return []
    return [value] if isinstance(value, Mapping) else []


def _line_with(text: str, mark: str) -> int:
    """Return where the first line that begins with a mark begins; -1 if there is none."""
    return 0 if text.startswith(mark) else text.find(f"\n{mark}") + 1 or -1


def _decoded(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _words(value: object) -> str:
    return value if isinstance(value, str) else content_text(value) if value else ""


def _last(events: Sequence[Event], wanted: Callable[[Event], bool]) -> Event | None:
    return next((event for event in reversed(events) if wanted(event)), None)


# ---------------------------------------------------------------- Claude Code


def _claude(events: Sequence[Event], prompt: Prompt) -> Reply | None:
    result = _last(events, lambda e: e.get("type") == "result" and ("result" in e or "subtype" in e))
    if result is None or "stats" in result:
        return None
    text = _words(result.get("result"))
    failed = result.get("is_error") is True or str(result.get("subtype", "success")) != "success"
    status = result.get("api_error_status")
    kinds = (result.get("subtype"), *(event.get("error") for event in events if event.get("type") == "assistant"))
    return Reply(
        text="" if failed else text,
        usage=replace(of_messages(result.get("usage"), prompt, text), billed=_dollars(result.get("total_cost_usd"))),
        model=_most_used(result.get("modelUsage")),
        cut_off=result.get("stop_reason") == "max_tokens",
        declined=result.get("stop_reason") == "refusal",
        error=(text or _words(result.get("errors")) or str(result.get("subtype"))) if failed else None,
        status=status if isinstance(status, int) else None,
        kinds=tuple(kind for kind in kinds if isinstance(kind, str)),
    )


def _most_used(usage: object) -> str | None:
    """Return the model that wrote most, of those that a run used."""
    if not isinstance(usage, Mapping) or not usage:
        return None
    return str(max(usage, key=lambda name: count(field(usage[name], "outputTokens")) or 0))


def _dollars(value: object) -> float | None:
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MOST_DOLLARS
    return float(value) if valid else None  # type: ignore[arg-type]


# ---------------------------------------------------------------- Codex


def _codex(events: Sequence[Event], prompt: Prompt) -> Reply | None:
    if not any(str(event.get("type")).startswith(("thread.", "turn.", "item.")) for event in events):
        return None
    items = [event.get("item") for event in events if event.get("type") == "item.completed"]
    said = [_words(field(item, "text")) for item in items if field(item, "type") == "agent_message"]
    ended = _last(events, lambda e: e.get("type") in ("turn.completed", "turn.failed"))
    failed = _last(events, lambda e: e.get("type") in ("turn.failed", "error"))
    complete = ended is not None and ended.get("type") == "turn.completed"
    text = said[-1] if said else ""
    used = field(ended, "usage")
    counts = {
        "prompt_tokens": field(used, "input_tokens"),
        "completion_tokens": field(used, "output_tokens"),
        "prompt_tokens_details": {"cached_tokens": field(used, "cached_input_tokens")},
    }
    error = _words(field(failed, "error", "message") or field(failed, "message"))
    return Reply(
        text=text if complete else "",
        usage=of_completions(counts, prompt, text, 0),
        error=None if complete else error or "its output ends before the turn does",
    )


# ---------------------------------------------------------------- Gemini CLI


def _gemini_stream(events: Sequence[Event], prompt: Prompt) -> Reply | None:
    result = _last(events, lambda e: e.get("type") == "result" and ("stats" in e or "status" in e))
    if result is None:
        return None
    said = (e for e in events if e.get("type") == "message" and e.get("role") in ("assistant", "model"))
    text = "".join(_words(event.get("content")) for event in said)
    started = next((event for event in events if event.get("type") == "init"), {})
    return _of_gemini(text, result, started.get("model"), failed=result.get("status") not in (None, "success"))


def _gemini(events: Sequence[Event], prompt: Prompt) -> Reply | None:
    found = _last(events, lambda e: "response" in e or ("error" in e and "type" not in e))
    if found is None:
        return None
    return _of_gemini(_words(found.get("response")), found, None, failed=bool(found.get("error")))


def _of_gemini(text: str, event: Event, model: object, *, failed: bool) -> Reply:
    error = event.get("error")
    return Reply(
        text="" if failed else text,
        usage=_gemini_usage(event.get("stats")),
        model=str(model) if model else next(iter(_models(event.get("stats"))), None),
        error=(_words(field(error, "message")) or str(error)) if failed else None,
        status=count(field(error, "code")),
        kinds=(str(field(error, "type")),) if field(error, "type") else (),
    )


def _models(stats: object) -> Mapping[str, Any]:
    models = field(stats, "models")
    return models if isinstance(models, Mapping) else {}


def _gemini_usage(stats: object) -> Usage:
    """Add the tokens of all models of a run."""
    tokens = [t for m in _models(stats).values() if (t := field(m, "tokens") or m)] or [stats]
    sums = [_gemini_counts(each) for each in tokens]
    if any(part is None for part in sums):
        return _UNKNOWN
    given, out, cached = (sum(each[i] for each in sums if each) for i in range(3))
    return Usage(given - cached, out, read=cached) if given >= cached and given else _UNKNOWN


def _gemini_counts(tokens: object) -> tuple[int, int, int] | None:
    """Return input, output and cached tokens; None if one of the first two is missing."""
    given = count(field(tokens, "prompt") if field(tokens, "prompt") is not None else field(tokens, "input_tokens"))
    out = count(
        field(tokens, "candidates") if field(tokens, "candidates") is not None else field(tokens, "output_tokens")
    )
    if given is None or out is None:
        return None
    return given, out + (count(field(tokens, "thoughts")) or 0), count(field(tokens, "cached")) or 0
