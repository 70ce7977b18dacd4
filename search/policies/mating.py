"""Mating: the second parent of a crossover."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archive.tree import Tree


class Mating(Protocol):
    """Draws a partner."""

    def partner(self, tree: Tree, first: int, rng: np.random.Generator) -> int | None:
        """The place of a partner for the node at place ``first``, or None where there is none."""
        ...


@dataclass(frozen=True)
class RankMating:
    """A scored node of the better half, unrelated in a straight line, drawn with ``p ~ rank^(1 / temperature)``.

    Two nodes of which one descends from the other have nothing to merge. ``temperature`` 0.2 is the rank softmax of
    AIRA2 on the rank in [0, 1].
    """

    best: float = 0.5
    """The share of the scored nodes that may be a partner, from the top."""
    temperature: float = 0.2
    tries: int = 8

    def partner(self, tree: Tree, first: int, rng: np.random.Generator) -> int | None:
        ranks = tree.ranks()  # suspects have none
        with np.errstate(invalid="ignore"):
            weights = np.where(ranks >= 1 - self.best, ranks ** (1 / self.temperature), 0.0)
        weights[first] = 0.0
        for _ in range(self.tries):
            cumulative = np.cumsum(weights)
            if cumulative[-1] <= 0:
                return None
            drawn = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
            if not related(tree, first, drawn):
                return drawn
            weights[drawn] = 0.0
        return None


def related(tree: Tree, a: int, b: int) -> bool:
    """Whether one of two nodes (by place) is an ancestor of the other. Walks up only as far as the older one."""
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
