"""The protocol of language models: a prompt goes in, an answer or an ``LlmError`` comes out.

LlmError
 ├─ KeyRefused        the key is missing, wrong, or may not use this model      no further call can succeed
 ├─ QuotaExhausted    the account has no credit left                            "
 ├─ UnknownModel      there is no model of that name, or nothing at the address "
 ├─ InvalidSetting    a setting or a variable of the environment is unusable    "
 ├─ RefusedAgain      what was sent before was refused, with the same words     "
 ├─ BudgetSpent       the next call could exceed the cap set for this search    "
 ├─ RequestRefused    the request itself was rejected (too long, malformed)     nothing was billed
 ├─ AnswerRefused     the model declined                                        billed, see ``answer``
 │   ├─ NoText        the answer has no text: all of it is reasoning            "
 │   └─ SameWords     a request to correct them got the same words, no answer   ", and no further call can succeed
 └─ Unavailable       the service could not answer                              a retry may succeed
     ├─ Overloaded    rate limited, overloaded, a server error, unreachable     nothing was billed
     ├─ Stopped       the search was stopped before the call was sent           "
     └─ Interrupted   timed out or cut off                                      perhaps billed: counted at max_cost
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from operators.llm.prices import Price
from operators.llm.text import encodable, one_name


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str
    stable: str = ""
    """Text before ``text`` that is the same for several prompts of a search, so that providers can cache it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", encodable(self.text))
        object.__setattr__(self, "stable", encodable(self.stable))

    @property
    def whole(self) -> str:
        return f"{self.stable}\n\n{self.text}" if self.stable else self.text


LONGEST_REPEATED = 64_000
"""Characters of an answer that are sent back to its model in a repair turn: more is not worth its cost."""


@dataclass(frozen=True)
class Prompt:
    """A conversation; ``messages`` end with the user's.

    Providers cache beginnings, so constant parts come first: ``system`` is the same for a whole search,
    ``Message.stable`` for several of its prompts.
    """

    system: str
    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "system", encodable(self.system))

    def followed_by(self, answer: str, request: str) -> Prompt:
        """Return the conversation with one more answer and the next request."""
        if len(answer) > LONGEST_REPEATED:
            half = LONGEST_REPEATED // 2
            answer = f"{answer[:half]}\n[... {len(answer) - 2 * half:,} characters left out ...]\n{answer[-half:]}"
        # The API rejects an empty turn.
        turns = Message("assistant", answer if answer.strip() else "(empty answer)"), Message("user", request)
        return Prompt(self.system, (*self.messages, *turns))

    @property
    def text(self) -> str:
        """The whole conversation as readable text, which the archive keeps."""
        return "\n\n".join([f"[system]\n{self.system}", *(f"[{m.role}]\n{m.whole}" for m in self.messages)])


@dataclass(frozen=True)
class CallId:
    """Identity of a call: turn ``turn`` (from 0) of a move of a run."""

    run: str
    move: int
    turn: int
    operator: str
    aim: str | None = None
    """Name of the requested kind of change, if any."""
    template: str = ""
    """Text of the templates that the prompt was made from."""


@dataclass(frozen=True)
class Answer:
    """An answer and its cost. Tokens are None if the server did not report them."""

    text: str
    model: str
    """Name reported by the server."""
    tokens_in: int | None
    """All input tokens, cached ones included."""
    tokens_out: int | None
    tokens_cached: int | None
    """Part of ``tokens_in`` that was read from the provider's cache."""
    seconds: float
    dollars: float | None
    """None if the price or the tokens are unknown."""
    cut_off: bool = False
    """Whether the answer ended at the token limit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", encodable(self.text))
        object.__setattr__(self, "model", one_name(encodable(self.model)))


@dataclass(frozen=True)
class Cost:
    """Tokens and dollars; ``dollars`` is None if the price is unknown."""

    tokens: int
    dollars: float | None


class LanguageModel(Protocol):
    """Answers prompts. Called from several threads at once."""

    name: str
    price: Price | None
    """None if unknown."""
    attempts: int
    """How often the meter may send a call, in all, while the service is ``Unavailable``."""

    def complete(self, prompt: Prompt) -> Answer:
        """Send a prompt once and return the answer; may take minutes. Raises ``LlmError``."""
        ...

    def max_cost(self, prompt: Prompt) -> Cost:
        """Return an upper bound of the cost of sending ``prompt`` once."""
        ...

    def check(self) -> str | None:
        """Raise ``LlmError`` if no call could succeed; return a warning if only a call can tell. Free of cost."""
        ...


@runtime_checkable
class Observable(Protocol):
    """A language model that reports which calls are being answered, for a stop that waits for these alone."""

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        ...


def answering(model: object) -> int:
    """Count the calls of a model whose answer is arriving; 0 if it does not report them."""
    return model.answering() if isinstance(model, Observable) else 0


class LlmError(Exception):
    """A call without a usable answer; the message is for people and contains no secret."""

    fatal = False
    """Whether no further call can succeed."""
    settled = False
    """Whether the same request would fail in the same way: twice in a row, it is not sent again."""
    by_prompt = False
    """Whether another call may fare better, so that a model that has answered is given more tries."""
    cause = ""
    """Status and codes of the failure as the service or program reports them; two failures of one class and cause are
    equal, whatever their words are."""

    def __init__(self, message: str) -> None:
        super().__init__(encodable(message))


class KeyRefused(LlmError):
    fatal = True


class QuotaExhausted(LlmError):
    fatal = True


class UnknownModel(LlmError):
    fatal = True


class InvalidSetting(LlmError):
    fatal = True


class RefusedAgain(LlmError):
    fatal = True


@dataclass(frozen=True)
class Cap:
    """A limit on what a run may spend on language models."""

    kind: Literal["tokens", "dollars"]
    limit: float


class BudgetSpent(LlmError):
    """The cap would be exceeded; ``fatal`` once no call of the usual size fits, even when those in flight end."""

    def __init__(self, message: str, fatal: bool = False, cap: Cap | None = None) -> None:
        super().__init__(message)
        self.fatal = fatal
        self.cap = cap


class RequestRefused(LlmError):
    """The service rejects the request: for its settings, or, from a model that has answered, for its prompt."""

    settled = by_prompt = True


class AnswerRefused(LlmError):
    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class NoText(AnswerRefused):
    settled = by_prompt = True


class SameWords(AnswerRefused):
    fatal = True


class Unavailable(LlmError):
    """The service could not answer; ``retry_after``: seconds to wait, if the service said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    pass


class Stopped(Unavailable):
    pass


class Interrupted(Unavailable):
    """The answer did not come to its end; ``unreadable``: what came is no answer of this API."""

    def __init__(self, message: str, retry_after: float | None = None, unreadable: bool = False) -> None:
        super().__init__(message, retry_after)
        self.settled = self.by_prompt = unreadable
