"""What may still be spent: tokens and dollars of a run, with calls in flight counted at the most they can cost.

A call is reserved at its worst case before it is sent, and settled at what it is known to have cost; where the bill
is unknown (cut off, a time-out, a server that does not count) it is settled at that worst case. Where a price is
unknown no dollars can be counted: the cap on tokens holds alone then.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from archive.records import Spending
from operators.llm.base import Answer, BudgetSpent, Cap, Cost

_USUAL = 2
"""A call of up to so many times the tokens of the smallest is of the usual size; a larger one that does not fit is
refused, and the others go on."""


class Caps:
    """Thread-safe. ``spent``: what the run has spent before; what counts of it is ``charged_*``."""

    def __init__(self, max_dollars: float, max_tokens: int, spent: Spending, usual: Cost) -> None:
        """``usual``: the worst case of a call, before there was one."""
        self.max_dollars = max_dollars
        self.max_tokens = max_tokens
        self.closed: str | None = None
        """Why no further call can be made, or None."""
        self.closing_cap: Cap | None = None
        self._lock = threading.Lock()
        self._spent = spent
        self._held = Cost(0, 0.0)
        self._largest = usual
        self._smallest: dict[str, int] = {}  # model -> tokens of the smallest worst case

    @property
    def spent(self) -> Spending:
        return self._spent

    @property
    def held(self) -> Cost:
        """What is reserved for calls in flight."""
        return self._held

    def close(self, reason: str, cap: Cap | None = None) -> None:
        """Refuse every further call. ``cap``: the limit that is the reason; None for another, such as a refused key."""
        with self._lock:
            if self.closed is None:
                self.closed, self.closing_cap = reason, cap

    def room(self, in_flight: int) -> bool:
        """Whether one more call fits beside ``in_flight`` others, each as large as any so far."""
        with self._lock:
            each = self._largest
            others = Cost(in_flight * each.tokens, None if each.dollars is None else in_flight * each.dollars)
            return in_flight == 0 or self._excess(each, others) is None

    def reserve(self, worst: Cost, model: str) -> None:
        """Raises BudgetSpent where the call does not fit; ``fatal`` if none of the usual size would, of that model."""
        with self._lock:
            if self.closed is not None:
                raise BudgetSpent(self.closed)
            smallest = self._smallest[model] = min(self._smallest.get(model, worst.tokens), worst.tokens)
            if (alone := self._excess(worst, Cost(0, 0.0))) is not None:
                reason, cap = alone
                raise BudgetSpent(reason, fatal=worst.tokens <= _USUAL * smallest, cap=cap)
            self._largest = _larger(worst, self._largest)
            if (excess := self._excess(worst, self._held)) is not None:
                raise BudgetSpent(f"{excess[0]}, calls in flight counted")
            self._held = Cost(self._held.tokens + worst.tokens, _sum(self._held.dollars, worst.dollars))

    def settle(self, worst: Cost, answer: Answer, charged: Cost) -> None:
        """A call that was reserved at ``worst`` is over. ``answer``: what is known of its cost."""
        with self._lock:
            held = _sum(self._held.dollars, -(worst.dollars or 0.0))
            self._held = Cost(self._held.tokens - worst.tokens, held)
            spent = self._spent
            self._spent = replace(
                spent,
                calls=spent.calls + 1,
                tokens=spent.tokens + (answer.tokens_in or 0) + (answer.tokens_out or 0),
                dollars=spent.dollars + (answer.dollars or 0.0),
                unpriced=spent.unpriced + (answer.dollars is None),
                uncounted=spent.uncounted + (answer.tokens_in is None or answer.tokens_out is None),
                charged_tokens=spent.charged_tokens + charged.tokens,
                charged_dollars=spent.charged_dollars + (charged.dollars or 0.0),
            )

    def _excess(self, worst: Cost, held: Cost) -> tuple[str, Cap] | None:
        """Why another call does not fit beside what is spent and held, and the cap that forbids it; or None."""
        spent = self._spent
        if spent.charged_tokens + held.tokens + worst.tokens > self.max_tokens:
            unknown = spent.charged_tokens - spent.tokens
            part = f", {unknown:,} of them for calls of unknown bill, at most" if unknown else ""
            return (
                f"the cap of {self.max_tokens:,} tokens: {spent.charged_tokens:,} spent{part}; "
                f"a call may take {worst.tokens:,}; raise llm.max_total_tokens to go on",
                Cap("tokens", self.max_tokens),
            )
        if worst.dollars is None:
            return None
        if spent.charged_dollars + (held.dollars or 0.0) + worst.dollars > self.max_dollars:
            dollars = spent.charged_dollars - spent.dollars
            part = f", ${dollars:.4f} of it for calls of unknown bill, at most" if dollars > 1e-9 else ""
            return (
                f"the cap of ${self.max_dollars:.2f}: ${spent.charged_dollars:.4f} spent{part}; "
                f"a call may cost ${worst.dollars:.4f}; raise llm.max_dollars to go on",
                Cap("dollars", self.max_dollars),
            )
        return None


def _larger(a: Cost, b: Cost) -> Cost:
    """The larger of the tokens and of the dollars."""
    dollars = None if a.dollars is None or b.dollars is None else max(a.dollars, b.dollars)
    return Cost(max(a.tokens, b.tokens), dollars)


def _sum(a: float | None, b: float | None) -> float:
    return (a or 0.0) + (b or 0.0)
