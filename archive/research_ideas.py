"""A hypothesis for a study, as a row of the archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Novelty = Literal["novel", "known", "undecided"]


@dataclass(frozen=True)
class ResearchIdea:
    """A hypothesis with the experiment that tests it. Its texts may come from a model: untrusted."""

    name: str
    title: str
    hypothesis: str
    experiment: str
    expected_effect: str
    risk: str
    interestingness: int
    """1 to 10."""
    feasibility: int
    """1 to 10."""
    novelty: Novelty
    source: str
    """``archive``, or the name of the model."""
    closest: str | None = None
    """Where the closest that is known stands."""
    rounds: int = 0
    """Of reflection."""
