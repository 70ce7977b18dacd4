"""Number of proposals to have ready or pending, so that a slot does not wait for a language model.

A slot takes a proposal every E seconds (the mean evaluation), an answer takes L seconds (the mean proposal), and a
share p of the proposals becomes a candidate. While one answer is awaited, ``m = slots * L / (E * p)`` proposals are
used up. The base-stock rule keeps that many pending, plus a safety of 1.5 standard deviations of a Poisson demand:

    ahead = max(slots, ceil(m + 1.5 * sqrt(m)))

In simulations with L / E from 0.25 to 4, lognormal latencies (deviation of the logarithm up to 1) and a fifth of the
answers unusable, slots were busy at least 97% of the time. A proposal made that early is ignorant of the results that
land meanwhile (about ``ahead`` evaluations), so more proposals than the rule asks for would make the search worse
informed.

Proposals that finish after the tree has changed:

    the parent was found cheating meanwhile    refused with that reason; no evaluation is spent
    the same program was added meanwhile       refused as a duplicate
    the parent was overtaken, or replicated    evaluated, and judged by the present tree: it is paid for, one result
       and found worse                         more or less is mostly noise, and the policy, which counts pending
                                               proposals, has spread them over several parents
    the budget is nearly used                  not requested: pending proposals never exceed the evaluations left

The prompt names what is in flight, so that simultaneous proposals need not be the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

SAFETY = 1.5
"""Standard deviations of the demand kept beside its mean, where only a language model makes candidates."""
_SHORT_SECONDS = 0.25
"""Mean of evaluations that are so short that a slot would be idle for much of the time that the search needs to record
one and to choose the next. Then a further evaluation is queued for each slot."""
_RECENT = 32
"""Proposals and evaluations that the means are taken over."""
_PAUSES = (1.0, 60.0)
"""Seconds: the first pause of an outage, and the longest."""


def queued(slots: int, evaluation: float) -> int:
    """Return how many evaluations to queue beyond free slots, where one takes ``evaluation`` seconds in the mean."""
    return slots if evaluation < _SHORT_SECONDS else 0


def proposals_ahead(slots: int, evaluation: float, proposal: float, usable: float, safety: float) -> int:
    """Return the proposals to have beyond those that free slots want, by the formula above; at least one for each slot.

    ``evaluation`` and ``proposal`` are mean seconds, ``usable`` the share of proposals that become candidates.
    """
    demand = slots * proposal / (max(evaluation, 1e-3) * max(usable, 0.25))
    return max(slots, math.ceil(demand + safety * math.sqrt(demand)))


@dataclass
class Lookahead:
    """The rule applied to the latencies of this session."""

    slots: int
    safety: float = SAFETY
    _evaluations: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _proposals: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _usable: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def record_proposal(self, seconds: float, usable: bool) -> None:
        """Record how long a model's proposal took, repair turns included, and whether it became a candidate."""
        self._proposals.append(seconds)
        self._usable.append(usable)

    def record_evaluation(self, seconds: float) -> None:
        """Record the wall seconds that an evaluation occupied its slot."""
        self._evaluations.append(seconds)

    def wanted(self, waited: float) -> int:
        """Return the proposals to have ready or pending, beyond what free slots want.

        ``waited``: age of the oldest pending proposal in seconds. Until one has finished, a proposal is assumed to take
        that long, and at least as long as an evaluation; before any evaluation the answer is two for each slot.
        """
        if not self._evaluations:
            return 2 * self.slots
        evaluation = _mean(self._evaluations)
        proposal = _mean(self._proposals) if self._proposals else max(waited, evaluation)
        usable = (sum(self._usable) + 1) / (len(self._usable) + 1)
        return queued(self.slots, evaluation) + proposals_ahead(self.slots, evaluation, proposal, usable, self.safety)


@dataclass
class Outage:
    """Back-off while the model's service cannot answer: one call at a time, after ever longer pauses.

    Otherwise all proposals made ahead would fail within seconds, again and again.
    """

    since: float | None = None
    """Time of the first failure (monotonic seconds); None while the service answers."""
    _failures: int = 0
    _until: float = 0.0

    def record(self, unavailable: bool, now: float) -> None:
        """Record the end of a call at ``now`` (monotonic seconds)."""
        self._failures = self._failures + 1 if unavailable else 0
        self.since = (now if self.since is None else self.since) if unavailable else None
        first, longest = _PAUSES
        self._until = now + min(longest, first * 2.0 ** min(self._failures - 1, 16))

    def allows(self, now: float, in_flight: int) -> bool:
        """Return whether one more call may be made beside ``in_flight`` others."""
        return not self._failures or (in_flight == 0 and now >= self._until)

    def paused(self, now: float) -> bool:
        """Return whether a pause is running, after which a call will be made again."""
        return self._failures > 0 and now < self._until


def _mean(values: deque[float]) -> float:
    return sum(values) / len(values)
