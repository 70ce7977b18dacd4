"""Claude through the ``anthropic`` SDK: time-outs, retries with a ceiling, a cached prefix, and clear ends.

The key comes from ANTHROPIC_API_KEY in the environment and goes nowhere else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from operators.llm.base import (
    Answer,
    AnswerRefused,
    Cost,
    Interrupted,
    KeyRefused,
    LlmError,
    Overloaded,
    Prompt,
    QuotaExhausted,
    RequestRefused,
    Unavailable,
    UnknownModel,
)
from operators.llm.prices import Price, price_of

if TYPE_CHECKING:
    import anthropic

_NO_KEY = "no key: set ANTHROPIC_API_KEY"
_BYTES_PER_TOKEN = 2
"""A token of English or code is 3 to 5 bytes; 2 makes the count an upper bound."""


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
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``max_tokens``: of one answer, thinking included. ``timeout``: seconds of one attempt. ``effort``: how much
        the model thinks (low, medium, high); None for the model's default. ``api_key`` is for tests: leave it out,
        since a configuration is kept in the archive."""
        self.name = model
        self.attempts = 1 + retries
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._effort = effort
        self._base_url = base_url
        self._api_key = api_key
        self._clock = clock
        self._made: anthropic.Anthropic | None = None
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        """Raises ``LlmError``; see ``operators.llm.base`` for which."""
        import anthropic

        started = self._clock()
        turns: list[Any] = [{"role": turn.role, "content": turn.whole} for turn in prompt.messages]
        options: dict[str, Any] = {} if self._effort is None else {"output_config": {"effort": self._effort}}
        try:
            message = self._client().messages.create(
                model=self.name,
                max_tokens=self._max_tokens,
                # The system text is the same for the whole search: the provider keeps it for five minutes.
                system=[{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral"}}],
                messages=turns,
                **options,
            )
        except anthropic.AnthropicError as error:
            raise self._translated(error) from None
        except ValueError as error:  # a body that is not JSON
            raise Interrupted(f"{self.name} sent an answer that cannot be read: {error}") from None
        except TypeError as error:  # how the SDK says that there is no key
            raise KeyRefused(_NO_KEY if "authentication" in str(error) else str(error)) from None
        return self._answer(message, self._clock() - started)

    def worst(self, prompt: Prompt) -> Cost:
        size = len(prompt.text.encode("utf-8", "replace"))
        tokens_in = size // _BYTES_PER_TOKEN + 64
        price = self._price()
        dollars = None if price is None else price.at_most(tokens_in, self._max_tokens)
        return Cost(tokens_in + self._max_tokens, dollars)

    def check(self) -> None:
        """Ask the free models endpoint whether the key is good and the model exists. Raises ``LlmError``."""
        import anthropic

        try:
            self._client().models.retrieve(self.name)
        except anthropic.AnthropicError as error:
            raise self._translated(error) from None
        except TypeError as error:
            raise KeyRefused(_NO_KEY if "authentication" in str(error) else str(error)) from None

    def _client(self) -> anthropic.Anthropic:
        import anthropic  # half a second, which a search without a key need not wait for

        with self._lock:
            if self._made is None:
                self._made = anthropic.Anthropic(
                    api_key=self._api_key,
                    base_url=self._base_url,
                    timeout=self._timeout,
                    max_retries=self.attempts - 1,
                )
            return self._made

    def _price(self) -> Price | None:
        return price_of(self.name)

    def _answer(self, message: Any, seconds: float) -> Answer:
        usage = getattr(message, "usage", None)
        content = getattr(message, "content", None)
        if usage is None or not isinstance(content, list):
            raise Interrupted(f"{self.name} sent an answer that is no message; check llm.base_url")
        fresh, out = usage.input_tokens or 0, usage.output_tokens or 0
        written, read = usage.cache_creation_input_tokens or 0, usage.cache_read_input_tokens or 0
        price = self._price()
        answer = Answer(
            text="".join(block.text for block in content if block.type == "text"),
            model=message.model or self.name,
            tokens_in=fresh + written + read,
            tokens_out=out,
            tokens_cached=read,
            seconds=seconds,
            dollars=None if price is None else price.dollars(fresh=fresh, written=written, read=read, out=out),
            cut_off=message.stop_reason == "max_tokens",
        )
        if message.stop_reason == "refusal":
            raise AnswerRefused(f"{self.name} declined to answer", answer)
        return answer

    def _translated(self, error: anthropic.AnthropicError) -> LlmError:
        """The SDK's exception in our words. What the service says is kept; the SDK puts no key into it."""
        import anthropic

        said = str(getattr(error, "api_message", None) or error)[:300]
        match error:
            case anthropic.AuthenticationError() | anthropic.PermissionDeniedError():
                return KeyRefused(f"the key was refused: {said}. Set ANTHROPIC_API_KEY to a key that is valid.")
            case anthropic.PaymentRequiredError():
                return QuotaExhausted(f"no credit left: {said}")
            case anthropic.BadRequestError() if error.type == "billing_error" or "credit balance" in said:
                return QuotaExhausted(f"no credit left: {said}")
            case anthropic.NotFoundError():
                return UnknownModel(f"no model {self.name!r}: {said}. Set llm.model to one that your key may use.")
            case anthropic.RateLimitError() | anthropic.InternalServerError():
                return Overloaded(f"{self.name} after {self.attempts} attempts: {error.status_code} {said}")
            case anthropic.APIStatusError():
                return RequestRefused(f"{self.name} rejected the request: {error.status_code} {said}")
            case anthropic.APIConnectionError():
                return Interrupted(f"{self.name} after {self.attempts} attempts: {said}")
            case anthropic.APIError():
                return Interrupted(f"{self.name}: {said}")
        # What is left is raised before anything is sent.
        return KeyRefused(said) if isinstance(error, anthropic.CredentialsError) else Unavailable(said)
