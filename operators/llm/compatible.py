"""Endpoints with OpenAI's chat completions API: GPT, vLLM, Ollama, llama.cpp, OpenRouter; by address and model name.

Needs the extra: ``pip install 'treewright[openai]'``. Servers omit different fields: tokens that a server does not
report are None, never 0, and the caps then count the maximum. A call is sent once; retries are left to the meter, which
reserves, records and counts each sending. These servers cache prefixes by themselves, so that prompts only have to
begin with their constant parts.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, Literal

from operators.llm.base import (
    Answer,
    AnswerRefused,
    Cost,
    Interrupted,
    KeyRefused,
    LlmError,
    NoText,
    Prompt,
)
from operators.llm.connection import checked_key, connecting, require_numbers
from operators.llm.error_bodies import kinds_of, status_of, words_of
from operators.llm.listing import ModelList
from operators.llm.prices import price_from, price_of
from operators.llm.refusals import MODERATED, ServiceRefusal, Settings, instead_of_answer, short
from operators.llm.text import content_text, field, has_reasoning, without_thoughts
from operators.llm.usage import no_text, of_completions
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
    import openai

_PATH = "/chat/completions"
"""Asked with ``cast_to=object``: the SDK checks nothing of its typed classes, and takes longer to make one of a chunk
than a local server to send it."""
_NO_KEY = "none"
"""Sent to servers without a key, since the SDK requires one."""
_CUT_OFF = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"})
_DECLINED = frozenset(
    {"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "refusal", "sensitive"}
)
_BROKE_OFF = frozenset({"error", "network_error", "insufficient_system_resource"})
"""Reasons for the end of an answer, in the words of OpenAI and of others behind its API."""
_REASONING = ("reasoning_content", "reasoning", "reasoning_details", "thinking")
"""Fields of a message that hold reasoning."""
_UNLISTED = frozenset({400, 403, 404, 405, 410, 422, 501})
"""Answers to the free check by servers that have no list of models, and for keys that may not read it."""


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

        Raises:
            ValueError: Invalid ``price`` or numbers.
        """
        require_numbers(timeout, max_tokens, retries)
        if extra is not None and not isinstance(extra, Mapping):
            raise ValueError(f"llm.extra is {extra!r}; expected further fields of the request, as in {{top_p: 0.9}}")
        self.name = model
        self.attempts = 1 + retries
        self._base_url = base_url
        self._key = key
        self._max_tokens = max_tokens
        self._timeout = timeout
        self._stream = stream
        self.price = price_from(price) if price is not None else price_of(model)
        fields = {tokens_key: max_tokens, "reasoning_effort": effort, "temperature": temperature}
        self._fields = {name: value for name, value in fields.items() if value is not None} | dict(extra or {})
        self._settings = _settings(self._fields, tokens_key, stream, extra or {})
        self._api_key = api_key
        self._deadline = Deadline(timeout, clock)
        self._made: openai.OpenAI | None = None
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        """Send a prompt once. Raises the ``LlmError`` classes of ``operators.llm.base``."""
        client = self._client()
        with translated(self.name, self._timeout, self._deadline, self._refused):
            began = self._deadline.begin()
            turns: Any = [{"role": "system", "content": prompt.system}]
            turns += [{"role": turn.role, "content": turn.whole} for turn in prompt.messages]
            request = {"model": self.name, "messages": turns, **self._fields}
            if self._stream:
                return self._streamed(client, request, prompt, began)
            return self._whole(client.post(_PATH, cast_to=object, body=request), prompt, began)

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        return self._deadline.answering()

    def max_cost(self, prompt: Prompt) -> Cost:
        return max_cost_of(prompt, self._max_tokens, self.price)

    def check(self) -> str | None:
        """Ask for the list of models, which is free, to check the key. Raises ``LlmError``.

        Returns a warning if the model is not on the list: routers, gateways and deployments have further names, so that
        only a call can tell.
        """
        client = self._client()
        seconds = min(self._timeout, CHECK_SECONDS)
        with translated(self.name, seconds, self._deadline, self._refused):
            self._deadline.begin(seconds)
            try:
                listed: Any = client.get("/models", cast_to=object, options={"timeout": patience(seconds)})
            except Exception as error:
                if field(error, "status_code") not in _UNLISTED:
                    raise
                found = f"the server has no list of models ({field(error, 'status_code')})"
            else:
                listing = ModelList.of(listed)
                if listing.has(self.name):
                    return None
                found = listing.words
        return (
            f"{self.name} could not be checked for free: {found}. Its first call will show whether it is there. "
            "If not, correct llm.model or llm.base_url."
        )

    def _client(self) -> openai.OpenAI:
        try:
            import openai
        except ModuleNotFoundError:
            raise KeyRefused("this model needs the openai package: pip install 'treewright[openai]'") from None

        with self._lock:
            if self._made is None:
                key = self._api_key or (os.environ.get(self._key) if self._key else _NO_KEY)
                if not checked_key(key, self._key):
                    raise KeyRefused(f"no key: set {self._key}, or llm.key=null for a server that wants none")
                with connecting(self._base_url, "OPENAI_BASE_URL"):
                    http_client = openai.DefaultHttpxClient
                    options = client_options(self._base_url, self._timeout, self._deadline, http_client)
                    self._made = openai.OpenAI(api_key=key, **options)
            return self._made

    def _whole(self, response: Any, prompt: Prompt, began: float) -> Answer:
        """Return the answer of a response that is no stream. Raises ``LlmError``."""
        choices = field(response, "choices")
        if not isinstance(choices, list) or not choices:
            raise instead_of_answer(self.name, response, "without a choice", self._hint, self._settings)
        said = _Said()
        said.add(field(choices[0], "message"), field(choices[0], "finish_reason"))
        return self._answer(said, response, field(response, "usage"), prompt, began)

    def _streamed(self, client: Any, request: dict[str, Any], prompt: Prompt, began: float) -> Answer:
        """Collect the chunks of one answer. Raises Interrupted if it has no finish reason."""
        said = _Said()
        last: Any = None
        usage: Any = None
        import openai

        body = {"stream": True, "stream_options": {"include_usage": True}, **request}
        with client.post(_PATH, cast_to=object, body=body, stream=True, stream_cls=openai.Stream[object]) as stream:
            if "json" in stream.response.headers.get("content-type", ""):  # a server that does not stream, or an error
                return self._whole(json.loads(stream.response.read()), prompt, began)
            try:
                for chunk in stream:
                    last = chunk
                    usage = field(chunk, "usage") or usage
                    for choice in (field(chunk, "choices") or ())[:1]:
                        said.add(field(choice, "delta"), field(choice, "finish_reason"))
            except Exception as error:
                if said.stop is None and not said.parts and (known := self._reported(error)) is not None:
                    raise known from None
                if said.stop is None:  # otherwise only the count of tokens can be missing
                    raise
        if last is None:
            raise Interrupted(
                f"{self.name} sent an answer that is no stream; check llm.base_url, or set llm.stream=false",
                unreadable=True,
            )
        if said.stop is None:
            length = len(said.text)
            raise Interrupted(f"the answer of {self.name} was cut off by the connection after {length:,} characters")
        return self._answer(said, last, usage, prompt, began)

    def _answer(self, said: _Said, response: Any, usage: Any, prompt: Prompt, began: float) -> Answer:
        stop = str(said.stop or "").lower()
        if stop in _BROKE_OFF:
            raise Interrupted(f"{self.name} broke off: {short(said.text[-200:]) or stop}")
        text, cut_off = without_thoughts(said.text), stop in _CUT_OFF
        used = of_completions(usage, prompt, said.text, self._max_tokens)
        model = str(field(response, "model") or self.name)
        answer = used.answer(text, model, self.price, self._deadline.elapsed(began), cut_off)
        if said.declined or stop in _DECLINED:
            raise AnswerRefused(f"{self.name} declined to answer: {short(said.declined)[:200] or said.stop}", answer)
        reasoned = said.reasoned or bool(field(usage, "completion_tokens_details", "reasoning_tokens"))
        if not text.strip() and (cut_off or reasoned):
            raise NoText(f"{self.name} {no_text(answer, self._max_tokens)}", answer)
        if not text.strip():
            raise NoText(f"{self.name} sent no text (finish_reason: {short(stop) or 'none'})", answer)
        return answer

    def _refused(self, error: Exception) -> LlmError | None:
        """Return the ``LlmError`` for an exception of the SDK; None for other exceptions."""
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._refusal(error.status_code, error.body, error.response.headers, error).error(
                self.name, self._hint
            )
        if isinstance(error, openai.APIConnectionError):
            return broken(error, self.name, self._timeout)
        if isinstance(error, openai.APIError):  # within a stream: the text before it may be billed
            return Interrupted(f"{self.name} broke off: {short(words_of(error.body) or error.message)}")
        if isinstance(error, openai.OpenAIError):  # the remaining errors are raised before anything is sent
            return KeyRefused(short(str(error)))
        return None

    @property
    def _hint(self) -> str:
        return f"Set {self._key} to a key that is valid." if self._key else "Name the key's variable in llm.key."

    def _refusal(
        self, status: int, body: Any, headers: Mapping[str, str], error: openai.APIError | None = None
    ) -> ServiceRefusal:
        """Return what an error response says. ``error``: the SDK's exception for it."""
        kinds = [*kinds_of(body), *((error.type, error.code) if error is not None else ()), _moderated(body)]
        words = words_of(body) or (error.message if error is not None else "")
        param = str((error.param if error is not None else None) or _at_fault(body))
        return ServiceRefusal(status, kinds, words, headers, param, self._settings)

    def _reported(self, error: Exception) -> LlmError | None:
        """Return the ``LlmError`` for an error that a stream begins with, if it names its status."""
        import openai

        if type(error) is not openai.APIError or (status := status_of(error.body)) is None:
            return None
        return self._refusal(status, error.body, {}, error).error(self.name, self._hint)


