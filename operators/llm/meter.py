"""Metered language models: every call is recorded and stays within the caps, calls in flight included.

Before a call is sent, its maximum cost (all tokens of the prompt and the longest answer) is reserved and recorded; a
call that does not fit is not sent. If the process is killed, that record stays, so that calls in flight count against
the caps of the resumed run. An answer of an earlier session is replayed, so that a resumed search never pays twice.
Where a price is unknown, the cap on dollars cannot be kept: the cap on tokens holds, and ``describe`` says so.

While a service is unavailable a call is sent again, at most ``LanguageModel.attempts`` times in all, after the pause
that the service asked for or one that doubles each time. A pause of more than ``LONGEST_PAUSE`` is not waited for: the
search makes other proposals. Each sending is reserved, recorded and counted separately.

A request that is refused twice in a row with the same words is not sent a third time: the model is closed, with these
words. After a stop nothing is sent.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace
from typing import Literal

from archive.llm_calls import LlmCall, LlmRequest, Spending
from archive.records import sha256
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
    RefusedAgain,
    Stopped,
    Unavailable,
    answering,
)
from operators.llm.caps import Caps
from operators.llm.prices import Price
from operators.llm.refusals import Refusals
from operators.llm.secrets import Secrets
from operators.llm.several import ModelRouter

__all__ = ["CallId", "Lookup", "Meter", "Record", "Requested", "Spending", "never_paid"]

Record = Callable[[LlmCall], None]
Requested = Callable[[LlmRequest], None]
Lookup = Callable[[str, int, int], LlmCall | None]
"""(run, move, turn) -> the recorded call of an earlier session, if any."""
Adapt = Callable[[LanguageModel], LanguageModel]
Outcome = Literal["answered", "refused", "failed"]
"""Outcome of a sending; see ``LlmCall``."""

DEFAULT_PROMPT_TOKENS = 30_000
"""Maximum tokens of one prompt, as estimated by ``operators.rewrite.prompt.truncation``."""
DEFAULT_CONCURRENCY = 16
"""Maximum calls in flight: two slots of 15 s with answers that take a minute need 13."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
"""Seconds before a call is sent again: the first pause, and the longest."""

_CUT_OFF = "cut off at the limit of tokens"
_STOPPED = "the search was stopped before the call was sent"
_SLICE = 0.1
"""Seconds between checks for a stop during a pause or a free check."""


def _as_it_is(model: LanguageModel) -> LanguageModel:
    """Return the model itself."""
    return model


def never_paid(run: str, move: int, turn: int) -> LlmCall | None:
    """Return None: the lookup of a new run."""
    return None


def not_written(request: LlmRequest) -> None:
    """Do not record requests before they are sent: for a run that is never resumed."""


