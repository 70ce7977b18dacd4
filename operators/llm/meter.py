"""The meter: every call goes through it, is recorded, and cannot exceed the caps, calls in flight included.

Before a call its worst case is reserved (every token of the prompt and the longest answer); a call that does not
fit is not made. An answer that was paid for in an earlier session of the same run is replayed, so that a resumed
search never pays twice. Where a price is unknown the cap on dollars cannot be kept: then the cap on tokens holds,
and ``describe`` says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from archive.records import LlmCall, Spending
from operators.llm.base import (
    Answer,
    AnswerRefused,
    BudgetSpent,
    Cost,
    Interrupted,
    LanguageModel,
    LlmError,
    Prompt,
)


@dataclass(frozen=True)
class Ticket:
    """Which call this is: the ``turn``-th of a move, counted from 0."""

    run: str
    move: int
    turn: int
    operator: str
    aim: str | None = None
    """The kind of change that is asked for, if any."""
    template: str = ""
    """The text of the templates behind the prompt."""


Record = Callable[[LlmCall], None]
Lookup = Callable[[str, int, int], LlmCall | None]
"""(run, move, turn) -> the answer that was paid for, if any."""


DEFAULT_PROMPT_TOKENS = 30_000
"""What a model is shown for one proposal, at most, as ``operators.budget`` estimates it."""
DEFAULT_CONCURRENCY = 16
"""Calls in flight at once, at most: two slots of 15 s that live on answers of a minute want 13."""


def never_paid(run: str, move: int, turn: int) -> LlmCall | None:
    """The lookup of a run that starts afresh."""
    return None


class Meter:
    """A model with caps. ``record`` and ``lookup`` are called from the threads that call ``complete``."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_dollars: float,
        max_tokens: int,
        record: Record,
        lookup: Lookup = never_paid,
        spent: Spending = Spending(),  # noqa: B008 (frozen)
        clock: Callable[[], float] = time.time,
        concurrency: int = DEFAULT_CONCURRENCY,
        prompt_tokens: int = DEFAULT_PROMPT_TOKENS,
    ) -> None:
        """``spent``: what the run has spent before it was resumed; it counts against the caps.

        ``concurrency``: calls that may be in flight at once; ``prompt_tokens``: the length of a prompt, at most.
        Whoever calls keeps to them. Raises ValueError for less than 1 call or less than 1,000 tokens.
        """
        if concurrency < 1:
            raise ValueError(f"llm.concurrency is {concurrency}; expected at least 1 call in flight")
        if prompt_tokens < 1000:
            raise ValueError(f"llm.prompt_tokens is {prompt_tokens}; expected at least 1000 to show a program in")
        self.prompt_tokens = prompt_tokens
        self.model = model
        self.concurrency = concurrency
        self.max_dollars = max_dollars
        self.max_tokens = max_tokens
        self._record = record
        self._lookup = lookup
        self._clock = clock
        self._lock = threading.Lock()
        self._spent = spent
        self._reserved = Cost(0, 0.0)
        self._largest = model.worst(Prompt("", ()))
        self._closed: str | None = None
        self._priced = self._largest.dollars is not None

    @property
    def closed(self) -> str | None:
        """Why no further call can succeed, or None."""
        return self._closed

    @property
    def priced(self) -> bool:
        """Whether the price is known, so that the cap on dollars can be kept."""
        return self._priced

    @property
    def spending(self) -> Spending:
        return self._spent

    def describe(self) -> str:
        """The model and the caps in force, in one line for a person."""
        if self._priced:
            return f"{self.model.name}, at most ${self.max_dollars:.2f} and {self.max_tokens:,} tokens"
        return (
            f"{self.model.name}, whose price is unknown: the cap of ${self.max_dollars:.2f} cannot be kept, "
            f"at most {self.max_tokens:,} tokens instead"
        )

    def paid(self, run: str, move: int) -> LlmCall | None:
        """The first call of a move that was answered in an earlier session of the run: ``complete`` would replay it."""
        return self._lookup(run, move, 0)

    def complete(self, prompt: Prompt, ticket: Ticket) -> Answer:
        """The model's answer, or the recorded one of the same ticket. Raises ``LlmError``."""
        paid = self._lookup(ticket.run, ticket.move, ticket.turn)
        if paid is not None and paid.outcome == "refused":
            raise AnswerRefused(paid.reason, _replayed(paid))
        if paid is not None and paid.outcome == "answered":
            return _replayed(paid)
        worst = self.model.worst(prompt)
        self._reserve(worst)
        cost = Cost(self.model.attempts * worst.tokens, _times(worst.dollars, self.model.attempts))
        started = self._clock()
        try:
            answer = self.model.complete(prompt)
            cost = _cost(answer)
        except LlmError as error:
            cost = self._cost_of(error, cost)
            self._settle(worst, cost)
            self._note(prompt, ticket, error, started)
            raise
        except BaseException:
            self._settle(worst, cost)  # nobody knows what happened: the worst did
            raise
        self._settle(worst, cost)
        self._record(_call(prompt, ticket, answer, "answered", "", self._clock()))
        return answer

    def room(self, in_flight: int) -> bool:
        """Whether the caps let one more call be made beside ``in_flight`` others, each as large as any so far.

        Ask before a call is prepared: one that is made regardless fails with BudgetSpent until another has come back.
        """
        with self._lock:
            each = self._largest
            others = Cost(in_flight * each.tokens, _times(each.dollars, in_flight))
            return in_flight == 0 or self._excess(each, others) is None

    def _reserve(self, worst: Cost) -> None:
        with self._lock:
            self._largest = Cost(max(self._largest.tokens, worst.tokens), _largest(self._largest, worst))
            if self._closed is not None:
                raise BudgetSpent(self._closed)
            alone = self._excess(worst, Cost(0, 0.0))
            if alone is not None:
                self._closed = alone
                raise BudgetSpent(alone)
            if (excess := self._excess(worst, self._reserved)) is not None:
                raise BudgetSpent(f"{excess}, calls in flight counted")
            self._reserved = Cost(self._reserved.tokens + worst.tokens, _plus(self._reserved.dollars, worst.dollars))

    def _excess(self, worst: Cost, reserved: Cost) -> str | None:
        """Why another call does not fit beside what is spent and reserved, or None."""
        if self._spent.tokens + reserved.tokens + worst.tokens > self.max_tokens:
            return (
                f"the cap of {self.max_tokens:,} tokens: {self._spent.tokens:,} spent, a call may take {worst.tokens:,}"
            )
        if worst.dollars is None:
            return None
        if self._spent.dollars + (reserved.dollars or 0.0) + worst.dollars > self.max_dollars:
            return (
                f"the cap of ${self.max_dollars:.2f}: ${self._spent.dollars:.4f} spent, "
                f"a call may cost ${worst.dollars:.4f}; raise llm.max_dollars to go on"
            )
        return None

    def _settle(self, worst: Cost, cost: Cost) -> None:
        with self._lock:
            reserved = self._reserved
            self._reserved = Cost(reserved.tokens - worst.tokens, _plus(reserved.dollars, _times(worst.dollars, -1)))
            self._spent = replace(
                self._spent,
                calls=self._spent.calls + 1,
                tokens=self._spent.tokens + cost.tokens,
                dollars=self._spent.dollars + (cost.dollars or 0.0),
                unpriced=self._spent.unpriced + (cost.dollars is None),
            )

    def _cost_of(self, error: LlmError, worst: Cost) -> Cost:
        if error.fatal:
            self._closed = str(error)
        if isinstance(error, AnswerRefused) and error.answer is not None:
            return _cost(error.answer)
        return worst if isinstance(error, Interrupted) else Cost(0, 0.0)

    def _note(self, prompt: Prompt, ticket: Ticket, error: LlmError, started: float) -> None:
        answer = getattr(error, "answer", None)
        outcome = "refused" if isinstance(error, AnswerRefused) else "failed"
        if answer is None:
            # Interrupted: perhaps billed, so unknown. The others: certainly not.
            dollars = None if isinstance(error, Interrupted) else 0.0
            answer = Answer("", self.model.name, 0, 0, 0, self._clock() - started, dollars)
        self._record(_call(prompt, ticket, answer, outcome, f"{type(error).__name__}: {error}", self._clock()))


