"""Error responses of services: the ``LlmError`` of each, with the service's words and the setting to change.

Status and codes decide the class of an error where a service sends them, and always whether two errors are equal. Words
that come without a code, with a status of 400, 401, 403 or 422, tell a missing credit, key or model from another cause,
and name the setting to change. They decide no more than that a model is closed at the first of these refusals instead
of the second equal one: Anthropic's missing credit, Mistral's and xAI's unknown model have a status of 400 and no code
of their own.
"""

from __future__ import annotations

import email.utils
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operators.llm.base import (
    AnswerRefused,
    Interrupted,
    KeyRefused,
    LlmError,
    Overloaded,
    QuotaExhausted,
    RequestRefused,
    UnknownModel,
)
from operators.llm.error_bodies import is_error, kinds_of, status_of, words_of
from operators.sanitize import clean

MODERATED = "moderation"
"""The kind of a response with the reasons of a moderation among its fields."""
_BROKE = frozenset({"billing_error", "insufficient_quota", "billing_hard_limit_reached", "insufficient_credits"})
_BROKE_WORDS = re.compile(
    r"credit balance|insufficient (?:account )?(?:balance|credits?|quota|funds)"
    r"|(?:any|no|out of|enough) (?:\w+ )?credits?\b",
    re.IGNORECASE,
)
_UNKNOWN = frozenset({"model_not_found", "not_found_error", "invalid_model"})
_UNKNOWN_WORDS = re.compile(
    r"\b(?:invalid|unknown|unsupported|no such) model\b(?! \w*param)"
    r"|\bmodel\b:?(?: \S{1,100})? (?:was |is |could )?(?:not (?:be )?found|does not exist|doesn't exist|unknown)",
    re.IGNORECASE,
)
_KEY_WORDS = re.compile(
    r"(?:invalid|incorrect|missing|expired|no|wrong) (?:api[ _-]?key|token|credential)"
    r"|api[ _-]?key\b.{0,40}\b(?:not valid|invalid|not found|missing|expired|required|incorrect)",
    re.IGNORECASE,
)
_TOO_LONG = frozenset(
    {"context_length_exceeded", "string_above_max_length", "request_too_large", "exceed_context_size_error"}
)
_PROMPT = frozenset({MODERATED, "moderation_blocked", "content_policy_violation", "content_filter"})
_TOO_LONG_WORDS = re.compile(r"too long|too large|context (?:length|window|size)|maximum length", re.IGNORECASE)
_REFUSED = frozenset({400, 401, 403, 422})
"""Responses whose words tell the cause."""
_BUSY = frozenset({408, 409, 425, 429})
_MODERATED = re.compile(
    r"moderation|\bflagged\b|content[ _](?:filter|policy|management)|usage policies|safety (?:system|reasons)",
    re.IGNORECASE,
)
_NO_SUCH_THING = 501
_LENGTH = "llm.prompt_tokens or llm.max_tokens"

Settings = Mapping[str, str]
"""Field of the request -> the setting that it comes from, and its other value."""


