"""Endpoints with OpenAI's chat completions API: GPT, vLLM, Ollama, llama.cpp, OpenRouter; by address and model name.

Needs the extra: ``pip install 'treewright[openai]'``. Servers omit different fields: tokens that a server does not
report are None, never 0, and the caps then count the maximum. A call is sent once; retries are left to the meter, which
reserves, records and counts each sending. These servers cache prefixes by themselves, so that prompts only have to
begin with their constant parts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from operators.llm.base import Answer, AnswerRefused, Cost, Interrupted, KeyRefused, LlmError, Prompt
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
    without_thoughts,
)

if TYPE_CHECKING:
    import openai

_NO_KEY = "none"
"""Sent to servers without a key, since the SDK requires one."""
_MOST_DOLLARS = 1e6


class OpenAICompatible:
    """One model behind one endpoint. Thread-safe, as the SDK's client is."""

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        key: str | None = "OPENAI_API_KEY",
        max_tokens: int = 16_000,
        tokens_key: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens",
        timeout: float = 300.0,
        retries: int = 2,
        effort: str | None = None,
        temperature: float | None = None,
        stream: bool = True,
        extra: Mapping[str, Any] | None = None,
        price: Mapping[str, Any] | None = None,
        api_key: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up the client.

        Args:
            key: Environment variable with the key; None for a server without keys.
            tokens_key: The server's name for the limit of an answer: OpenAI's reasoning models accept only the new
                name, some servers only the old one.
            timeout: Seconds of one attempt, from beginning to end.
            extra: Further fields of the request.
            price: In place of the one in ``prices.yaml``.
            api_key: For tests only, so that no key is in a configuration.
        """
        self.name = model
        self.attempts = 1 + retries
        self._base_url = base_url
        self._key = key
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._stream = stream
        self.price = price_from(price) if price is not None else price_of(model)
        self._options: dict[str, Any] = {tokens_key: max_tokens}
        self._options |= {} if effort is None else {"reasoning_effort": effort}
        self._options |= {} if temperature is None else {"temperature": temperature}
        self._options |= {} if not extra else {"extra_body": dict(extra)}
        self._api_key = api_key
        self._deadline = Deadline(timeout, clock)
        self._made: openai.OpenAI | None = None
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        """Send a prompt once. Raises the ``LlmError`` classes of ``operators.llm.base``."""
        client = self._client()
        with translated(self.name, self._timeout, self._refused):
            began = self._deadline.begin()
            turns: Any = [{"role": "system", "content": prompt.system}]
            turns += [{"role": turn.role, "content": turn.whole} for turn in prompt.messages]
            request = {"model": self.name, "messages": turns, **self._options}
            if self._stream:
                return self._streamed(client, request, began)
            response = client.chat.completions.create(**request)
            choices = field(response, "choices")
            if not isinstance(choices, list) or not choices:
                raise Interrupted(f"{self.name} sent an answer without a choice; check llm.base_url")
            message = field(choices[0], "message")
            text, declined = str(field(message, "content") or ""), str(field(message, "refusal") or "")
            return self._answer(
                text, declined, field(choices[0], "finish_reason"), response, field(response, "usage"), began
            )

    def max_cost(self, prompt: Prompt) -> Cost:
        return max_cost_of(prompt, self._max_tokens, self.price)

    def check(self) -> None:
        """Ask for the list of models, which is free, to check key and model. Raises ``LlmError``.

        A server without such a list passes the check.
        """
        client = self._client()
        with translated(self.name, self._timeout, self._refused):
            self._deadline.begin()
            try:
                listed = [field(model, "id") for model in client.models.list().data or ()]
            except Exception as error:
                if field(error, "status_code") == 404:
                    return
                raise
            if listed and self.name not in listed and f"{self.name}:latest" not in listed:
                some = ", ".join(sorted(str(name)[:60] for name in listed)[:12])
                response = ServiceRefusal(404, (), f"the server has {len(listed)}: {some}", {})
                raise response.error(self.name, "")

    def _client(self) -> openai.OpenAI:
        try:
            import openai
        except ModuleNotFoundError:
            raise KeyRefused("this model needs the openai package: pip install 'treewright[openai]'") from None

        with self._lock:
            if self._made is None:
                key = self._api_key or (os.environ.get(self._key) if self._key else _NO_KEY)
                if not key:
                    raise KeyRefused(f"no key: set {self._key}, or llm.key=null for a server that wants none")
                self._made = openai.OpenAI(
                    api_key=key,
                    base_url=self._base_url,
                    timeout=patience(self._timeout),
                    max_retries=0,
                    http_client=openai.DefaultHttpxClient(timeout=patience(self._timeout), **limits(self._deadline)),
                )
            return self._made

    def _streamed(self, client: Any, request: dict[str, Any], began: float) -> Answer:
        """Collect the chunks of one answer. Raises Interrupted if it has no finish reason."""
        parts: list[str] = []
        declined: list[str] = []
        stop: object = None
        last: Any = None
        usage: Any = None
        options = {"stream": True, "stream_options": {"include_usage": True}}
        with client.chat.completions.create(**request, **options) as stream:
            try:
                for chunk in stream:
                    last = chunk
                    usage = field(chunk, "usage") or usage
                    for choice in (field(chunk, "choices") or ())[:1]:
                        parts.append(str(field(choice, "delta", "content") or ""))
                        declined.append(str(field(choice, "delta", "refusal") or ""))
                        stop = field(choice, "finish_reason") or stop
            except Exception:
                if stop is None:  # otherwise only the count of tokens can be missing
                    raise
        if last is None:
            raise Interrupted(
                f"{self.name} sent an answer that is no stream; check llm.base_url, or set llm.stream=false"
            )
        if stop is None:
            length = sum(map(len, parts))
            raise Interrupted(f"the answer of {self.name} was cut off by the connection after {length:,} characters")
        return self._answer("".join(parts), "".join(declined), stop, last, usage, began)

    def _answer(self, text: str, declined: str, stop: object, response: Any, usage: Any, began: float) -> Answer:
        if stop == "error":  # a router's word for a failed server
            raise Interrupted(f"{self.name} broke off: {text[-200:]}")
        tokens_in = count(field(usage, "prompt_tokens"))
        read = count(field(usage, "prompt_tokens_details", "cached_tokens"))
        written = count(field(usage, "prompt_tokens_details", "cache_write_tokens")) or 0
        fresh = None if tokens_in is None else max(0, tokens_in - (read or 0) - written)
        used = Usage(
            fresh=fresh,
            out=count(field(usage, "completion_tokens")),
            written=0 if fresh is None else min(written, tokens_in or 0),
            # A server that counts tokens and reports no cached ones has cached none.
            read=read if read is not None or tokens_in is None else 0,
            billed=_dollars(field(usage, "cost")),
        )
        model = str(field(response, "model") or self.name)
        seconds = self._deadline.elapsed(began)
        answer = used.answer(without_thoughts(text), model, self.price, seconds, stop == "length")
        if declined or stop == "content_filter":
            raise AnswerRefused(f"{self.name} declined to answer: {declined[:200] or stop}", answer)
        return answer

    def _refused(self, error: Exception) -> LlmError | None:
        """Return the ``LlmError`` for an exception of the SDK; None for other exceptions."""
        import openai

        if isinstance(error, openai.APIStatusError):
            hint = f"Set {self._key} to a key that is valid." if self._key else "Name the key's variable in llm.key."
            kinds = (error.type, error.code)
            return ServiceRefusal(error.status_code, kinds, _message(error), error.response.headers).error(
                self.name, hint
            )
        if isinstance(error, openai.APIConnectionError):
            return broken(error, self.name, self._timeout)
        if isinstance(error, openai.APIError):  # within a stream: the text before it may be billed
            return Interrupted(f"{self.name} broke off: {_message(error)[:300]}")
        if isinstance(error, openai.OpenAIError):  # the remaining errors are raised before anything is sent
            return KeyRefused(str(error)[:300])
        return None


def _message(error: openai.APIError) -> str:
    message = field(error.body, "message") or field(error.body, "error", "message") or error.message
    return str(message)


def _dollars(cost: object) -> float | None:
    """Return the cost of the call as reported by the server (a router); None if not valid."""
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost <= _MOST_DOLLARS:
        return None
    return float(cost)