def _call(prompt: Prompt, ticket: Ticket, answer: Answer, outcome: str, reason: str, at: float) -> LlmCall:
    return LlmCall(
        run=ticket.run,
        move=ticket.move,
        turn=ticket.turn,
        operator=ticket.operator,
        model=answer.model,
        outcome="answered" if outcome == "answered" else "refused" if outcome == "refused" else "failed",
        prompt=prompt.text,
        answer=answer.text,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        tokens_cached=answer.tokens_cached,
        seconds=answer.seconds,
        dollars=answer.dollars,
        at=at,
        reason=reason,
        aim=ticket.aim,
        template=ticket.template,
    )


def _replayed(call: LlmCall) -> Answer:
    return Answer(
        call.answer, call.model, call.tokens_in, call.tokens_out, call.tokens_cached, call.seconds, call.dollars
    )


def _cost(answer: Answer) -> Cost:
    return Cost(answer.tokens_in + answer.tokens_out, answer.dollars)


def _plus(a: float | None, b: float | None) -> float:
    return (a or 0.0) + (b or 0.0)


def _largest(a: Cost, b: Cost) -> float | None:
    return None if a.dollars is None or b.dollars is None else max(a.dollars, b.dollars)


def _times(dollars: float | None, factor: int) -> float | None:
    return None if dollars is None else dollars * factor
