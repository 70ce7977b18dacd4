"""Caps on the tokens and dollars of a run, with calls in flight counted at their maximum cost.

The maximum cost of a call is reserved before it is sent, and replaced by the known cost afterwards; if that is unknown
(cut off, timed out, not reported by the server) the maximum is charged. Where a price is unknown, dollars cannot be
counted, and the cap on tokens holds alone.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from archive.llm_calls import Spending
from operators.llm.base import Answer, BudgetSpent, Cap, Cost

_USUAL = 2
"""A call of up to this multiple of the smallest call's tokens has the usual size. A larger call that does not fit is
refused; one of the usual size closes the model."""


class Caps:
    """Spending of a run against its caps. Thread-safe."""

    def __init__(self, max_dollars: float, max_tokens: int, spent: Spending, usual: Cost) -> None:
        """``spent``: of earlier sessions, of which ``charged_*`` counts. ``usual``: maximum cost assumed for a call."""
        self.max_dollars = max_dollars
        self.max_tokens = max_tokens
        self.closed: str | None = None
        """Why no further call can be made, or None."""
        self.closing_cap: Cap | None = None
        self._lock = threading.Lock()
        self._spent = spent
        self._reserved = Cost(0, 0.0)
        self._largest = usual
        self._smallest: dict[str, int] = {}  # model -> smallest maximum cost in tokens

    @property
    def spent(self) -> Spending:
        return self._spent

    @property
    def reserved(self) -> Cost:
        """Cost reserved for calls in flight."""
        return self._reserved

    def close(self, reason: str, cap: Cap | None = None) -> None:
        """Refuse every further call. ``cap``: the limit that is the reason; None for another, such as a refused key."""
        with self._lock:
            if self.closed is None:
                self.closed, self.closing_cap = reason, cap

    def room(self, in_flight: int) -> bool:
        """Return whether one more call fits beside ``in_flight`` others, each as large as the largest so far."""
        with self._lock:
            each = self._largest
            others = Cost(in_flight * each.tokens, None if each.dollars is None else in_flight * each.dollars)
            return in_flight == 0 or self._excess(each, others) is None

    def reserve(self, max_cost: Cost, model: str) -> None:
        """Reserve a call. Raises BudgetSpent if it does not fit; ``fatal`` if no usual call of the model would."""
        with self._lock:
            if self.closed is not None:
                raise BudgetSpent(self.closed)
            smallest = self._smallest[model] = min(self._smallest.get(model, max_cost.tokens), max_cost.tokens)
            if (alone := self._excess(max_cost, Cost(0, 0.0))) is not None:
                reason, cap = alone
                raise BudgetSpent(reason, fatal=max_cost.tokens <= _USUAL * smallest, cap=cap)
            self._largest = _larger(max_cost, self._largest)
            if (excess := self._excess(max_cost, self._reserved)) is not None:
                raise BudgetSpent(f"{excess[0]}, calls in flight counted")
            self._reserved = Cost(
                self._reserved.tokens + max_cost.tokens, _sum(self._reserved.dollars, max_cost.dollars)
            )

    def commit(self, max_cost: Cost, answer: Answer, charged: Cost) -> None:
        """Replace a reservation by the charged cost. ``answer``: the known cost of the call."""
        with self._lock:
            reserved = _sum(self._reserved.dollars, -(max_cost.dollars or 0.0))
            self._reserved = Cost(self._reserved.tokens - max_cost.tokens, reserved)
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

    def _excess(self, max_cost: Cost, reserved: Cost) -> tuple[str, Cap] | None:
        """Why another call does not fit beside what is spent and held, or None."""
        spent = self._spent
        if spent.charged_tokens + reserved.tokens + max_cost.tokens > self.max_tokens:
            unknown = spent.charged_tokens - spent.tokens
            part = f", {unknown:,} of them for calls of unknown bill, at most" if unknown else ""
            return (
                f"the cap of {self.max_tokens:,} tokens: {spent.charged_tokens:,} spent{part}; "
                f"a call may take {max_cost.tokens:,}; raise llm.max_total_tokens to go on",
                Cap("tokens", self.max_tokens),
            )
        if max_cost.dollars is None:
            return None
        if spent.charged_dollars + (reserved.dollars or 0.0) + max_cost.dollars > self.max_dollars:
            dollars = spent.charged_dollars - spent.dollars
            part = f", ${dollars:.4f} of it for calls of unknown bill, at most" if dollars > 1e-9 else ""
            return (
                f"the cap of ${self.max_dollars:.2f}: ${spent.charged_dollars:.4f} spent{part}; "
                f"a call may cost ${max_cost.dollars:.4f}; raise llm.max_dollars to go on",
                Cap("dollars", self.max_dollars),
            )
        return None


def _larger(a: Cost, b: Cost) -> Cost:
    """Return the maximum of the tokens and of the dollars."""
    dollars = None if a.dollars is None or b.dollars is None else max(a.dollars, b.dollars)
    return Cost(max(a.tokens, b.tokens), dollars)


def _sum(a: float | None, b: float | None) -> float:
    return (a or 0.0) + (b or 0.0)
