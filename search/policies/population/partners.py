"""Partner selection: the second parent of a crossover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from archive.tree import Tree
from search.policies import validation
from search.policies.selection.samplers import draw
from search.policies.selection.values import ranks
from search.policies.tree_cache import Mask, cache_of


class PartnerSelection(Protocol):
    """Draws the second parent of a crossover."""

    @property
    def share(self) -> float | None:
        """Share of crossovers in the proposals, where one is possible; None: by the operators' weights."""
        ...

    def partner(self, tree: Tree, first: int, rng: np.random.Generator, members: Mask | None = None) -> int | None:
        """Return the place of a partner for the node at place ``first`` among ``members`` [N], or None."""
        ...


@dataclass(frozen=True)
class RankPartner:
    """Draws from the best share of scored nodes, without ancestors and descendants, ``p ~ rank^(1 / temperature)``.

    A node and its own ancestor have nothing to merge. ``temperature`` 0.2 is the rank softmax of AIRA2 on the rank in
    [0, 1]. With ``across``, the parents lie on different branches, which descend from different children of the root.
    Raises ValueError for invalid numbers.
    """

    ordinal: ClassVar[bool] = True
    best: float = 0.5
    """Share of the scored nodes (of the members, in a population) that may be a partner, from the top."""
    temperature: float = 0.2
    tries: int = 8
    share: float | None = None
    across: bool = False

    def __post_init__(self) -> None:
        validation.number("mating.best", self.best, 0, 1)
        validation.positive("mating.temperature", self.temperature)
        validation.whole("mating.tries", self.tries, 1)
        if self.share is not None:
            validation.number("mating.share", self.share, 0, 1)
        validation.truth("mating.across", self.across)

    def partner(self, tree: Tree, first: int, rng: np.random.Generator, members: Mask | None = None) -> int | None:
        ranked = ranks(tree, members)  # NaN for suspects
        with np.errstate(invalid="ignore"):
            weights = np.where(ranked >= 1 - self.best, ranked ** (1 / self.temperature), 0.0)
        weights[first] = 0.0
        if self.across:
            branches = cache_of(tree).branches
            weights[branches == branches[first]] = 0.0
        for _ in range(self.tries):
            if not (weights > 0).any():
                return None
            drawn = draw(weights, rng)
            if not related(tree, first, drawn):
                return drawn
            weights[drawn] = 0.0
        return None


def related(tree: Tree, a: int, b: int) -> bool:
    """Return whether one of two nodes (by place) is an ancestor of the other."""
    older, newer = min(a, b), max(a, b)
    seen, front = {newer}, [newer]
    while front:
        for parent in tree.nodes[front.pop()].parents:
            place = tree.index[parent]
            if place == older:
                return True
            if place > older and place not in seen:
                seen.add(place)
                front.append(place)
    return False
