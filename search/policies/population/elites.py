"""Elites: the best node of each kind, by descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archive.tree import Ints, Tree
from search.policies import validation
from search.policies.population.descriptors import Descriptor
from search.policies.tree_cache import Mask


@dataclass(frozen=True)
class Elites:
    """A grid of ``bins`` cells along each descriptor, and the best node of each cell.

    An axis spans the values of all scored nodes, so it widens as new kinds are found; a node with an unknown descriptor
    lies in an extra cell beside the grid. With probability ``exploration`` the parent may be any member, else only an
    elite.

    Source: MAP-Elites (Mouret and Clune 2015, "Illuminating search spaces by mapping elites"), with the 10 bins and 20%
    exploration of OpenEvolve. Raises ValueError for invalid numbers.
    """

    descriptors: Sequence[Descriptor]
    bins: int = 10
    exploration: float = 0.2

    def __post_init__(self) -> None:
        if not self.descriptors:
            raise ValueError("policy.population.elites.descriptors is empty; expected at least one descriptor")
        validation.whole("population.elites.bins", self.bins, 1)
        validation.number("population.elites.exploration", self.exploration, 0, 1)

    def choose(self, tree: Tree, members: Mask, rng: np.random.Generator) -> Mask:
        """Return [N] the possible parents among the members: their elites, or all with probability ``exploration``."""
        return members if rng.random() < self.exploration else self.best(tree, members)

    def best(self, tree: Tree, members: Mask) -> Mask:
        """Return [N] True for the best member of each cell, the earliest of equals."""
        places = np.flatnonzero(members & tree.eligible())
        cells = self.cells(tree)[places]
        order = np.lexsort((places, -tree.ranks()[places], cells))
        first = np.flatnonzero(np.diff(cells[order], prepend=-1))
        elites = np.zeros(len(tree), dtype=np.bool_)
        elites[places[order[first]]] = True
        return elites

    def cells(self, tree: Tree) -> Ints:
        """Return [N] the cell of each node as one number."""
        cells = np.zeros(len(tree), dtype=np.int64)
        eligible = tree.eligible()
        for descriptor in self.descriptors:
            values = descriptor(tree)
            known = values[eligible & ~np.isnan(values)]
            low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
            scaled = (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.0)
            bins = np.clip(np.floor(np.nan_to_num(scaled) * self.bins), 0, self.bins - 1).astype(np.int64)
            cells = cells * (self.bins + 1) + np.where(np.isnan(scaled), 0, bins + 1)
        return cells
