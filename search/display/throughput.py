"""Throughput of a search at present: evaluations a second, and the busy share of its slots."""

from __future__ import annotations

from collections import deque

_ROUNDS = 8
"""Evaluations per slot that the rate is averaged over; slots start together, so whole rounds land together."""
_SAMPLES = 240
"""Samples of the slots that the busy share is averaged over: a minute, at four a second."""


class Throughput:
    """Running averages. Times are seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._landings: deque[float] = deque(maxlen=1024)
        self._busy: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self._share = 0.0

    def landed(self, now: float) -> None:
        """Record the end of an evaluation, whatever its outcome."""
        self._landings.append(now)

    def sample(self, now: float, busy: int, slots: int) -> None:
        """Record how many slots are busy now; they are assumed to have been so since the previous sample."""
        if slots > 0:
            before, total = self._busy[-1] if self._busy else (now, 0.0)
            self._busy.append((now, total + (now - before) * min(1.0, busy / slots)))

    def rate(self, now: float, slots: int) -> float | None:
        """Return evaluations a second over the latest rounds of one evaluation per slot; None before the first round.

        While none lands the rate stays, until a whole round is overdue; then it falls.
        """
        landings = list(self._landings)
        if len(landings) < slots:
            return None
        counted = landings[-_ROUNDS * slots :]
        earlier = len(landings) - len(counted)
        since = landings[earlier - 1] if earlier else self._began
        seconds = counted[-1] - since
        if seconds <= 0:
            return None
        overdue = (now - counted[-1]) - 2 * slots * seconds / len(counted)
        return len(counted) / (seconds + max(0.0, overdue))

    def busy(self) -> float | None:
        """Return the busy share of slots and time over the latest samples; None before two of them."""
        if len(self._busy) < 2:
            return None
        (since, before), (now, total) = self._busy[0], self._busy[-1]
        return (total - before) / (now - since) if now > since else None
