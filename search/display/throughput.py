"""How fast a search goes at present: trainings that land, and the share of its slots that are busy."""

from __future__ import annotations

from collections import deque

_ROUNDS = 8
"""Trainings of every slot that the rate is taken over; slots begin together, so whole rounds land together."""
_LOOKS = 240
"""Looks at the slots that the busy share is taken over: a minute, at four a second."""


class Pace:
    """Told what lands and what is busy. Times are seconds of one clock, ``now`` never before an earlier one."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._landings: deque[float] = deque(maxlen=1024)
        self._busy: deque[tuple[float, float]] = deque(maxlen=_LOOKS)
        self._share = 0.0

    def landed(self, now: float) -> None:
        """A training has ended, however it did."""
        self._landings.append(now)

    def looked(self, now: float, busy: int, slots: int) -> None:
        """So many of the slots are busy now; they are taken to have been since the look before."""
        if slots > 0:
            before, total = self._busy[-1] if self._busy else (now, 0.0)
            self._busy.append((now, total + (now - before) * min(1.0, busy / slots)))

    def rate(self, now: float, slots: int) -> float | None:
        """Trainings a second, over the latest rounds of ``slots`` trainings; None before the first round is complete.

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
        """The share of slots and time that was busy, over the latest looks; None before two of them."""
        if len(self._busy) < 2:
            return None
        (since, before), (now, total) = self._busy[0], self._busy[-1]
        return (total - before) / (now - since) if now > since else None