@dataclass
class _Said:
    """The contents of an answer, whole or piece by piece."""

    parts: list[str] = dataclass_field(default_factory=list)
    refusals: list[str] = dataclass_field(default_factory=list)
    reasoned: bool = False
    """Whether reasoning came beside the answer."""
    stop: object = None

    def add(self, message: Any, stop: object) -> None:
        """Add a message, or the difference that a chunk of a stream makes."""
        content = field(message, "content")
        self.parts += filter(None, [content_text(content)])
        self.refusals.append(str(field(message, "refusal") or ""))
        beside = any(field(message, name) for name in _REASONING)
        self.reasoned = self.reasoned or beside or has_reasoning(content)
        self.stop = stop or self.stop

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def declined(self) -> str:
        return "".join(self.refusals)


def _settings(fields: Mapping[str, Any], tokens_key: str, stream: bool, extra: Iterable[str]) -> Settings:
    """Return the optional fields of a request, and the settings that they come from."""
    other = "max_tokens" if tokens_key == "max_completion_tokens" else "max_completion_tokens"
    advice = {
        tokens_key: f"llm.tokens_key={other}, or llm.max_tokens to a number that the model allows",
        "reasoning_effort": "llm.effort=null",
        "temperature": "llm.temperature=null",
    }
    sent = {name: words for name, words in advice.items() if name in fields}
    sent |= {name: f"llm.extra without {name}" for name in extra}
    return sent | (dict.fromkeys(("stream_options", "stream"), "llm.stream=false") if stream else {})


def _moderated(body: object) -> str | None:
    """Return the kind of a response that lists a moderation's reasons (OpenRouter), or what it flagged."""
    about = field(body, "metadata") or field(body, "error", "metadata")
    return MODERATED if field(about, "reasons") or field(about, "flagged_input") else None


def _at_fault(body: object) -> str:
    """Return the field that a server of FastAPI lists first as at fault; empty if it lists none."""
    detail = field(body, "detail")
    place = field(detail[0], "loc") if isinstance(detail, list) and detail else None
    return str(place[-1]) if isinstance(place, list) and place else ""
