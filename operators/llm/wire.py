"""Shared parts of the clients: limits of time and size, checked counts, and exceptions for every failure.

The SDKs lack three limits: their time-out is for each read, so a server that sends a byte now and then could hold a
call for ever; an answer may have any size; and they follow redirects with the key in a header. ``limits`` adds these to
the HTTP client of each SDK.
"""

from __future__ import annotations

import email.utils
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operators.llm.base import (
    Answer,
    Cost,
    Interrupted,
    KeyRefused,
    LlmError,
    Overloaded,
    Prompt,
    QuotaExhausted,
    RequestRefused,
    UnknownModel,
)
from operators.llm.prices import Price

if TYPE_CHECKING:
    import httpx2

LONGEST_ANSWER = 16 * 2**20
"""Bytes of one response, framing included. A normal one has some hundred kilobytes."""
CONNECT_SECONDS = 20.0
BYTES_PER_TOKEN = 2
"""A token of English or code is 3 to 5 bytes; 2 makes a count of tokens an upper bound."""

_BROKE = frozenset({"billing_error", "insufficient_quota", "billing_hard_limit_reached", "insufficient_credits"})
_UNKNOWN = frozenset({"model_not_found", "not_found_error"})
_BUSY = frozenset({408, 409, 425, 429})
_MODERATED = ("moderation", "flagged")
_COUNTS_AT_MOST = 10**9


# ---------------------------------------------------------------- limits


class Deadline:
    """Deadline of the current call of each thread, since threads share the client."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._mine = threading.local()

    def begin(self) -> float:
        """Start this thread's call and return the time."""
        now = self._clock()
        self._mine.until = now + self._seconds
        return now

    def elapsed(self, since: float) -> float:
        return self._clock() - since

    @property
    def over(self) -> bool:
        return self._clock() > getattr(self._mine, "until", float("inf"))


def patience(seconds: float) -> httpx2.Timeout:
    """Return the time-out of each read, with a shorter one for the connection."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def limits(deadline: Deadline) -> dict[str, Any]:
    """Return options for an SDK's HTTP client: no redirects, no compression, limited bodies."""
    import httpx2

    class Limited(httpx2.SyncByteStream):
        """A response body with a limit of time and size."""

        def __init__(self, body: Any, request: httpx2.Request) -> None:
            self._body = body
            self._request = request

        def __iter__(self) -> Iterator[bytes]:
            received = 0
            for chunk in self._body:
                received += len(chunk)
                if received > LONGEST_ANSWER:
                    raise httpx2.ReadError(f"more than {LONGEST_ANSWER:,} bytes", request=self._request)
                if deadline.over:
                    raise httpx2.ReadTimeout("it was not over in time", request=self._request)
                yield chunk

        def close(self) -> None:
            self._body.close()

    def limit(response: httpx2.Response) -> None:
        response.stream = Limited(response.stream, response.request)

    # A compressed answer could have any size once it is decompressed.
    return {
        "follow_redirects": False,
        "headers": {"accept-encoding": "identity"},
        "event_hooks": {"response": [limit]},
    }


# ---------------------------------------------------------------- answers


