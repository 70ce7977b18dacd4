"""Utility of a candidate on one problem: one number of its score, cost and time.

    U = (w_score * p + w_cost * (1 - min(1, c / C)) + w_time * (1 - min(1, t / T))) * (1 - tau if it timed out else 1)

``p`` is the score in [0, 1], ``c`` and ``t`` cost and time with their caps C and T. Problems are judged one by one, and
their utilities averaged: a total over problems would exceed any cap with enough of them. Variants:

    paper     the formula above (Robeyns, Szummer and Aitchison 2025, with 0.5, 0.25, 0.25, $10, 300 s, tau 0.5)
    gate      p where p > 0, c <= C, t <= T and nothing timed out, else 0 (the code beside that paper)
    pareto    p * (1 - min(1, c / C)) * (1 - min(1, t / T)): the volume that the point dominates below the caps, so that
              no candidate is ahead of one that is better in score, cost and time
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Variant = Literal["paper", "gate", "pareto"]


@dataclass(frozen=True)
class Outcome:
    """What a candidate did on one problem."""

    score: float
    """In [0, 1]."""
    cost: float = 0.0
    seconds: float = 0.0
    timed_out: bool = False


@dataclass(frozen=True)
class Utility:
    """Weights, caps and variant. Raises ValueError for invalid ones."""

    variant: Variant = "paper"
    w_score: float = 0.5
    w_cost: float = 0.25
    w_time: float = 0.25
    cost_cap: float = 10.0
    time_cap: float = 300.0
    tau: float = 0.5
    """Share that a timeout takes."""

    def __post_init__(self) -> None:
        if self.variant not in ("paper", "gate", "pareto"):
            raise ValueError(f"utility.variant is {self.variant!r}; expected paper, gate or pareto")
        for name in ("w_score", "w_cost", "w_time", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"utility.{name} is {getattr(self, name)}; expected a number from 0 to 1")
        if not math.isclose(self.w_score + self.w_cost + self.w_time, 1.0):
            raise ValueError(
                f"utility.w_score, w_cost and w_time sum to {self.w_score + self.w_cost + self.w_time:g}; expected 1"
            )
        if not (self.cost_cap > 0 and self.time_cap > 0):
            raise ValueError("utility.cost_cap and time_cap: expected numbers above 0")

    def of(self, outcome: Outcome) -> float:
        """Return the utility in [0, 1]. Raises ValueError for a score outside of [0, 1]."""
        if not 0 <= outcome.score <= 1:
            raise ValueError(f"the score of a problem is {outcome.score}; expected a number from 0 to 1")
        cheap = 1 - min(1.0, outcome.cost / self.cost_cap)
        fast = 1 - min(1.0, outcome.seconds / self.time_cap)
        if self.variant == "gate":
            return outcome.score if self._passes(outcome) else 0.0
        if self.variant == "pareto":
            return outcome.score * cheap * fast
        whole = self.w_score * outcome.score + self.w_cost * cheap + self.w_time * fast
        return whole * (1 - self.tau if outcome.timed_out else 1)

    def _passes(self, outcome: Outcome) -> bool:
        within = outcome.cost <= self.cost_cap and outcome.seconds <= self.time_cap
        return outcome.score > 0 and within and not outcome.timed_out
