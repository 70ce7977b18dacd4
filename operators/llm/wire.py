"""Shared parts of the clients: limits of time and size, and exceptions for every failure.

The SDKs lack three limits: their time-out is for each read, so a server that sends a byte now and then could hold a
call for ever; an answer may have any size; and they follow redirects with the key in a header. ``limits`` adds these to
the HTTP client of each SDK.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from operators.llm.base import (
    Cost,
    Interrupted,
    LlmError,
    Overloaded,
    Prompt,
    RequestRefused,
    UnknownModel,
)
from operators.llm.prices import Price
from operators.llm.refusals import short

if TYPE_CHECKING:
    import httpx2

LONGEST_ANSWER = 16 * 2**20
"""Bytes of one response, framing included. A normal one has some hundred kilobytes."""
CONNECT_SECONDS = 20.0
CHECK_SECONDS = 20.0
"""Most seconds of a request that asks for models, which no service computes for long."""
LIVELY_SECONDS = 1.0
"""A call whose last byte is younger than this is being answered."""
BYTES_PER_TOKEN = 2
"""A token of English or code is 3 to 5 bytes; 2 makes a count of tokens an upper bound."""


# ---------------------------------------------------------------- limits


class Deadline:
    """Deadline of the current call of each thread, since threads share the client, and what has happened of it."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._mine = threading.local()
        self._heard: dict[int, float] = {}  # thread -> time of the last byte of its call

    def begin(self, at_most: float = float("inf")) -> float:
        """Start this thread's call and return the time."""
        now = self._clock()
        self._mine.until = now + min(self._seconds, at_most)
        self._mine.sent = False
        return now

    def elapsed(self, since: float) -> float:
        return self._clock() - since

    def mark_sent(self, request: object) -> None:
        """Note that this thread's request leaves now. Before, nothing can have been billed."""
        self._mine.sent = True

    def mark_heard(self) -> None:
        """Note that a byte of this thread's answer has come."""
        self._heard[threading.get_ident()] = self._clock()

    def end(self) -> None:
        """Forget this thread's call."""
        self._heard.pop(threading.get_ident(), None)

    def answering(self) -> int:
        """Count the calls whose answer is arriving, of all threads."""
        now = self._clock()
        return sum(now - heard <= LIVELY_SECONDS for heard in tuple(self._heard.values()))

    @property
    def sent(self) -> bool:
        """Whether this thread's request has been handed to the network."""
        return getattr(self._mine, "sent", False)

    @property
    def over(self) -> bool:
        return self._clock() > getattr(self._mine, "until", float("inf"))


def patience(seconds: float) -> httpx2.Timeout:
    """Return the time-out of each read, with a shorter one for the connection."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def client_options(
    base_url: str | None, timeout: float, deadline: Deadline, http_client: Callable[..., Any]
) -> dict[str, Any]:
    """Return the options of an SDK's client. ``http_client``: the SDK's class of HTTP clients."""
    return {
        "base_url": base_url or None,
        "timeout": patience(timeout),
        "max_retries": 0,
        "http_client": http_client(timeout=patience(timeout), **limits(deadline)),
    }


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
                deadline.mark_heard()
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
        "event_hooks": {"request": [deadline.mark_sent], "response": [limit]},
    }


# ---------------------------------------------------------------- costs


def tokens_at_most(prompt: Prompt) -> int:
    """Return an upper bound of the tokens of a prompt."""
    return len(prompt.text.encode()) // BYTES_PER_TOKEN + 64


def max_cost_of(prompt: Prompt, tokens_out: int, price: Price | None) -> Cost:
    """Return an upper bound of the cost of one sending, with an answer of at most ``tokens_out`` tokens."""
    tokens_in = tokens_at_most(prompt)
    return Cost(tokens_in + tokens_out, None if price is None else price.at_most(tokens_in, tokens_out))


# ---------------------------------------------------------------- failures


def broken(error: BaseException, name: str, limit: float) -> LlmError:
    """Return the ``LlmError`` for a failed connection. A request that never reached the service was not billed.

    ``error``: an exception of httpx2, or an SDK's with one as its cause. ``limit``: seconds of one attempt.
    """
    import httpx2

    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__ or error
    message = short(str(cause) or type(cause).__name__)
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return UnknownModel(f"{name} cannot be asked: {message}. Correct llm.base_url.")
    if isinstance(cause, httpx2.LocalProtocolError):
        return RequestRefused(f"the request to {name} could not be sent: {message}")
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)):
        return Overloaded(f"{name} cannot be reached: {message}")
    if isinstance(cause, httpx2.TimeoutException):
        return Interrupted(f"{name} timed out (llm.timeout={limit:g} s): {message}")
    return Interrupted(f"the connection to {name} broke: {message}")


@contextmanager
def translated(
    name: str, limit: float, deadline: Deadline, refused: Callable[[Exception], LlmError | None]
) -> Iterator[None]:
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
        raise _unreadable(error, name, deadline.sent) from None
    finally:
        deadline.end()


def _unreadable(error: Exception, name: str, sent: bool) -> LlmError:
    """Return the ``LlmError`` for an exception while a request was written, or while its answer was read."""
    message = f"{type(error).__name__}: {short(str(error))}"
    if not sent:
        return RequestRefused(f"the request to {name} could not be sent ({message}); check the settings of llm")
    # The body is no JSON, or not that of the API.
    return Interrupted(f"{name} sent an answer that cannot be read ({message}); check llm.base_url", unreadable=True)
