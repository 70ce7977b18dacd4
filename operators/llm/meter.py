"""The meter: every call goes through it, is recorded, and cannot exceed the caps, calls in flight included.

Before a call its worst case is reserved (every token of the prompt and the longest answer) and written down; a call
that does not fit is not made. A process that is killed leaves that line behind, so that what was in flight counts
against the caps of the resumed run. An answer that was paid for in an earlier session is replayed, so that a resumed
search never pays twice. Where a price is unknown the cap on dollars cannot be kept: then the cap on tokens holds,
and ``describe`` says so.

A call whose service is unavailable is sent again, at most ``LanguageModel.attempts`` times in all, after the pause
that the service asked for or one that doubles each time; a pause of more than ``LONGEST_PAUSE`` is left to the
search, which goes on with what else it can do. Each sending is reserved, recorded and counted by itself.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from archive.records import LlmCall, LlmRequest, Spending, sha256
from operators.llm.base import (
    Answer,
    AnswerRefused,
    BudgetSpent,
    CallId,
    Cap,
    Cost,
    Interrupted,
    LanguageModel,
    LlmError,
    Message,
    Prompt,
    Unavailable,
)
from operators.llm.caps import Caps
from operators.llm.prices import Price
from operators.llm.secrets import Secrets
from operators.llm.several import ModelRouter

__all__ = ["CallId", "Lookup", "Meter", "Record", "Requested", "Spending", "never_paid"]

Record = Callable[[LlmCall], None]
Requested = Callable[[LlmRequest], None]
Lookup = Callable[[str, int, int], LlmCall | None]
"""(run, move, turn) -> the answer that was paid for, if any."""
Outcome = Literal["answered", "refused", "failed"]
"""Of a sending; see ``LlmCall``."""

DEFAULT_PROMPT_TOKENS = 30_000
"""What a model is shown for one proposal, at most, as ``operators.rewrite.prompt.truncation`` estimates it."""
DEFAULT_CONCURRENCY = 16
"""Calls in flight at once, at most: two slots of 15 s that live on answers of a minute want 13."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds before a call is sent again: at first, and at most."""

_CUT_OFF = "cut off at the limit of tokens"


def never_paid(run: str, move: int, turn: int) -> LlmCall | None:
    """The lookup of a run that starts afresh."""
    return None


def not_written(request: LlmRequest) -> None:
    """What is sent is not written down before it is sent: for a run that nobody resumes."""


