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

from operators.llm.base import (
    Answer,
    AnswerRefused,
    Cost,
    Interrupted,
    KeyRefused,
    LlmError,
    Message,
    NoText,
    Prompt,
)
from operators.llm.connection import checked_key, connecting, require_numbers
from operators.llm.error_bodies import kinds_of, words_of
from operators.llm.prices import price_from, price_of
from operators.llm.refusals import ServiceRefusal, Settings, instead_of_answer, short
from operators.llm.text import content_text, field
from operators.llm.usage import count, no_text, of_messages
from operators.llm.wire import (
    CHECK_SECONDS,
    Deadline,
    broken,
    client_options,
    max_cost_of,
    patience,
    translated,
)

if TYPE_CHECKING:
    import anthropic

KEY = "ANTHROPIC_API_KEY"
_MARKS = 4
"""Cache marks that the API accepts in one request."""
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_UNLISTED = frozenset({403, 404, 405, 410, 501})
"""Answers to the free check by gateways that have no such page, and for keys that may not read it."""
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
            ValueError: Invalid ``cache``, ``price`` or numbers.
        """
        require_numbers(timeout, max_tokens, retries)
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
        client = self._client()
        with translated(self.name, self._timeout, self._deadline, self._refused):
            began = self._deadline.begin()
            if self._stream:
                return self._streamed(client, prompt, began)
            message = client.messages.create(**self._request(prompt))
            content = field(message, "content")
            if not isinstance(content, (list, str)):
                raise self._no_message(message)
            said = content_text(content), field(message, "stop_reason")
            return self._answer(*said, message, field(message, "usage"), prompt, began)

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        return self._deadline.answering()

    def max_cost(self, prompt: Prompt) -> Cost:
        return max_cost_of(prompt, self._max_tokens, self.price)

    def check(self) -> str | None:
        """Ask the free models endpoint whether the key is valid and the model exists. Raises ``LlmError``.

        Returns a warning if there is no such page: gateways lack it, and some keys may not read it.
        """
        client = self._client()
        seconds = min(self._timeout, CHECK_SECONDS)
        with translated(self.name, seconds, self._deadline, self._refused):
            self._deadline.begin(seconds)
            try:
                client.models.retrieve(self.name, timeout=patience(seconds))
            except Exception as error:
                status = field(error, "status_code")
                if status not in _UNLISTED or field(error, "type") == "not_found_error":
                    raise
                return (
                    f"{self.name} could not be checked for free ({status}: {short(str(field(error, 'message')))}); "
                    "its first call will show whether it is there. If not, correct llm.model or llm.base_url."
                )
        return None

    def _client(self) -> anthropic.Anthropic:
        import anthropic  # takes half a second; not needed without a key

        with self._lock:
            if self._made is None:
                key = checked_key(self._api_key or os.environ.get(self._key), self._key)
                with connecting(self._base_url, "ANTHROPIC_BASE_URL"):
                    http_client = anthropic.DefaultHttpxClient
                    options = client_options(self._base_url, self._timeout, self._deadline, http_client)
                    self._made = anthropic.Anthropic(api_key=key, **options)
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

    @property
    def _settings(self) -> Settings:
        """The optional fields of a request, and the settings that they come from."""
        fields = {"max_tokens": "llm.max_tokens to a number that the model allows"}
        fields |= {"cache_control": "llm.cache=null"} if self._mark else {}
        if self._effort is not None:
            fields |= dict.fromkeys(("output_config", "output_config.effort", "effort"), "llm.effort=null")
        return fields | ({"stream": "llm.stream=false"} if self._stream else {})

    def _streamed(self, client: anthropic.Anthropic, prompt: Prompt, began: float) -> Answer:
        """Collect the events of one answer. Raises Interrupted if the stream ends before the answer does."""
        parts: list[str] = []
        message: Any = None
        usage: dict[str, Any] = {}
        stop: object = None
        with client.messages.create(stream=True, **self._request(prompt)) as stream:
            for event in stream:
                match field(event, "type"):
                    case "message_start":
                        message = field(event, "message")
                        usage = _larger(usage, field(message, "usage")) | {"output_tokens": None}  # comes at the end
                    case "content_block_start":
                        parts.append(content_text(field(event, "content_block")))
                    case "content_block_delta" if field(event, "delta", "type") == "text_delta":
                        parts.append(str(field(event, "delta", "text") or ""))
                    case "message_delta":
                        stop = field(event, "delta", "stop_reason") or stop
                        usage = _larger(usage, field(event, "usage"))
                    case "message_stop":
                        return self._answer("".join(parts), stop, message, usage, prompt, began)
        if message is None:
            raise self._no_message(None)
        raise Interrupted(
            f"the answer of {self.name} was cut off by the connection after {sum(map(len, parts)):,} characters"
        )

    def _answer(self, text: str, stop: object, message: Any, usage: Any, prompt: Prompt, began: float) -> Answer:
        used = of_messages(usage, prompt, text)
        model, cut_off = str(field(message, "model") or self.name), stop in _CUT_OFF
        answer = used.answer(text, model, self.price, self._deadline.elapsed(began), cut_off)
        if stop == "refusal":
            raise AnswerRefused(f"{self.name} declined to answer", answer)
        if cut_off and not text.strip():
            raise NoText(f"{self.name} {no_text(answer, self._max_tokens)}", answer)
        if not text.strip():
            raise NoText(f"{self.name} sent no text (stop_reason: {short(str(stop or 'none'))})", answer)
        return answer

    def _no_message(self, response: Any) -> LlmError:
        body = response.to_dict() if hasattr(response, "to_dict") else response
        return instead_of_answer(self.name, body, "that is no message", self._hint, self._settings)

    @property
    def _hint(self) -> str:
        return f"Set {self._key} to a key that is valid."

    def _refused(self, error: Exception) -> LlmError | None:
        """Return the ``LlmError`` for an exception of the SDK; None for other exceptions."""
        import anthropic

        if isinstance(error, TypeError) and self._keyless():
            return KeyRefused(f"no key: set {self._key}")
        if not isinstance(error, anthropic.AnthropicError):
            return None
        message = str(field(error, "api_message") or words_of(field(error, "body")) or error)
        if isinstance(error, anthropic.APIStatusError):
            if error.status_code == 200:  # within a stream: the text before it may be billed
                return Interrupted(f"{self.name} broke off: {short(message)}")
            kinds = (error.type, error.error_code, *kinds_of(error.body))
            refusal = ServiceRefusal(error.status_code, kinds, message, error.response.headers, sent=self._settings)
            return refusal.error(self.name, self._hint)
        if isinstance(error, anthropic.APIConnectionError):
            return broken(error, self.name, self._timeout)
        if isinstance(error, anthropic.APIError):
            return Interrupted(f"{self.name}: {short(message)}")
        return KeyRefused(short(message))  # the remaining errors are raised before anything is sent

    def _keyless(self) -> bool:
        """Return whether the SDK found neither a key nor a token: it raises TypeError before it sends anything."""
        made = self._made
        return made is not None and made.api_key is None and made.auth_token is None and not self._deadline.sent


def _larger(known: dict[str, Any], usage: Any) -> dict[str, Any]:
    """Return the counts so far, which are cumulative: a later one that is smaller was left out by a gateway."""
    found = dict(known)
    for name in _COUNTS:
        if (value := count(field(usage, name))) is not None:
            found[name] = max(value, known.get(name) or 0)
    return found | {"cache_creation": field(usage, "cache_creation") or known.get("cache_creation")}
