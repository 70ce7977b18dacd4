"""Samplers: from node scores to one node.

A sampler maps (tree, [N] scores with NaN for excluded nodes, rng) to a place in ``tree.nodes``, or None if all are
excluded. Samplers that descend the tree are in ``uct.py`` and ``thompson.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.selection.values import ranked


class Sampler(Protocol):
    """Draws one node."""

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        """Return a place whose score is not NaN, or None without one."""
        ...


@dataclass(frozen=True)
class Argmax:
    """The best score, the earliest of equals."""

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        valid = ~np.isnan(scores)
        return int(np.argmax(np.where(valid, scores, -np.inf))) if valid.any() else None


@dataclass(frozen=True)
class Uniform:
    """Each node with a score, with equal probability."""

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        places = np.flatnonzero(~np.isnan(scores))
        return int(places[rng.integers(len(places))]) if len(places) else None


@dataclass(frozen=True)
class EpsilonGreedy:
    """With probability ``epsilon`` as ``Uniform``, else as ``Argmax``.

    Source: Sutton and Barto, "Reinforcement Learning", section 2.2. Raises ValueError outside [0, 1].
    """

    ordinal: ClassVar[bool] = True
    epsilon: float = 0.1

    def __post_init__(self) -> None:
        validation.number("sampler.epsilon", self.epsilon, 0, 1, why="a probability")

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        sampler: Sampler = Uniform() if rng.random() < self.epsilon else Argmax()
        return sampler(tree, scores, rng)


@dataclass(frozen=True)
class Proportional:
    """Each node with a probability proportional to its score: ``p_i = w_i / sum_j w_j``, for scores of at least 0.

    Where all weights are 0, each node with equal probability.
    """

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        if not (np.nan_to_num(scores) > 0).any():
            return Uniform()(tree, scores, rng)
        return draw(np.nan_to_num(scores), rng)


@dataclass(frozen=True)
class RankSoftmax:
    """``p_i ~ (N - rank_i + 1)^(1 / temperature)`` with rank 1 the best of N scored nodes; ties share a rank.

    Source: AIRA2, which draws parents so with 15% crossovers; see ``conf/policy/rank_softmax.yaml``. A low temperature
    is nearly greedy. Raises ValueError unless the temperature is above 0.
    """

    ordinal: ClassVar[bool] = True
    temperature: float = 0.2

    def __post_init__(self) -> None:
        validation.positive("sampler.temperature", self.temperature)

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        count = int((~np.isnan(scores)).sum())
        if count == 0:
            return None
        # From the bottom, N - rank + 1 runs from 1 to N; divided by N so that no power overflows.
        weights = ((1 + (count - 1) * ranked(scores)) / count) ** (1 / self.temperature)
        return draw(np.nan_to_num(weights), rng)


def draw(weights: Floats, rng: np.random.Generator) -> int:
    """Draw a place with probability proportional to its weight [N]; at least one weight must be above 0."""
    cumulative = np.cumsum(weights)
    drawn = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return min(drawn, int(np.flatnonzero(weights)[-1]))
