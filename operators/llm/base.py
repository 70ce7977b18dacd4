"""What a language model is to the operators: a prompt goes in, an answer or an ``LlmError`` comes out.

LlmError
 ├─ KeyRefused        the key is missing, wrong, or may not use this model      no further call can succeed
 ├─ QuotaExhausted    the account has no credit left                            "
 ├─ UnknownModel      there is no model of that name                            "
 ├─ BudgetSpent       the next call could exceed the cap set for this search    "
 ├─ RequestRefused    the request itself was rejected (too long, malformed)     nothing was billed
 ├─ AnswerRefused     the model declined; it was billed, see ``answer``
 └─ Unavailable       the service could not answer, retries included
     ├─ Overloaded    rate limited, overloaded, or a server error               nothing was billed
     └─ Interrupted   timed out or cut off: the provider may have billed it     the meter assumes the worst
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    text: str
    stable: str = ""
    """What comes before ``text`` and is the same for several prompts of a search, so that providers can cache it."""

    @property
    def whole(self) -> str:
        return f"{self.stable}\n\n{self.text}" if self.stable else self.text


@dataclass(frozen=True)
class Prompt:
    """``messages`` end with the user's.

    What is the same comes first, since providers cache beginnings: ``system`` for a whole search, then
    ``Message.stable`` for several prompts of it, then what is new.
    """

    system: str
    messages: tuple[Message, ...]

    def followed_by(self, answer: str, request: str) -> Prompt:
        """The conversation with one more answer, and what is asked next."""
        # The API rejects an empty turn.
        turns = Message("assistant", answer if answer.strip() else "(empty answer)"), Message("user", request)
        return Prompt(self.system, (*self.messages, *turns))

    @property
    def text(self) -> str:
        """All of it, as a person would read it; this is what the archive keeps."""
        return "\n\n".join([f"[system]\n{self.system}", *(f"[{m.role}]\n{m.whole}" for m in self.messages)])


@dataclass(frozen=True)
class Answer:
    """What came back, and what it cost."""

    text: str
    model: str
    tokens_in: int
    """All input tokens, cached ones included."""
    tokens_out: int
    tokens_cached: int
    """Of ``tokens_in``, those read from the provider's cache."""
    seconds: float
    dollars: float | None
    """None where the price is unknown."""
    cut_off: bool = False
    """The answer ended at the limit of tokens, not where the model wanted to end it."""


@dataclass(frozen=True)
class Cost:
    """An amount of tokens and money; ``dollars`` is None where the price is unknown."""

    tokens: int
    dollars: float | None


class LanguageModel(Protocol):
    """Something that answers prompts. Called from several threads at once."""

    name: str
    attempts: int
    """How often a call that is cut off may have been sent, retries included."""

    def complete(self, prompt: Prompt) -> Answer:
        """May take minutes. Raises ``LlmError``."""
        ...

    def worst(self, prompt: Prompt) -> Cost:
        """An upper bound of what one sending of ``prompt`` can cost."""
        ...

    def check(self) -> None:
        """Find out for free whether a call could succeed. Raises ``LlmError`` if not."""
        ...


class LlmError(Exception):
    """A call that gave no usable answer; the message is for a person, and carries no secret."""

    fatal = False
    """Whether no further call can succeed either."""


class KeyRefused(LlmError):
    fatal = True


class QuotaExhausted(LlmError):
    fatal = True


class UnknownModel(LlmError):
    fatal = True


class BudgetSpent(LlmError):
    """``fatal`` once no call in flight can give anything back."""


class RequestRefused(LlmError):
    pass


class AnswerRefused(LlmError):
    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class Unavailable(LlmError):
    pass


class Overloaded(Unavailable):
    pass


class Interrupted(Unavailable):
    pass