def count(value: object) -> int | None:
    """Return a number of tokens reported by a server, or None if it is not valid."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _COUNTS_AT_MOST:
        return None
    return int(value)


def field(value: Any, *path: str) -> Any:
    """Return ``value.a.b``, or None if a part is missing: SDKs do not check what a server omits."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """Remove the reasoning that some local servers leave at the beginning of an answer."""
    return _THOUGHTS.sub("", text)


@dataclass(frozen=True)
class Usage:
    """Tokens by billing class; None if not reported. ``fresh``: neither written to nor read from the cache."""

    fresh: int | None
    out: int | None
    written: int = 0
    written_long: int = 0
    """Written to the cache for an hour."""
    read: int | None = 0
    billed: float | None = None
    """Dollars, if the server reports them."""

    def answer(self, text: str, model: str, price: Price | None, seconds: float, cut_off: bool) -> Answer:
        tokens_in = None if self.fresh is None else self.fresh + self.written + self.written_long + (self.read or 0)
        return Answer(text, model[:200], tokens_in, self.out, self.read, seconds, self._dollars(price), cut_off)

    def _dollars(self, price: Price | None) -> float | None:
        if self.billed is not None:
            return self.billed
        if price is None:
            return None
        if price.is_free:
            return 0.0
        if self.fresh is None or self.out is None:
            return None
        return price.dollars(
            fresh=self.fresh, out=self.out, written=self.written, written_long=self.written_long, read=self.read or 0
        )


def tokens_at_most(prompt: Prompt) -> int:
    """Return an upper bound of the tokens of a prompt."""
    return len(prompt.text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 64


def max_cost_of(prompt: Prompt, tokens_out: int, price: Price | None) -> Cost:
    """Return an upper bound of the cost of one sending, with an answer of at most ``tokens_out`` tokens."""
    tokens_in = tokens_at_most(prompt)
    return Cost(tokens_in + tokens_out, None if price is None else price.at_most(tokens_in, tokens_out))


# ---------------------------------------------------------------- failures


@dataclass(frozen=True)
class ServiceRefusal:
    """An error response of a service."""

    status: int
    kinds: Sequence[object]
    """Machine-readable names of the cause: error type and code, if any."""
    message: str
    headers: Mapping[str, str]

    def error(self, name: str, key: str) -> LlmError:
        """Return the ``LlmError`` for this response. ``name``: of the model. ``key``: how to set a key."""
        kinds, message = {str(kind) for kind in self.kinds if kind}, _short(self.message)
        if self.status == 402 or kinds & _BROKE or "credit balance" in message:
            return QuotaExhausted(f"no credit left for {name}: {message}")
        if self.status == 403 and any(word in message.lower() for word in _MODERATED):
            return RequestRefused(f"{name} rejected the request: {self.status} {message}")
        if self.status in (401, 403):
            return KeyRefused(f"the key was refused: {message}. {key}")
        if self.status == 404 or kinds & _UNKNOWN:
            return UnknownModel(
                f"no model {name!r}: {message}. Set llm.model to an existing one, or correct llm.base_url."
            )
        if self.status in _BUSY or self.status >= 500:
            return Overloaded(f"{name} is not available: {self.status} {message}", self._retry_after())
        if 300 <= self.status < 400:
            where = _short(self.headers.get("location", "nowhere"))
            return UnknownModel(
                f"{name} has moved: {self.status} to {where}. Redirects are not followed; correct llm.base_url."
            )
        return RequestRefused(f"{name} rejected the request: {self.status} {message}")

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


def broken(error: BaseException, name: str, limit: float) -> LlmError:
    """Return the ``LlmError`` for a failed connection. A request that never reached the service was not billed.

    ``error``: an exception of httpx2, or an SDK's with one as its cause. ``limit``: seconds of one attempt.
    """
    import httpx2

    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__ or error
    message = _short(str(cause) or type(cause).__name__)
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return UnknownModel(f"{name} cannot be asked: {message}. Correct llm.base_url.")
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return Overloaded(f"{name} cannot be reached: {message}")
    if isinstance(cause, httpx2.TimeoutException):
        return Interrupted(f"{name} timed out (llm.timeout={limit:g} s): {message}")
    return Interrupted(f"the connection to {name} broke: {message}")


@contextmanager
def translated(name: str, limit: float, refused: Callable[[Exception], LlmError | None]) -> Iterator[None]:
    """Translate exceptions to ``LlmError``, without the request that an SDK's exception holds.

    ``refused`` translates an SDK's own exceptions and returns None for others. ``limit``: seconds of one attempt.
    """
    import httpx2

    try:
        yield
    except LlmError:
        raise
    except httpx2.HTTPError as error:
        raise broken(error, name, limit) from None
    except Exception as error:
        if (known := refused(error)) is not None:
            raise known from None
        if not isinstance(error, (ValueError, TypeError, AttributeError, LookupError, httpx2.InvalidURL)):
            raise
        # The body is no JSON, or not that of the API.
        message = f"{type(error).__name__}: {_short(str(error))}"
        raise Interrupted(f"{name} sent an answer that cannot be read ({message}); check llm.base_url") from None


def _short(text: str) -> str:
    return " ".join(text[:2000].split())[:300]
