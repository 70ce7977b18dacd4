"""The language model of a task's candidates, as the driver lends it and as a scorer hands it on.

candidate, in its sandbox   llm(prompt)                 no key, no network
scorer process              CountedModel: the limits of an item and of the candidate; the scripted model
driver                      ModelSession: the search's own model, its caps and records
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prepare.model_limits import LlmService, ModelLimits, ModelUse
from prepare.scorer import Ending

if TYPE_CHECKING:  # it imports numpy, which most scorers do not need
    from archive.records import Request

CHARACTERS_PER_TOKEN = 4
"""Of the estimate for a prompt before it is sent, and for a scripted model, which reports no tokens."""


@dataclass(frozen=True)
class ModelReply:
    """An answer and its cost. ``refused``: why there is none, if the request itself is the reason."""

    text: str
    tokens: int
    seconds: float = 0.0
    dollars: float | None = 0.0
    refused: str = ""


class ModelUnavailable(Exception):
    """The model cannot be asked now, for a reason that is not the candidate's; the evaluation is lost and repeated."""


class ModelSession(Protocol):
    """Answers the prompts of one evaluation. Raises ModelUnavailable."""

    def __call__(self, prompt: str, system: str) -> ModelReply: ...


class ModelService(Protocol):
    """What the driver lends to the candidates of a task."""

    name: str
    """Of the model; scores of different models are not comparable."""

    def session(self, request: Request) -> ModelSession:
        """Return what answers for one evaluation."""
        ...


class ModelRefused(Exception):
    """A call that is not made: the candidate's ``llm`` raises a RuntimeError with this message."""


Scripted = Callable[[str, random.Random], str]
"""A model with stated rules: (prompt, source of its errors) -> answer."""


class CountedModel:
    """The model as a scorer hands it to a candidate: counted for each item and for the whole evaluation."""

    def __init__(self, limits: LlmService, asks: Callable[[str], ModelSession]) -> None:
        """``asks``: what answers for an item, by its name."""
        self._limits = limits
        self._asks = asks
        self._ask = asks("")
        self.item = ModelUse()
        self.total = ModelUse()
        self.ended: Ending | None = None
        """The error of the item, once a limit has refused a call."""

    def begin_item(self, name: str) -> None:
        self.item, self.ended, self._ask = ModelUse(), None, self._asks(name)

    def __call__(self, prompt: str, system: str = "") -> str:
        """Return the model's answer. Raises ModelRefused over a limit, and if the model refuses the request."""
        prompt, system = str(prompt), str(system)
        if not prompt.strip():
            raise ModelRefused("llm: the prompt is empty; expected a text")
        tokens = tokens_of(prompt) + tokens_of(system)
        self._require(self._limits.item, self.item, tokens, "one item")
        self._require(self._limits.candidate, self.total, tokens, "one evaluation")
        reply = self._ask(prompt, system)
        cost = reply.tokens, reply.seconds, reply.dollars
        self.item, self.total = self.item.plus(*cost), self.total.plus(*cost)
        if reply.refused:
            raise ModelRefused(f"llm: {reply.refused}")
        return reply.text

    def metrics(self) -> dict[str, float]:
        """Return what the item has used: calls, tokens, and dollars where the price is known."""
        used = {"calls": float(self.item.calls), "tokens": float(self.item.tokens)}
        return used if self.item.dollars is None else {**used, "dollars": self.item.dollars}

    def _require(self, limits: ModelLimits, used: ModelUse, tokens: int, of: str) -> None:
        if (limit := limits.exceeded(used, tokens)) is not None:
            self.ended = "time" if limit == "seconds" else "budget"
            most = f"{limit} {getattr(limits, limit):,g}"
            raise ModelRefused(f"llm: the limit of {most} for {of} is reached; ask less, or with shorter prompts")


class ScriptedSession:
    """Answers of a scripted model. The same prompt gets other errors each time, and the same in another session."""

    def __init__(self, answer: Scripted, key: str) -> None:
        """``key``: of the evaluation and its case: the seed of all errors."""
        self._answer = answer
        self._key = key
        self._times: dict[str, int] = {}

    def __call__(self, prompt: str, system: str) -> ModelReply:
        whole = f"{system}\n\n{prompt}" if system else prompt
        time = self._times[whole] = self._times.get(whole, 0) + 1
        digest = hashlib.sha256(f"{self._key}/{time}/{whole}".encode("utf-8", "surrogatepass")).digest()
        text = str(self._answer(whole, random.Random(digest)))
        return ModelReply(text, tokens_of(whole) + tokens_of(text))


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)
