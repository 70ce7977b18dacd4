"""Pareto parents: programs that are the best on some case, whatever their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.tree import Floats, Ints, Tree
from search.policies.population.islands import Pool
from search.policies.selection.samplers import draw
from search.policies.tree_cache import Mask, cache_of


@dataclass(frozen=True)
class ParetoFront:
    """One parent of the frontier by case, drawn in proportion to the number of cases on which it is best.

    The frontier has the nodes that are best on at least one case, ties included, without those that another of them
    dominates: at least as good on all cases and better on one. A crossover's partner is of the frontier, too. Without
    scores by case every scored node may be a parent, and the policy draws by its mean.

    Source: GEPA (Agrawal et al. 2025, "GEPA: Reflective prompt evolution can outperform reinforcement learning"),
    algorithm 2.
    """

    ordinal: ClassVar[bool] = True

    def pool(self, tree: Tree, rng: np.random.Generator) -> Pool:
        everywhere = np.ones(len(tree), dtype=np.bool_)
        won = self.cases_won(tree)
        if not won.any():
            return Pool(tree.eligible(), everywhere, tree.eligible())
        parent = np.zeros(len(tree), dtype=np.bool_)
        parent[draw(won.astype(np.float64), rng)] = True
        return Pool(parent, everywhere, won > 0)

    def cases_won(self, tree: Tree) -> Ints:
        """Return [N] the number of cases on which a node of the frontier is best; 0 for all others."""
        won = np.zeros(len(tree), dtype=np.int64)
        values = cache_of(tree).case_values(tree)
        places = np.flatnonzero(tree.eligible() & ~np.isnan(values).any(axis=1))
        if not values.shape[1] or not len(places):
            return won
        known = -values[places] if tree.direction == "minimise" else values[places]
        best = known == known.max(axis=0)
        candidates = np.flatnonzero(best.any(axis=1))
        front = candidates[~_dominated(known[candidates])]
        won[places[front]] = best[front].sum(axis=1)
        return won


def _dominated(values: Floats) -> Mask:
    """Return [K] True where another row [K, C] is at least as large everywhere and larger somewhere."""
    no_worse = (values[None] >= values[:, None]).all(axis=2)
    better: Mask = np.asarray((values[None] > values[:, None]).any(axis=2), dtype=np.bool_)
    return np.asarray((no_worse & better).any(axis=1), dtype=np.bool_)
