"""Bodies of error responses, in whatever shape a service gives them: its words, the status and the names of the cause.

{"error": {"message": "...", "code": 429}}        OpenAI, OpenRouter (also with status 200)
[{"error": {"message": "...", "status": "..."}}]  Gemini
{"error": "..."}                                  Ollama, xAI, Hugging Face
{"message": {"detail": [{"loc": [...], "msg": "..."}]}}   Mistral; FastAPI: {"detail": [...]}
{"errors": [{"message": "..."}]}                  Cloudflare
{"base_resp": {"status_code": 1008, "status_msg": "..."}}  MiniMax
<html><title>...</title></html>                   proxies and gateways
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = (
    "message", "error", "detail", "errors", "msg", "status_msg", "error_msg", "error_message", "error_description",
    "description", "reason", "title", "base_resp", "fault", "faultstring", "response", "result",
)  # fmt: skip
"""Names of what holds the words, the likeliest first."""
_STATUS = ("status_code", "code", "status", "error_code")
_KINDS = ("type", "code", "status", "reason", "error_code")
_ERRORS = frozenset({"error", "errors", "detail", "base_resp", "fault"})
_DEEPEST, _LISTED = 5, 4
_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.IGNORECASE)
_TAG = re.compile(r"<(?:style|script)\b.*?</(?:style|script)>|<[^<>]{1,300}>", re.IGNORECASE | re.DOTALL)
_LONGEST = 20_000


def words_of(body: Any, depth: int = 0) -> str:
    """Return the words of an error body; empty if there are none."""
    if isinstance(body, (str, bytes)):
        return _plain(body if isinstance(body, str) else body.decode(errors="replace"))
    if isinstance(body, (list, tuple)) and depth < _DEEPEST:
        return "; ".join(words for entry in body[:_LISTED] if (words := words_of(entry, depth + 1)))
    if not isinstance(body, Mapping) or depth >= _DEEPEST:
        return ""
    names = dict.fromkeys((*(name for name in _WORDS if name in body), *body))
    words = next((found for name in names if (found := words_of(body[name], depth + 1))), "")
    place = body.get("loc")
    return f"{'.'.join(map(str, place))}: {words}" if isinstance(place, list) and words else words


def is_error(body: Any) -> bool:
    """Return whether a body with status 200 reports an error in place of an answer."""
    if isinstance(body, list):
        return bool(body) and is_error(body[0])
    return isinstance(body, Mapping) and (bool(_ERRORS & {key for key in body if body[key]}) or _is_named(body))


def _is_named(body: Mapping[str, Any]) -> bool:
    return "error" in (body.get("object"), body.get("type"))


def status_of(body: Any) -> int | None:
    """Return the HTTP status that a body names, if it names one of an error."""
    for part in _parts(body):
        for name in _STATUS:
            value = part.get(name)
            if re.fullmatch(r"[45]\d\d", str(value)):
                return int(str(value))
    return None


def kinds_of(body: Any) -> list[str]:
    """Return the machine-readable names of the cause."""
    return [str(part[name]) for part in _parts(body) for name in _KINDS if isinstance(part.get(name), str)]


def _parts(body: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield a body and the mappings within it."""
    if isinstance(body, Mapping):
        yield body
    entries = body.values() if isinstance(body, Mapping) else body if isinstance(body, list) else ()
    if depth < _DEEPEST:
        for entry in list(entries)[:_LISTED]:
            yield from _parts(entry, depth + 1)


def _plain(text: str) -> str:
    """Return a text, or the title or the words of a page."""
    text = text[:_LONGEST]
    if "<" not in text:
        return text.strip()
    title = _TITLE.search(text)
    return " ".join((title[1] if title else _TAG.sub(" ", text)).split())