class Meter:
    """A model, or several, with caps. ``record``, ``requested`` and ``lookup`` are called from the calling threads."""

    def __init__(
        self,
        model: LanguageModel | ModelRouter,
        *,
        max_dollars: float,
        max_tokens: int,
        record: Record,
        requested: Requested = not_written,
        lookup: Lookup = never_paid,
        spent: Spending = Spending(),  # noqa: B008 (frozen)
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        names: Callable[[], str] = lambda: secrets.token_hex(8),
        hidden: Secrets = Secrets(),  # noqa: B008 (frozen)
        concurrency: int = DEFAULT_CONCURRENCY,
        prompt_tokens: int = DEFAULT_PROMPT_TOKENS,
    ) -> None:
        """``spent``: what the run has spent before it was resumed; it counts against the caps.

        ``requested`` is told of each call before it is sent, ``record`` when it is over; ``names`` gives what joins the
        two, unique in all archives. ``hidden``: what no prompt, answer or error may hold. ``concurrency``: calls that
        may be in flight at once; ``prompt_tokens``: the length of a prompt, at most. Whoever calls keeps to them.
        Raises ValueError for less than 1 call or less than 1,000 tokens.
        """
        if concurrency < 1:
            raise ValueError(f"llm.concurrency is {concurrency}; expected at least 1 call in flight")
        if prompt_tokens < 1000:
            raise ValueError(f"llm.prompt_tokens is {prompt_tokens}; expected at least 1000 to show a program in")
        self.prompt_tokens = prompt_tokens
        self.model = model
        self.concurrency = concurrency
        self._record = record
        self._requested = requested
        self._lookup = lookup
        self._clock = clock
        self._sleep = sleep
        self._names = names
        self._hidden = hidden
        usual = model.worst(Prompt("", ()))
        self._caps = Caps(max_dollars, max_tokens, spent, usual)
        self._priced = usual.dollars is not None

    @property
    def max_dollars(self) -> float:
        return self._caps.max_dollars

    @property
    def max_tokens(self) -> int:
        return self._caps.max_tokens

    @property
    def closed(self) -> str | None:
        """Why no further call can succeed, or None."""
        return self._caps.closed

    @property
    def closing_cap(self) -> Cap | None:
        """The cap that the next call would exceed, if that is why no call can be made."""
        return self._caps.closing_cap

    @property
    def priced(self) -> bool:
        """Whether the price is known, so that the cap on dollars can be kept."""
        return self._priced

    @property
    def price(self) -> Price | None:
        """Of the one model that there is; None where it is unknown, and for several."""
        return None if isinstance(self.model, ModelRouter) else self.model.price

    @property
    def spending(self) -> Spending:
        """What was spent so far: as far as it is known, and what counts against the caps."""
        return self._caps.spent

    @property
    def held(self) -> Cost:
        """What is reserved for calls in flight, at the most that they can cost."""
        return self._caps.held

    def describe(self) -> str:
        """The model and the caps in force, in one line for a person."""
        if self._priced:
            return f"{self.model.name}, at most ${self.max_dollars:.2f} and {self.max_tokens:,} tokens"
        return (
            f"{self.model.name}, whose price is unknown: the cap of ${self.max_dollars:.2f} cannot be kept, "
            f"at most {self.max_tokens:,} tokens instead"
        )

    def check(self) -> None:
        """Find out for free whether a call could succeed; again if the service is busy. Raises LlmError."""
        for attempt in range(1, self.model.attempts + 1):
            try:
                return self.model.check()
            except LlmError as error:
                after = error.retry_after if isinstance(error, Unavailable) else None
                pause = pause_before_next(attempt, self.model.attempts, after, "check")
                if pause is None or not isinstance(error, Unavailable):
                    raise self._without_secrets(error) from None
                self._sleep(pause)

    def paid(self, run: str, move: int) -> LlmCall | None:
        """The first call of a move that was answered in an earlier session of the run: ``complete`` would replay it."""
        return self._lookup(run, move, 0)

    def complete(self, prompt: Prompt, ticket: CallId) -> Answer:
        """The model's answer, or the recorded one of the same ticket. May take minutes. Raises ``LlmError``."""
        paid = self._lookup(ticket.run, ticket.move, ticket.turn)
        if paid is not None and paid.outcome == "refused":
            raise AnswerRefused(paid.reason, _replayed(paid))
        if paid is not None and paid.outcome == "answered":
            return _replayed(paid)
        prompt = self._cleaned(prompt)
        while True:
            asked, model = (
                self.model.pick(ticket) if isinstance(self.model, ModelRouter) else (self.model.name, self.model)
            )
            try:
                return self._patiently(asked, model, prompt, ticket)
            except LlmError as error:
                if not error.fatal or self._close(asked, error):
                    raise
                # Another of several models is asked instead.

    def _patiently(self, asked: str, model: LanguageModel, prompt: Prompt, ticket: CallId) -> Answer:
        """Send it, and again where the service is unavailable."""
        for attempt in range(1, model.attempts + 1):
            try:
                return self._once(asked, model, prompt, ticket)
            except Unavailable as error:
                pause = pause_before_next(attempt, model.attempts, error.retry_after, f"{ticket.run}/{ticket.move}")
                if pause is None:
                    raise
                self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def room(self, in_flight: int) -> bool:
        """Whether the caps let one more call be made beside ``in_flight`` others, each as large as any so far.

        Ask before a call is prepared: one that is made regardless fails with BudgetSpent until another has come back.
        """
        return self._caps.room(in_flight)

    def _once(self, asked: str, model: LanguageModel, prompt: Prompt, ticket: CallId) -> Answer:
        """Send it once: reserved and written down before, settled and recorded after, whatever comes of it."""
        worst = model.worst(prompt)
        self._caps.reserve(worst, asked)
        started, name = self._clock(), self._names()
        call = LlmCall(
            run=ticket.run,
            move=ticket.move,
            turn=ticket.turn,
            operator=ticket.operator,
            model=model.name,
            outcome="failed",
            prompt=prompt.text,
            answer="",
            tokens_in=0,
            tokens_out=0,
            tokens_cached=0,
            seconds=0.0,
            dollars=0.0,
            at=started,
            aim=ticket.aim,
            template=ticket.template,
            request=name,
            asked=asked,
        )
        lost = Answer("", model.name, None, None, None, 0.0, None)
        sent = (ticket.run, ticket.move, ticket.turn, ticket.operator, asked, worst.tokens, worst.dollars, started)
        try:
            self._requested(LlmRequest(name, *sent))
            answer = self._clean(model.complete(prompt))
        except LlmError as error:
            error = self._without_secrets(error)
            answer = _known(error, model.name, self._clock() - started)
            charged = self._settle(worst, answer)
            refused = isinstance(error, AnswerRefused)
            self._finish(call, answer, charged, "refused" if refused else "failed", f"{type(error).__name__}: {error}")
            raise error from None
        except BaseException:
            self._settle(worst, lost)  # nobody knows what happened: the worst did
            raise
        self._finish(call, answer, self._settle(worst, answer), "answered", _CUT_OFF if answer.cut_off else "")
        return answer

    def _settle(self, worst: Cost, answer: Answer) -> Cost:
        charged = charged_for(answer, worst)
        self._caps.settle(worst, answer, charged)
        return charged

    def _finish(self, call: LlmCall, answer: Answer, charged: Cost, outcome: Outcome, reason: str) -> None:
        self._record(
            replace(
                call,
                model=answer.model,
                outcome=outcome,
                reason=reason,
                answer=answer.text,
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                tokens_cached=answer.tokens_cached,
                seconds=answer.seconds,
                dollars=answer.dollars,
                at=self._clock(),
                charged_tokens=charged.tokens,
                charged_dollars=charged.dollars,
                cut_off=answer.cut_off and outcome == "answered",
            )
        )

    def _close(self, asked: str, error: LlmError) -> bool:
        """No call to that model can succeed any more. Returns whether that was the last one that could be asked."""
        if isinstance(self.model, ModelRouter) and self.model.close(asked, str(error)):
            return False
        self._caps.close(str(error), error.cap if isinstance(error, BudgetSpent) else None)
        return True

    # ------------------------------------------------------------ secrets

    def _cleaned(self, prompt: Prompt) -> Prompt:
        hide = self._hidden.hide
        messages = (Message(turn.role, hide(turn.text), hide(turn.stable)) for turn in prompt.messages)
        return Prompt(hide(prompt.system), tuple(messages))

    def _clean(self, answer: Answer) -> Answer:
        return replace(answer, text=self._hidden.hide(answer.text), model=self._hidden.hide(answer.model))

    def _without_secrets(self, error: LlmError) -> LlmError:
        """The same error; what it says has no key in it, whatever the service or the SDK has quoted."""
        error.args = (self._hidden.hide(str(error)),)
        if isinstance(error, AnswerRefused) and error.answer is not None:
            error.answer = self._clean(error.answer)
        return error