class Meter:
    """One or several models with caps. The callbacks are called from the calling threads."""

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
        sleep: Callable[[float], None] | None = None,
        stop: threading.Event | None = None,
        names: Callable[[], str] = lambda: secrets.token_hex(8),
        hidden: Secrets = Secrets(),  # noqa: B008 (frozen)
        concurrency: int = DEFAULT_CONCURRENCY,
        prompt_tokens: int = DEFAULT_PROMPT_TOKENS,
    ) -> None:
        """Set up the meter.

        Args:
            max_dollars, max_tokens: Caps of the whole run.
            record: Called when a call is over.
            requested: Called before a call is sent.
            lookup: Finds the recorded call of an earlier session.
            spent: Spending of earlier sessions, which counts against the caps.
            sleep: Replaces the pauses, which end with a stop.
            stop: Set from outside to have nothing sent any more, as ``halt`` does.
            names: Makes ids that join ``requested`` and ``record``, unique in all archives.
            hidden: Secrets that are removed from prompts, answers and errors.
            concurrency, prompt_tokens: Maximum calls in flight and tokens of a prompt, which callers respect.

        Raises:
            ValueError: ``concurrency`` below 1 or ``prompt_tokens`` below 1,000.
        """
        if concurrency < 1:
            raise ValueError(f"llm.concurrency is {concurrency}; expected at least 1 call in flight")
        if prompt_tokens < 1000:
            raise ValueError(f"llm.prompt_tokens is {prompt_tokens}; expected at least 1000, to hold a program")
        self.prompt_tokens = prompt_tokens
        self.model = model
        self.concurrency = concurrency
        self._record = record
        self._requested = requested
        self._lookup = lookup
        self._clock = clock
        self._sleep = sleep
        self._stop = stop or threading.Event()
        self._halted = False
        self._refusals = Refusals()
        self._unchecked = False
        self._names = names
        self._hidden = hidden
        usual = model.max_cost(Prompt("", ()))
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
        """True if the price is known, so that the cap on dollars can be kept."""
        return self._priced

    @property
    def price(self) -> Price | None:
        """Price of a single model; None if unknown, and for several models."""
        return None if isinstance(self.model, ModelRouter) else self.model.price

    @property
    def spending(self) -> Spending:
        """Spending so far: the known part, and what counts against the caps."""
        return self._caps.spent

    @property
    def reserved(self) -> Cost:
        """Maximum cost of the calls in flight."""
        return self._caps.reserved

    def describe(self) -> str:
        """Return the model and its caps as one line."""
        if self._priced:
            return f"{self.model.name}, at most ${self.max_dollars:.2f} and {self.max_tokens:,} tokens"
        return (
            f"{self.model.name}, whose price is unknown: the cap of ${self.max_dollars:.2f} cannot be kept, "
            f"at most {self.max_tokens:,} tokens instead"
        )

    @property
    def halted(self) -> bool:
        """Whether nothing is sent any more, since the search was stopped or is over."""
        return self._halted or self._stop.is_set()

    def halt(self) -> None:
        """Send nothing any more. Calls that have been sent go on."""
        self._halted = True

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        return answering(self.model)

    def check(self) -> str | None:
        """Raise LlmError if no call could succeed; retries while the service is busy. Free of cost.

        Returns a warning if only a call can tell. Until one has been answered, calls are then made one at a time.
        """
        warning = _unless_stopped(self._check, lambda: self.halted)
        self._unchecked = warning is not None
        return None if warning is None else self._hidden.hide(warning)

    def _check(self) -> str | None:
        for attempt in range(1, self.model.attempts + 1):
            try:
                return self.model.check()
            except LlmError as error:
                after = error.retry_after if isinstance(error, Unavailable) else None
                pause = pause_before_next(attempt, self.model.attempts, after, "check")
                if pause is None or not isinstance(error, Unavailable):
                    raise self._without_secrets(error) from None
                self._pause(pause)
        raise AssertionError("the last attempt returns or raises")

    def paid(self, run: str, move: int) -> LlmCall | None:
        """Return the first call of a move from an earlier session of the run, which ``complete`` would replay."""
        return self._lookup(run, move, 0)

    def hide(self, text: str) -> str:
        """Return a text without the keys and passwords that must reach no model."""
        return self._hidden.hide(text)

    def complete(self, prompt: Prompt, call_id: CallId, adapt: Adapt = _as_it_is) -> Answer:
        """Return the model's answer, or the recorded answer of the same call. May take minutes. Raises ``LlmError``.

        ``adapt`` returns what is called in place of the chosen model; it may raise ``LlmError``.
        """
        paid = self._lookup(call_id.run, call_id.move, call_id.turn)
        if paid is not None and paid.outcome == "refused":
            raise AnswerRefused(paid.reason, _replayed(paid))
        if paid is not None and paid.outcome == "answered":
            return _replayed(paid)
        prompt = self._cleaned(prompt)
        while True:
            asked, model = (
                self.model.route(call_id) if isinstance(self.model, ModelRouter) else (self.model.name, self.model)
            )
            try:
                return self._with_retries(asked, adapt(model), prompt, call_id)
            except LlmError as error:
                if not error.fatal or self._close(asked, error):
                    raise
                # Another one of several models is asked instead.

    def _with_retries(self, asked: str, model: LanguageModel, prompt: Prompt, call_id: CallId) -> Answer:
        """Send a call, and send it again while the service is unavailable."""
        for attempt in range(1, model.attempts + 1):
            try:
                return self._once(asked, model, prompt, call_id)
            except Unavailable as error:
                pause = pause_before_next(attempt, model.attempts, error.retry_after, f"{call_id.run}/{call_id.move}")
                if pause is None or isinstance(error, Stopped):
                    raise
                self._pause(pause)
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, seconds: float) -> None:
        """Wait, at most until a stop."""
        if self._sleep is not None:
            self._sleep(seconds)
            return
        until = time.monotonic() + seconds
        while not self.halted and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))

    def room(self, in_flight: int) -> bool:
        """Return whether the caps allow one more call beside ``in_flight`` others, each as large as the largest so far.

        Check it before a call is prepared: without room, a call fails with BudgetSpent until another one is over. A
        model that has not answered yet is asked once at a time if it was refused a request, or could not be checked.
        """
        if in_flight and self._unproven():
            return False
        return self._caps.room(in_flight)

    def _unproven(self) -> bool:
        if isinstance(self.model, ModelRouter) or self._refusals.has_answered(self.model.name):
            return False
        return self._unchecked or self._refusals.pending(self.model.name)

    def _once(self, asked: str, model: LanguageModel, prompt: Prompt, call_id: CallId) -> Answer:
        """Send a call once: reserve its cost and record it before, commit its cost and record it afterwards."""
        if self.halted:
            raise Stopped(_STOPPED)
        max_cost = model.max_cost(prompt)
        self._caps.reserve(max_cost, asked)
        call = self._unanswered(asked, model, prompt, call_id)
        self._announce(call, asked, max_cost)
        try:
            answer = self._clean(model.complete(prompt))
        except LlmError as error:
            error = self._without_secrets(error)
            answer = _known(error, model.name, self._clock() - call.at)
            charged = self._commit(max_cost, answer)
            refused = isinstance(error, AnswerRefused)
            self._finish(call, answer, charged, "refused" if refused else "failed", f"{type(error).__name__}: {error}")
            raise self._counted(asked, error) from None
        except BaseException:
            unknown = Answer("", model.name, None, None, None, 0.0, None)
            self._commit(max_cost, unknown)  # charges the maximum
            raise
        self._refusals.answered(asked)
        self._finish(call, answer, self._commit(max_cost, answer), "answered", _CUT_OFF if answer.cut_off else "")
        return answer

    def _announce(self, call: LlmCall, asked: str, max_cost: Cost) -> None:
        """Record a call before it is sent. If that fails it is not sent, and costs nothing."""
        request = (call.request, call.run, call.move, call.turn, call.operator, asked)
        try:
            self._requested(LlmRequest(*request, max_cost.tokens, max_cost.dollars, call.at))
        except BaseException:
            self._commit(max_cost, Answer("", call.model, 0, 0, 0, 0.0, 0.0))
            raise

    def _counted(self, asked: str, error: LlmError) -> LlmError:
        """Count an error. Return it, or ``RefusedAgain`` if the model is not to be asked any more."""
        times = self._refusals.count(asked, error)
        if times is None:
            return error
        return RefusedAgain(f"{error} (It came {times} times in a row, so that {asked} is not asked any more.)")

    def _unanswered(self, asked: str, model: LanguageModel, prompt: Prompt, call_id: CallId) -> LlmCall:
        """Return the record of a call that is about to be sent."""
        return LlmCall(
            run=call_id.run,
            move=call_id.move,
            turn=call_id.turn,
            operator=call_id.operator,
            model=model.name,
            outcome="failed",
            prompt=prompt.text,
            answer="",
            tokens_in=0,
            tokens_out=0,
            tokens_cached=0,
            seconds=0.0,
            dollars=0.0,
            at=self._clock(),
            aim=call_id.aim,
            template=call_id.template,
            request=self._names(),
            asked=asked,
        )

    def _commit(self, max_cost: Cost, answer: Answer) -> Cost:
        charged = charged_for(answer, max_cost)
        self._caps.commit(max_cost, answer, charged)
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
        """Exclude a model. Return whether it was the last one that could be asked."""
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
        """Return the same error with secrets removed from its message and answer."""
        error.args = (self._hidden.hide(str(error)),)
        if isinstance(error, AnswerRefused) and error.answer is not None:
            error.answer = self._clean(error.answer)
        return error


