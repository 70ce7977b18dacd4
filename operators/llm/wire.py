"""What the clients share at the wire: limits of time and size, counts that can be trusted, and names for every end.

The SDKs do the talking. Three things they leave to us: a time-out of theirs is for each read, so a server that sends
a byte now and then could hold a call for ever; an answer may be of any size; and they follow redirects with the key in
a header that only they know to be secret. Hence ``limits``, for the HTTP client that each SDK is given.
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
"""Bytes of one response, framing included. An honest one has some hundred kilobytes."""
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
    """When the call of each thread must be over: the client is shared, its calls are not."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._mine = threading.local()

    def begin(self) -> float:
        """Start the clock of this thread's call. Returns the time."""
        now = self._clock()
        self._mine.until = now + self._seconds
        return now

    def elapsed(self, since: float) -> float:
        return self._clock() - since

    @property
    def over(self) -> bool:
        return self._clock() > getattr(self._mine, "until", float("inf"))


def patience(seconds: float) -> httpx2.Timeout:
    """For each read; whoever does not even answer the door is not waited for so long."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def limits(deadline: Deadline) -> dict[str, Any]:
    """Options for an SDK's HTTP client: no redirects, nothing compressed, and bodies that end at their limits."""
    import httpx2

    class Limited(httpx2.SyncByteStream):
        """A body that may neither take longer nor be larger than is allowed."""

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

    # An answer that is compressed could be any size when it is not.
    return {
        "follow_redirects": False,
        "headers": {"accept-encoding": "identity"},
        "event_hooks": {"response": [limit]},
    }


# ---------------------------------------------------------------- answers


def count(value: object) -> int | None:
    """A number of tokens that a server has named, or None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _COUNTS_AT_MOST:
        return None
    return int(value)


def field(value: Any, *path: str) -> Any:
    """``value.a.b``, whatever of it is missing: the SDKs let through what a server leaves out."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


_THOUGHTS = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>\s*", re.DOTALL)


def without_thoughts(text: str) -> str:
    """An answer without the thoughts that some local servers leave at its beginning."""
    return _THOUGHTS.sub("", text)


@dataclass(frozen=True)
class Usage:
    """Tokens by how they are billed; None where the server did not say. ``fresh`` is neither written nor read."""

    fresh: int | None
    out: int | None
    written: int = 0
    written_long: int = 0
    """Written to the cache for an hour."""
    read: int | None = 0
    billed: float | None = None
    """Dollars, where the server names them."""

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
    """An upper bound of the tokens of a prompt."""
    return len(prompt.text.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 64


def worst_of(prompt: Prompt, tokens_out: int, price: Price | None) -> Cost:
    """An upper bound of what one sending can cost, with an answer of at most ``tokens_out`` tokens."""
    tokens_in = tokens_at_most(prompt)
    return Cost(tokens_in + tokens_out, None if price is None else price.at_most(tokens_in, tokens_out))


# ---------------------------------------------------------------- ends


@dataclass(frozen=True)
class ServiceRefusal:
    """What a service said instead of an answer."""

    status: int
    kinds: Sequence[object]
    """Machine-readable names of the cause: error type and code, as far as there are any."""
    said: str
    headers: Mapping[str, str]

    def error(self, name: str, key: str) -> LlmError:
        """In our words. ``name``: of the model. ``key``: what to set so that a key is found."""
        kinds, said = {str(kind) for kind in self.kinds if kind}, _short(self.said)
        if self.status == 402 or kinds & _BROKE or "credit balance" in said:
            return QuotaExhausted(f"no credit left for {name}: {said}")
        if self.status == 403 and any(word in said.lower() for word in _MODERATED):
            return RequestRefused(f"{name} rejected the request: {self.status} {said}")
        if self.status in (401, 403):
            return KeyRefused(f"the key was refused: {said}. {key}")
        if self.status == 404 or kinds & _UNKNOWN:
            return UnknownModel(f"no model {name!r}: {said}. Set llm.model to one that is there, or mend llm.base_url.")
        if self.status in _BUSY or self.status >= 500:
            return Overloaded(f"{name} is not available: {self.status} {said}", self._retry_after())
        if 300 <= self.status < 400:
            where = _short(self.headers.get("location", "nowhere"))
            return UnknownModel(
                f"{name} has moved: {self.status} to {where}. Redirects are not followed; mend llm.base_url."
            )
        return RequestRefused(f"{name} rejected the request: {self.status} {said}")

    def _retry_after(self) -> float | None:
        """Seconds, from ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date, by the server's own clock)."""
        for header, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
            try:
                seconds = float(self.headers[header]) * unit
            except (KeyError, ValueError):
                continue
            return seconds if seconds >= 0 else None  # not for nan either
        then, now = (email.utils.parsedate_tz(self.headers.get(header, "")) for header in ("retry-after", "date"))
        if then is None or now is None:
            return None
        return max(0.0, float(email.utils.mktime_tz(then) - email.utils.mktime_tz(now)))


def broken(error: BaseException, name: str, limit: float) -> LlmError:
    """A connection that failed, in our words: what never reached the service was not billed.

    ``error``: an exception of httpx2, or an SDK's with one as its cause. ``limit``: seconds of one attempt.
    """
    import httpx2

    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__ or error
    said = _short(str(cause) or type(cause).__name__)
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return UnknownModel(f"{name} cannot be asked: {said}. Mend llm.base_url.")
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return Overloaded(f"{name} cannot be reached: {said}")
    if isinstance(cause, httpx2.TimeoutException):
        return Interrupted(f"{name} timed out (llm.timeout={limit:g} s): {said}")
    return Interrupted(f"the connection to {name} broke: {said}")


@contextmanager
def translated(name: str, limit: float, refused: Callable[[Exception], LlmError | None]) -> Iterator[None]:
    """What is raised inside comes out as an ``LlmError``, without the request that the SDK's exception holds.

    ``refused``: an SDK's own exceptions in our words; None for others. ``limit``: seconds of one attempt.
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
        # A body that is no JSON, or not the JSON that the API speaks of.
        said = f"{type(error).__name__}: {_short(str(error))}"
        raise Interrupted(f"{name} sent an answer that cannot be read ({said}); check llm.base_url") from None


def _short(text: str) -> str:
    return " ".join(text[:2000].split())[:300]
