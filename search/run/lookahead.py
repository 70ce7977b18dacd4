"""How many proposals to have ready or on their way, so that a slot does not wait for a language model.

A slot takes a proposal every E seconds (the mean evaluation), an answer takes L seconds (the mean proposal), and only
a share p of the proposals becomes a candidate. While one answer is awaited, ``m = slots * L / (E * p)`` proposals are
used up. The base-stock rule keeps that many under way, and a safety of 1.5 deviations of a Poisson demand beside:

    ahead = max(slots, ceil(m + 1.5 * sqrt(m)))

In simulations with L / E from 0.25 to 4, lognormal latencies (deviation of the logarithm up to 1) and a fifth of the
answers unusable, slots were busy at least 97% of the time. A proposal made that early does not know what landed since
(about ``ahead`` evaluations), so more than the rule asks for would only make the search blinder.

What is done with a proposal that comes back to another tree than it was asked for in:

    its parent was found cheating meanwhile    refused with that reason; no training is spent on it
    somebody made the same program meanwhile   refused as a duplicate
    its parent was overtaken, or run again     trained in its turn, and judged by the tree of now: it is paid for, one
       and found worse                         result more or less is mostly noise, and the policy, which counts what
                                               is pending, has spread what is on its way over several parents
    the budget is nearly used                  never asked for: what is on its way is at most what can be trained

The prompt names what is in flight, so that those who are asked at the same time need not say the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

SAFETY = 1.5
"""Standard deviations of the demand that are kept beside its mean, where nothing but a model makes candidates."""
_RECENT = 32
"""Proposals and evaluations that the means are taken over."""


def proposals_ahead(slots: int, evaluation: float, proposal: float, usable: float, safety: float) -> int:
    """Proposals to have beyond those that free slots want; see the formula above. At least one for each slot.

    ``evaluation`` and ``proposal`` are mean seconds, ``usable`` the share of proposals that become candidates.
    """
    demand = slots * proposal / (max(evaluation, 1e-3) * max(usable, 0.25))
    return max(slots, math.ceil(demand + safety * math.sqrt(demand)))


@dataclass
class Lookahead:
    """Keeps the rule supplied with what this session has measured."""

    slots: int
    safety: float = SAFETY
    _evaluations: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _proposals: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _usable: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def proposed(self, seconds: float, usable: bool) -> None:
        """A proposal that a model was asked for has come back, repair turns included."""
        self._proposals.append(seconds)
        self._usable.append(usable)

    def evaluated(self, seconds: float) -> None:
        """An evaluation has landed, after that many wall seconds in its slot."""
        self._evaluations.append(seconds)

    def wanted(self, waited: float) -> int:
        """Proposals to have ready or on their way, beyond what free slots want.

        ``waited``: seconds that the oldest of those on their way has taken so far. Until one has come back, the model
        is taken to need that long, and at least as long as an evaluation; before any evaluation, two for each slot.
        """
        if not self._evaluations:
            return 2 * self.slots
        evaluation = _mean(self._evaluations)
        proposal = _mean(self._proposals) if self._proposals else max(waited, evaluation)
        usable = (sum(self._usable) + 1) / (len(self._usable) + 1)
        return proposals_ahead(self.slots, evaluation, proposal, usable, self.safety)


_PAUSES = (1.0, 60.0)
"""Seconds: the first pause of an outage, and the longest."""


@dataclass
class Outage:
    """What a search does while the model's service cannot answer: one call at a time, after ever longer pauses.

    Otherwise all that are asked ahead would fail within seconds, and a search that lives on a model would stop for too
    many refusals in a row, because of a service that was busy for a minute.
    """

    _failures: int = 0
    _until: float = 0.0

    def told(self, unavailable: bool, now: float) -> None:
        """A call has come back at ``now`` (monotonic seconds)."""
        self._failures = self._failures + 1 if unavailable else 0
        first, longest = _PAUSES
        self._until = now + min(longest, first * 2.0 ** min(self._failures - 1, 16))

    def may_ask(self, now: float, in_flight: int) -> bool:
        """Whether one more call may be made beside ``in_flight`` others."""
        return not self._failures or (in_flight == 0 and now >= self._until)

    def pausing(self, now: float) -> bool:
        """Whether a call will be made again after a while, though none is on its way now."""
        return self._failures > 0 and now < self._until


def _mean(values: deque[float]) -> float:
    return sum(values) / len(values)
