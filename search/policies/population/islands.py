"""Populations: restrictions of which nodes may be parents now.

``Islands`` keeps parts of the tree apart, so that a search does not follow one lineage too early; elites by descriptor
(``elites.py``) keep the best of each kind, whatever its score beside other kinds. Both follow from the tree alone, so a
resumed search has the same islands, migrants and elites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from archive.tree import Tree
from search.policies import validation
from search.policies.population.elites import Elites
from search.policies.tree_cache import Mask, cache_of

Mates = Literal["same", "other", "any"]
MATES = ("same", "other", "any")


@dataclass(frozen=True)
class Pool:
    """The nodes that may take part in the next move: [N] masks over all nodes, scored or not."""

    parents: Mask
    """Nodes that may be improved."""
    residents: Mask
    """Nodes that may be debugged: those of this part of the population, the root included."""
    partners: Mask
    """Nodes that may be the second parent of a crossover."""


class Population(Protocol):
    """Selects the pool of each move."""

    def pool(self, tree: Tree, rng: np.random.Generator) -> Pool:
        """Return the pool of the next move."""
        ...


@dataclass(frozen=True)
class Islands:
    """``count`` islands that take turns, with ring migration; parents may be restricted to elites by descriptor.

    The island of a node is the number of the move that made it modulo ``count``; the next move works on its own island,
    so a child stays where its parent was chosen, and the islands take equal turns. The root belongs to all of them. A
    widened search ignores the islands, which mixes them as migration does.

    Migration: at every ``every``-th node of the tree, the best ``share`` of each island (at least one) become visitors
    of the next island in the ring, and the previous visitors leave; their children on that island stay. ``every: 0``
    keeps the islands apart. ``mates``: whether the partner of a crossover is from the ``same`` island (visitors
    included), from an ``other`` one, or ``any``.

    Sources: islands with ring migration as in OpenEvolve (5 islands, the top 10% every 50); FunSearch (Romera-Paredes
    et al. 2024) and ShinkaEvolve have them too. In OpenEvolve a migrant is a copy that stays; here it is a visitor
    until the next migration, so that the archive needs no copies. Raises ValueError for invalid numbers.
    """

    ordinal: ClassVar[bool] = True
    count: int = 5
    every: int = 50
    share: float = 0.1
    mates: Mates = "same"
    elites: Elites | None = None

    def __post_init__(self) -> None:
        validation.whole("population.count", self.count, 1)
        validation.whole("population.every", self.every, 0)
        validation.number("population.share", self.share, 0, 1)
        validation.choice("population.mates", self.mates, MATES)

    def pool(self, tree: Tree, rng: np.random.Generator) -> Pool:
        turn = len(tree.moves) % self.count
        residents = self._home(tree, turn)
        here = (residents | self._visitors(tree, turn)) & tree.eligible()
        partners = {"same": here, "other": ~residents & tree.eligible(), "any": tree.eligible()}[self.mates]
        if self.elites is None:
            return Pool(here, residents, partners)
        # Partners are elites even when a parent is drawn from all members.
        return Pool(self.elites.choose(tree, here, rng), residents, self.elites.best(tree, partners))

    def _home(self, tree: Tree, island: int) -> Mask:
        """Return [N] True for the nodes of an island, the root included."""
        home: Mask = cache_of(tree).moves % self.count == island
        home[:1] = True
        return home

    def _visitors(self, tree: Tree, island: int) -> Mask:
        """Return [N] True for the best nodes of the previous island in the ring at the last migration."""
        visitors = np.zeros(len(tree), dtype=np.bool_)
        old = len(tree) // self.every * self.every if self.every else 0
        if self.count == 1 or old == 0:
            return visitors
        origin = self._home(tree, (island - 1) % self.count) & tree.eligible()
        origin[0], origin[old:] = False, False
        places = np.flatnonzero(origin)
        best = places[np.argsort(-tree.ranks()[places], kind="stable")]
        visitors[best[: max(1, math.ceil(self.share * len(best)))]] = True
        return visitors
