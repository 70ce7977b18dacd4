"""Clade sampling: Thompson sampling by the success of all descendants of a node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.selection.backups import climb
from search.policies.tree_cache import cache_of


@dataclass(frozen=True)
class Clade:
    """The node with the largest draw from ``Beta(t (1 + S_i), t (1 + F_i))`` of its clade.

    The clade of a node is the node with all of its descendants by first parents. ``S_i`` is the sum of the node scores
    in [0, 1] over the clade, ``F_i`` the sum of what they lack to 1, with 1 for each child without a score (failed,
    refused or pending), so that parallel slots spread out. Source: clade metaproductivity of the Huxley-Goedel machine
    (Wang et al. 2025), where S and F count the benchmark problems that a clade's agents solved and failed, and t grows
    with the spent share of the budget; here ``t`` (``sharpness``) is constant. A node is judged by what became of its
    descendants: an agent that scores well need not be one whose changes succeed.
    """

    ordinal: ClassVar[bool] = True
    sharpness: float = 1.0

    def __post_init__(self) -> None:
        validation.positive("sampler.sharpness", self.sharpness)

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        places = np.flatnonzero(~np.isnan(scores))
        if not len(places):
            return None
        succeeded, failed = outcomes(tree, scores)
        a, b = (self.sharpness * (1.0 + column[places]) for column in (succeeded, failed))
        return int(places[np.argmax(rng.beta(a, b))])


def outcomes(tree: Tree, scores: Floats) -> tuple[Floats, Floats]:
    """Return [N] the success and the failure of each node's clade; ``scores`` are in [0, 1], NaN without one."""
    inside = ~np.isnan(scores)
    succeeded = np.where(inside, scores, 0.0)
    failed = np.where(inside, 1.0 - scores, 0.0) + tree.visits - _scored_children(tree)
    climb(tree, np.add, succeeded, failed)
    return succeeded, failed


def _scored_children(tree: Tree) -> Floats:
    """Return [N] children that have a score and are not suspect; those of a crossover belong to both parents."""
    count = np.zeros(len(tree))
    for parents in (tree.places, cache_of(tree).second_parents):
        np.add.at(count, parents[tree.eligible() & (parents >= 0)], 1.0)
    return count
