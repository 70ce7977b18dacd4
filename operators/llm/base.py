"""What a language model is to the operators: a prompt goes in, an answer or an ``LlmError`` comes out.

LlmError
 ├─ KeyRefused        the key is missing, wrong, or may not use this model      no further call can succeed
 ├─ QuotaExhausted    the account has no credit left                            "
 ├─ UnknownModel      there is no model of that name, or nothing at the address "
 ├─ BudgetSpent       the next call could exceed the cap set for this search    "
 ├─ RequestRefused    the request itself was rejected (too long, malformed)     nothing was billed
 ├─ AnswerRefused     the model declined; it was billed, see ``answer``
 └─ Unavailable       the service could not answer; to ask again may help
     ├─ Overloaded    rate limited, overloaded, a server error, out of reach    nothing was billed
     └─ Interrupted   timed out or cut off: the provider may have billed it     the meter assumes the worst
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from operators.llm.prices import Price


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


LONGEST_REPEATED = 64_000
"""Characters of an answer that are sent back to the model that gave it: more would cost more than it is worth."""


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
        if len(answer) > LONGEST_REPEATED:
            half = LONGEST_REPEATED // 2
            answer = f"{answer[:half]}\n[... {len(answer) - 2 * half:,} characters left out ...]\n{answer[-half:]}"
        # The API rejects an empty turn.
        turns = Message("assistant", answer if answer.strip() else "(empty answer)"), Message("user", request)
        return Prompt(self.system, (*self.messages, *turns))

    @property
    def text(self) -> str:
        """All of it, as a person would read it; this is what the archive keeps."""
        return "\n\n".join([f"[system]\n{self.system}", *(f"[{m.role}]\n{m.whole}" for m in self.messages)])


@dataclass(frozen=True)
class CallId:
    """Which call this is: the ``turn``-th of a move, counted from 0."""

    run: str
    move: int
    turn: int
    operator: str
    aim: str | None = None
    """The kind of change that is asked for, if any."""
    template: str = ""
    """The text of the templates behind the prompt."""


@dataclass(frozen=True)
class Answer:
    """What came back, and what it cost. Tokens are None where the server did not say."""

    text: str
    model: str
    """As the server names it."""
    tokens_in: int | None
    """All input tokens, cached ones included."""
    tokens_out: int | None
    tokens_cached: int | None
    """Of ``tokens_in``, those read from the provider's cache."""
    seconds: float
    dollars: float | None
    """None where the price or the tokens are unknown."""
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
    price: Price | None
    """None where it is unknown."""
    attempts: int
    """How often the same call may be sent, in all, while its service is ``Unavailable``; the meter sends it again."""

    def complete(self, prompt: Prompt) -> Answer:
        """Send it once; may take minutes. Raises ``LlmError``."""
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


@dataclass(frozen=True)
class Cap:
    """A limit on what a run may spend on language models."""

    kind: Literal["tokens", "dollars"]
    limit: float


class BudgetSpent(LlmError):
    """``fatal`` once no call of the usual size fits, whatever those in flight give back."""

    def __init__(self, message: str, fatal: bool = False, cap: Cap | None = None) -> None:
        super().__init__(message)
        self.fatal = fatal
        self.cap = cap


class RequestRefused(LlmError):
    pass


class AnswerRefused(LlmError):
    def __init__(self, message: str, answer: Answer | None = None) -> None:
        super().__init__(message)
        self.answer = answer


class Unavailable(LlmError):
    """``retry_after``: the seconds that the service asked to be left alone for, if it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(Unavailable):
    pass


class Interrupted(Unavailable):
    pass
