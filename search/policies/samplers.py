"""Samplers: from node scores to one node.

A sampler maps ([N] scores with NaN where a node is out, rng) to a place in ``tree.nodes``, or None if all are out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archive.tree import Floats


class Sampler(Protocol):
    """Draws one node."""

    def __call__(self, scores: Floats, rng: np.random.Generator) -> int | None:
        """A place whose score is not NaN, or None when there is none."""
        ...


@dataclass(frozen=True)
class Argmax:
    """The best score, the earliest of equals."""

    def __call__(self, scores: Floats, rng: np.random.Generator) -> int | None:
        valid = ~np.isnan(scores)
        return int(np.argmax(np.where(valid, scores, -np.inf))) if valid.any() else None


@dataclass(frozen=True)
class Uniform:
    """Each node that is not out, with equal probability, whatever its score."""

    def __call__(self, scores: Floats, rng: np.random.Generator) -> int | None:
        places = np.flatnonzero(~np.isnan(scores))
        return int(places[rng.integers(len(places))]) if len(places) else None


@dataclass(frozen=True)
class EpsilonGreedy:
    """With probability ``epsilon`` as ``Uniform``, else as ``Argmax``.

    Source: Sutton and Barto, "Reinforcement Learning", section 2.2. Raises ValueError outside [0, 1].
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon is {self.epsilon}; expected a probability. Set policy.sampler.epsilon.")

    def __call__(self, scores: Floats, rng: np.random.Generator) -> int | None:
        sampler: Sampler = Uniform() if rng.random() < self.epsilon else Argmax()
        return sampler(scores, rng)