def pause_before_next(attempt: int, attempts: int, retry_after: float | None, seed: str) -> float | None:
    """Seconds to wait before attempt number ``attempt + 1`` of ``attempts``; None where it is not to be made.

    ``retry_after``, if the service said so, and else half a second that doubles each time, within 25% of it by chance
    (drawn from ``seed``), so that calls that failed together do not come back together.
    """
    if attempt >= attempts:
        return None
    if retry_after is not None:
        return retry_after if retry_after <= LONGEST_PAUSE else None
    chance = int(sha256(f"pause/{seed}/{attempt}")[:8], 16) / 2**32
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16)) * (0.75 + 0.5 * chance)


def charged_for(answer: Answer, worst: Cost) -> Cost:
    """What a call counts against the caps: what it is known to have cost, and the worst case for what is not known."""
    known = answer.tokens_in is not None and answer.tokens_out is not None
    tokens = (answer.tokens_in or 0) + (answer.tokens_out or 0) if known else worst.tokens
    return Cost(tokens, answer.dollars if answer.dollars is not None else worst.dollars)


def _known(error: LlmError, model: str, seconds: float) -> Answer:
    """What is known of the cost of a call that failed: all of an answer that declines, none of one that was cut off."""
    if isinstance(error, AnswerRefused) and error.answer is not None:
        return error.answer
    if isinstance(error, Interrupted):
        return Answer("", model, None, None, None, seconds, None)
    return Answer("", model, 0, 0, 0, seconds, 0.0)


def _replayed(call: LlmCall) -> Answer:
    tokens = call.tokens_in, call.tokens_out, call.tokens_cached
    return Answer(call.answer, call.model, *tokens, call.seconds, call.dollars, call.cut_off)