def pause_before_next(attempt: int, attempts: int, retry_after: float | None, seed: str) -> float | None:
    """Return the seconds to wait before attempt ``attempt + 1`` of ``attempts``; None for no further attempt.

    The pause is ``retry_after`` if given, else half a second that doubles each time, with a jitter of 25% drawn from
    ``seed``, so that calls that failed together are not repeated together.
    """
    if attempt >= attempts:
        return None
    if retry_after is not None:
        return retry_after if retry_after <= LONGEST_PAUSE else None
    chance = int(sha256(f"pause/{seed}/{attempt}")[:8], 16) / 2**32
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 16)) * (0.75 + 0.5 * chance)


def _unless_stopped(call: Callable[[], str | None], stopped: Callable[[], bool]) -> str | None:
    """Return the result of a call that may hang. Raises ``Stopped`` as soon as the search is stopped."""
    done = Future[str | None]()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            done.set_exception(error)

    threading.Thread(target=run, daemon=True, name="check").start()
    while not stopped():
        try:
            return done.result(timeout=_SLICE)
        except FutureTimeout:
            if done.done():
                raise
    raise Stopped(_STOPPED)


def charged_for(answer: Answer, max_cost: Cost) -> Cost:
    """Return the cost that counts against the caps: the known cost, and the maximum for what is unknown."""
    known = answer.tokens_in is not None and answer.tokens_out is not None
    tokens = (answer.tokens_in or 0) + (answer.tokens_out or 0) if known else max_cost.tokens
    return Cost(tokens, answer.dollars if answer.dollars is not None else max_cost.dollars)


def _known(error: LlmError, model: str, seconds: float) -> Answer:
    """Return the known cost of a failed call: known for a refused answer, unknown for an interrupted one, else 0."""
    if isinstance(error, AnswerRefused) and error.answer is not None:
        return error.answer
    if isinstance(error, Interrupted):
        return Answer("", model, None, None, None, seconds, None)
    return Answer("", model, 0, 0, 0, seconds, 0.0)


def _replayed(call: LlmCall) -> Answer:
    tokens = call.tokens_in, call.tokens_out, call.tokens_cached
    return Answer(call.answer, call.model, *tokens, call.seconds, call.dollars, call.cut_off)
