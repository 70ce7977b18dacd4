"""Claude through the ``anthropic`` SDK: streaming, time-outs, prompt caching, and one exception for every failure.

The key comes from the environment and is used nowhere else. A call is sent once; retries are left to the meter, which
reserves, records and counts each sending.

Prefixes are marked for the provider's cache: the system text, which is the same for a whole search, and the ``stable``
parts of the first messages (such as the parent program). A prefix shorter than the model's minimum (512 to 4,096
tokens) is not cached, at no cost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from operators.llm.base import Answer, AnswerRefused, Cost, Interrupted, KeyRefused, LlmError, Message, Prompt
from operators.llm.prices import price_from, price_of
from operators.llm.wire import (
    Deadline,
    ServiceRefusal,
    Usage,
    broken,
    count,
    field,
    limits,
    max_cost_of,
    patience,
    translated,
)

if TYPE_CHECKING:
    import anthropic

KEY = "ANTHROPIC_API_KEY"
_MARKS = 4
"""Cache marks that the API accepts in one request."""
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation")
_CUT_OFF = ("max_tokens", "model_context_window_exceeded")


class Claude:
    """One Claude model. Thread-safe, as the SDK's client is."""

    def __init__(
        self,
        model: str,
        max_tokens: int = 16_000,
        timeout: float = 300.0,
        retries: int = 2,
        effort: str | None = None,
        base_url: str | None = None,
        stream: bool = True,
        cache: Literal["5m", "1h"] | None = "5m",
        price: Mapping[str, Any] | None = None,
        key: str = KEY,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the client.

        Args:
            max_tokens: Of one answer, thinking included.
            timeout: Seconds of one attempt, from beginning to end.
            effort: low, medium or high; None for the model's default.
            cache: Lifetime of cached prefixes; None for no caching.
            price: In place of the one in ``prices.yaml``.
            key: Environment variable with the key.
            api_key: For tests only, so that no key is in a configuration.

        Raises:
            ValueError: Invalid ``cache`` or ``price``.
        """
        if cache not in ("5m", "1h", None):
            raise ValueError(f"llm.cache is {cache!r}; expected 5m, 1h or null")
        self.name = model
        self.attempts = 1 + retries
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._effort = effort
        self._base_url = base_url
        self._stream = stream
        self._mark = {} if cache is None else {"cache_control": {"type": "ephemeral", "ttl": cache}}
        self.price = price_from(price) if price is not None else price_of(model)
        self._key = key
        self._api_key = api_key
        self._deadline = Deadline(timeout, clock)
        self._made: anthropic.Anthropic | None = None
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        """Send a prompt once. Raises the ``LlmError`` classes of ``operators.llm.base``."""
        with translated(self.name, self._timeout, self._refused):
            began = self._deadline.begin()
            if self._stream:
                return self._streamed(prompt, began)
            message = self._client().messages.create(**self._request(prompt))
            if not isinstance(field(message, "content"), list):
                raise Interrupted(f"{self.name} sent an answer that is no message; check llm.base_url")
            text = "".join(
                str(field(block, "text") or "") for block in message.content if field(block, "type") == "text"
            )
            return self._answer(text, message, field(message, "usage"), field(message, "stop_reason"), began)

    def max_cost(self, prompt: Prompt) -> Cost:
        return max_cost_of(prompt, self._max_tokens, self.price)

    def check(self) -> None:
        """Ask the free models endpoint whether the key is valid and the model exists. Raises ``LlmError``."""
        with translated(self.name, self._timeout, self._refused):
            self._deadline.begin()
            self._client().models.retrieve(self.name)

    def _client(self) -> anthropic.Anthropic:
        import anthropic  # takes half a second; not needed without a key

        with self._lock:
            if self._made is None:
                self._made = anthropic.Anthropic(
                    api_key=self._api_key or os.environ.get(self._key),
                    base_url=self._base_url,
                    timeout=patience(self._timeout),
                    max_retries=0,
                    http_client=anthropic.DefaultHttpxClient(timeout=patience(self._timeout), **limits(self._deadline)),
                )
            return self._made

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        left = _MARKS - 1
        messages = []
        for turn in prompt.messages:
            messages.append({"role": turn.role, "content": self._content(turn, marked=left > 0)})
            left -= bool(turn.stable)
        options: dict[str, Any] = {} if self._effort is None else {"output_config": {"effort": self._effort}}
        return {
            "model": self.name,
            "max_tokens": self._max_tokens,
            "system": [{"type": "text", "text": prompt.system, **self._mark}],
            "messages": messages,
            **options,
        }

    def _content(self, turn: Message, marked: bool) -> Any:
        if not turn.stable:
            return turn.text
        stable = {"type": "text", "text": turn.stable, **(self._mark if marked else {})}
        return [stable, {"type": "text", "text": turn.text}]

    def _streamed(self, prompt: Prompt, began: float) -> Answer:
        """Collect the events of one answer. Raises Interrupted if the stream ends before the answer does."""
        parts: list[str] = []
        message: Any = None
        usage: dict[str, Any] = {}
        stop: object = None
        with self._client().messages.create(stream=True, **self._request(prompt)) as stream:
            for event in stream:
                match field(event, "type"):
                    case "message_start":
                        message = field(event, "message")
                        usage |= _given(field(message, "usage")) | {"output_tokens": None}  # reported at the end
                    case "content_block_start" if field(event, "content_block", "type") == "text":
                        parts.append(str(field(event, "content_block", "text") or ""))
                    case "content_block_delta" if field(event, "delta", "type") == "text_delta":
                        parts.append(str(field(event, "delta", "text") or ""))
                    case "message_delta":
                        stop = field(event, "delta", "stop_reason")
                        usage |= _given(field(event, "usage"))  # cumulative
                    case "message_stop":
                        return self._answer("".join(parts), message, usage, stop, began)
        if message is None:
            raise Interrupted(f"{self.name} sent an answer that is no message; check llm.base_url")
        raise Interrupted(
            f"the answer of {self.name} was cut off by the connection after {sum(map(len, parts)):,} characters"
        )

    def _answer(self, text: str, message: Any, usage: Any, stop: object, began: float) -> Answer:
        long = count(field(usage, "cache_creation", "ephemeral_1h_input_tokens")) or 0
        written = count(field(usage, "cache_creation_input_tokens")) or 0
        used = Usage(
            fresh=count(field(usage, "input_tokens")),
            out=count(field(usage, "output_tokens")),
            written=max(0, written - long),
            written_long=long,
            read=count(field(usage, "cache_read_input_tokens")) or 0,
        )
        model = str(field(message, "model") or self.name)
        answer = used.answer(text, model, self.price, self._deadline.elapsed(began), stop in _CUT_OFF)
        if stop == "refusal":
            raise AnswerRefused(f"{self.name} declined to answer", answer)
        return answer

    def _refused(self, error: Exception) -> LlmError | None:
        """Return the ``LlmError`` for an exception of the SDK; None for other exceptions."""
        import anthropic

        if isinstance(error, TypeError) and "authentication" in str(error):  # the SDK's error for a missing key
            return KeyRefused(f"no key: set {self._key}")
        if not isinstance(error, anthropic.AnthropicError):
            return None
        message = str(field(error, "api_message") or error)
        if isinstance(error, anthropic.APIStatusError):
            if error.status_code == 200:  # within a stream: the text before it may be billed
                return Interrupted(f"{self.name} broke off: {message[:300]}")
            kinds = (error.type, error.error_code)
            hint = f"Set {self._key} to a key that is valid."
            return ServiceRefusal(error.status_code, kinds, message, error.response.headers).error(self.name, hint)
        if isinstance(error, anthropic.APIConnectionError):
            return broken(error, self.name, self._timeout)
        if isinstance(error, anthropic.APIError):
            return Interrupted(f"{self.name}: {message[:300]}")
        return KeyRefused(message[:300])  # the remaining errors are raised before anything is sent


def _given(usage: Any) -> dict[str, Any]:
    """Return the counts that the server reported."""
    return {name: value for name in _COUNTS if (value := field(usage, name)) is not None}
