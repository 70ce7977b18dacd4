"""A scripted model, for tests, demonstrations, and measurements of the cost of latency.

Scripted(["IDEA: double the rate ..."])       answers in order
Scripted(lambda prompt: "IDEA: ...")          answers that depend on the prompt
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from operators.llm.base import Answer, Cost, LlmError, Prompt
from operators.llm.prices import price_of

Script = Sequence[str | LlmError] | Callable[[Prompt], str]


class ScriptEnded(LlmError):
    fatal = True


class Scripted:
    """Answers from a list (an ``LlmError`` in it is raised) or a function. Keeps its prompts."""

    attempts = 1

    def __init__(
        self,
        answers: Script = (),
        *,
        model: str = "scripted",
        max_tokens: int = 4096,
        latency: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``latency``: seconds before each answer, spent in ``sleep``. ``model``: name, which determines the price."""
        self.name = model
        self.price = price_of(model)
        self.max_tokens = max_tokens
        self.prompts: list[Prompt] = []
        self._answers = answers if callable(answers) else None
        self._rest: Iterator[str | LlmError] = iter(()) if callable(answers) else iter(list(answers))
        self._latency = latency
        self._sleep = sleep
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Answer:
        """Return the next answer. Raises ``ScriptEnded`` at the end of the list."""
        with self._lock:
            self.prompts.append(prompt)
            answer = self._answers(prompt) if self._answers else next(self._rest, None)
        self._sleep(self._latency)
        if answer is None:
            raise ScriptEnded(f"the script has no answer number {len(self.prompts)}")
        if isinstance(answer, LlmError):
            raise answer
        tokens_in, tokens_out = _tokens(prompt.text), _tokens(answer)
        dollars = None if self.price is None else self.price.dollars(fresh=tokens_in, out=tokens_out)
        return Answer(answer, self.name, tokens_in, tokens_out, 0, self._latency, dollars)

    def max_cost(self, prompt: Prompt) -> Cost:
        tokens_in = _tokens(prompt.text)
        dollars = None if self.price is None else self.price.at_most(tokens_in, self.max_tokens)
        return Cost(tokens_in + self.max_tokens, dollars)

    def check(self) -> str | None:
        """Return None: a script is always available."""
        return None


def _tokens(text: str) -> int:
    return 1 + len(text) // 4
