"""Claude through the ``anthropic`` SDK: streamed, with time-outs, cached beginnings, and a name for every end.

The key comes from the environment and goes nowhere else. A call is sent once: the meter sends it again, since each
sending is reserved, recorded and counted by itself.

Three beginnings are marked for the provider's cache: the system text, which is the same for a whole search, and the
``stable`` parts of the first messages (the parent program, say). What is shorter than the model's least cached length
(512 to 4,096 tokens) is not cached, which costs nothing.
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
    patience,
    translated,
    worst_of,
)

if TYPE_CHECKING:
    import anthropic

KEY = "ANTHROPIC_API_KEY"
_MARKS = 4
"""Cache marks that the API takes in one request."""
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation")
_CUT_OFF = ("max_tokens", "model_context_window_exceeded")


class Claude:
    """One Claude model. Thread-safe: the SDK's client is."""

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
        """``max_tokens``: of one answer, thinking included. ``timeout``: seconds of one attempt, from beginning to end.
        ``effort``: how much the model thinks (low, medium, high); None for the model's default. ``cache``: how long the
        provider keeps the beginnings of prompts; None for not at all. ``price``: where ``prices.yaml`` has none, or
        yours is another. ``key``: the environment variable that holds the key. ``api_key`` is for tests: leave it out,
        so that it stands in no configuration. Raises ValueError for settings that make no sense."""
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
        """Raises ``LlmError``; see ``operators.llm.base`` for which."""
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

    def worst(self, prompt: Prompt) -> Cost:
        return worst_of(prompt, self._max_tokens, self.price)

    def check(self) -> None:
        """Ask the free models endpoint whether the key is good and the model exists. Raises ``LlmError``."""
        with translated(self.name, self._timeout, self._refused):
            self._deadline.begin()
            self._client().models.retrieve(self.name)

    def _client(self) -> anthropic.Anthropic:
        import anthropic  # half a second, which a search without a key need not wait for

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
        """Collect the events of one answer. One that does not come to its end is an interruption."""
        parts: list[str] = []
        message: Any = None
        usage: dict[str, Any] = {}
        stop: object = None
        with self._client().messages.create(stream=True, **self._request(prompt)) as stream:
            for event in stream:
                match field(event, "type"):
                    case "message_start":
                        message = field(event, "message")
                        usage |= _given(field(message, "usage")) | {"output_tokens": None}  # told at the end
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
        """The SDK's exception in our words."""
        import anthropic

        if isinstance(error, TypeError) and "authentication" in str(error):  # how the SDK says that there is no key
            return KeyRefused(f"no key: set {self._key}")
        if not isinstance(error, anthropic.AnthropicError):
            return None
        said = str(field(error, "api_message") or error)
        if isinstance(error, anthropic.APIStatusError):
            if error.status_code == 200:  # said in the middle of a stream: what came before may be billed
                return Interrupted(f"{self.name} broke off: {said[:300]}")
            kinds = (error.type, error.error_code)
            hint = f"Set {self._key} to a key that is valid."
            return ServiceRefusal(error.status_code, kinds, said, error.response.headers).error(self.name, hint)
        if isinstance(error, anthropic.APIConnectionError):
            return broken(error, self.name, self._timeout)
        if isinstance(error, anthropic.APIError):
            return Interrupted(f"{self.name}: {said[:300]}")
        return KeyRefused(said[:300])  # what is left is raised before anything is sent


def _given(usage: Any) -> dict[str, Any]:
    """The counts that are there."""
    return {name: value for name in _COUNTS if (value := field(usage, name)) is not None}