@dataclass(frozen=True)
class ServiceRefusal:
    """An error response of a service."""

    status: int
    kinds: Sequence[object]
    """Machine-readable names of the cause: error type and code, if any."""
    message: str
    headers: Mapping[str, str]
    param: str = ""
    """The field of the request that is the cause, if the service names it."""
    sent: Settings = field(default_factory=dict)
    """The optional fields of the request."""

    def error(self, name: str, key: str) -> LlmError:
        """Return the ``LlmError`` for this response. ``name``: of the model. ``key``: how to set a key."""
        kinds = {str(kind) for kind in self.kinds if kind}
        error = self._error(name, key, kinds, short(self.message))
        error.cause = " ".join((str(self.status), *sorted(kinds), self.param)).strip()
        return error

    def _error(self, name: str, key: str, kinds: set[str], message: str) -> LlmError:
        refused = self.status in _REFUSED
        if self.status == 402 or kinds & _BROKE or (refused and _BROKE_WORDS.search(message)):
            return QuotaExhausted(f"no credit left for {name}: {message}")
        if self.status == 451 or kinds & _PROMPT or (refused and any(map(_MODERATED.search, (message, *kinds)))):
            return RequestRefused(f"{name} rejected the request: {self.status} {message}")
        named = self._setting() is not None
        if self.status in (401, 403) or (refused and not named and _KEY_WORDS.search(message)):
            return KeyRefused(f"the key was refused: {message}. {key}")
        unknown = kinds & _UNKNOWN or (refused and not named and _UNKNOWN_WORDS.search(message))
        if self.status in (404, 410) or unknown:
            return UnknownModel(
                f"no model {name!r}: {message}. Set llm.model to an existing one, or correct llm.base_url."
            )
        if self.status == 405:
            return UnknownModel(
                f"{name} cannot be asked: 405 {message}. Nothing answers requests there; correct llm.base_url."
            )
        if self.status in _BUSY or (self.status >= 500 and self.status != _NO_SUCH_THING):
            return Overloaded(f"{name} is not available: {self.status} {message}", self._retry_after())
        if 300 <= self.status < 400:
            where = short(self.headers.get("location", "nowhere"))
            return UnknownModel(
                f"{name} has moved: {self.status} to {where}. Redirects are not followed; correct llm.base_url."
            )
        return self._rejected(name, kinds, message)

    def _rejected(self, name: str, kinds: set[str], message: str) -> RequestRefused:
        """Return the error for a request that is wrong: too long, or with a field that the service does not accept."""
        words = f"{name} rejected the request: {self.status} {message}"
        if setting := self._setting():
            return RequestRefused(f"{words}. Set {setting}.")
        if self.status == 413 or kinds & _TOO_LONG or _TOO_LONG_WORDS.search(message):
            return RequestRefused(f"{words}. Lower {_LENGTH}.")
        words += f". If it is about the length, lower {_LENGTH}"
        if self.sent:
            words += f"; if it is about a setting, try {' or '.join(dict.fromkeys(self.sent.values()))}"
        return RequestRefused(f"{words}.")

    def _setting(self) -> str | None:
        """Return the setting of the field that the service names, in ``param`` or, as advice, in its words."""
        for text in (self.param, self.message[:2000]):
            for name in sorted(self.sent, key=len, reverse=True):
                if re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", text):
                    return self.sent[name]
        return None

    def _retry_after(self) -> float | None:
        """Return seconds from ``retry-after-ms`` or ``retry-after`` (seconds, or a date by the server's clock)."""
        for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
            try:
                seconds = float(self.headers[header]) * unit
            except (KeyError, ValueError):
                continue
            return seconds if seconds >= 0 else None  # NaN is rejected, too
        then, now = (email.utils.parsedate_tz(self.headers.get(header, "")) for header in ("retry-after", "date"))
        if then is None or now is None:
            return None
        return max(0.0, float(email.utils.mktime_tz(then) - email.utils.mktime_tz(now)))


def instead_of_answer(name: str, body: Any, missing: str, key: str, sent: Settings) -> LlmError:
    """Return the ``LlmError`` of a response with status 200 that has no answer: routers report errors so.

    ``missing``: what the response lacks as an answer. ``key``: how to set a key.
    """
    if not is_error(body):
        return Interrupted(f"{name} sent an answer {missing}; check llm.base_url", unreadable=True)
    words, status = words_of(body), status_of(body)
    error = ServiceRefusal(status or 400, kinds_of(body), words, {}, sent=sent).error(name, key)
    if status is not None or error.fatal:
        return error
    return Interrupted(f"{name} sent an error in place of an answer: {short(words) or 'no words'}", unreadable=True)


_TRIES, _MORE_TRIES = 2, 5
"""Equal refusals in a row after which a model is closed; of a model that has answered, if another prompt may fare
better."""


class Refusals:
    """Refusals of one cause of each model since its last answer. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[str, int]] = {}  # model -> cause, times in a row
        self._answered: set[str] = set()

    def answered(self, model: str) -> None:
        """Note an answer: the settings are accepted."""
        with self._lock:
            self._last.pop(model, None)
            self._answered.add(model)

    def has_answered(self, model: str) -> bool:
        return model in self._answered

    def pending(self, model: str) -> bool:
        """Return whether the model's last call was refused."""
        return model in self._last

    def count(self, model: str, error: LlmError) -> int | None:
        """Count an error. Return how often it came in a row, if the model should be closed for it."""
        if isinstance(error, AnswerRefused) and not error.settled:
            self.answered(model)  # declined: the request was fine
        if not error.settled:
            return None
        cause = f"{type(error).__name__} {error.cause}"
        with self._lock:
            last, times = self._last.get(model, ("", 0))
            times = times + 1 if last == cause else 1
            self._last[model] = cause, times
            tries = _MORE_TRIES if error.by_prompt and model in self._answered else _TRIES
        return times if times >= tries else None


def short(text: str) -> str:
    """Return the beginning of a service's words as one printable line."""
    return " ".join(clean(text[:2000]).split())[:300]
