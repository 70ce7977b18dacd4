"""Node scores: how promising each node is, from ranks and charges alone.

A node score maps a tree to [N] float64, higher is better, NaN where a node must not be improved (failed, unscored and
suspect nodes). It sees no raw score, so any monotone change of the metric leaves it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archive.tree import Floats, Tree


class NodeScore(Protocol):
    """What is promising."""

    def __call__(self, tree: Tree) -> Floats:
        """[N] float64 aligned with ``tree.nodes``; a new array, NaN where a node must not be improved."""
        ...


@dataclass(frozen=True)
class FlatUcb:
    """Flat UCB on ranks: ``r_i + c * sqrt(ln(1 + sum_j n_j) / (1 + n_i))`` over all valid nodes.

    ``r_i`` is the rank in [0, 1] of the node's mean, ``n_i`` its children including failed, refused and pending ones.
    Source: UCB1 (Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed bandit problem") with the
    rank in place of the reward, as in the flat tree search of Google's ERA; one bandit over all nodes, no backup.
    c = 0.1 was the best of the measured ones.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        if isinstance(self.c, bool) or not isinstance(self.c, int | float) or self.c < 0:
            raise ValueError(f"policy.score.c is {self.c!r}; expected a number of at least 0 (0 is greedy)")

    def __call__(self, tree: Tree) -> Floats:
        charges = tree.charges
        total = charges[tree.eligible()].sum()
        scores: Floats = tree.ranks() + self.c * np.sqrt(np.log1p(total) / (1.0 + charges))
        return scores


@dataclass(frozen=True)
class Rank:
    """The rank in [0, 1] of the node's mean and nothing else: with ``Argmax`` this is greedy search."""

    def __call__(self, tree: Tree) -> Floats:
        return tree.ranks().copy()


@dataclass(frozen=True)
class Equal:
    """Zero for every scored node: with ``Uniform`` this is random search over the tree."""

    def __call__(self, tree: Tree) -> Floats:
        return np.where(tree.eligible(), 0.0, np.nan)


@dataclass(frozen=True)
class KeptLine:
    """Linear keep-or-revert: 1 for the head of the line, NaN for all others.

    The line starts at the root; its next member is the first child (by order of arrival) with a better mean than the
    present head that is not suspect; all others are reverted and never returned to. Source: the loop of
    karpathy/autoresearch, one git branch that keeps a commit if the metric improved. Run serially this is exactly that
    loop. With several slots the children of one head run side by side, and the first to arrive of those that improve
    on it is kept.
    """

    def __call__(self, tree: Tree) -> Floats:
        places, ranks = tree.places, tree.ranks()
        scores = np.full(len(tree), np.nan)
        if len(tree) == 0 or np.isnan(ranks[0]):
            return scores
        with np.errstate(invalid="ignore"):
            better = np.flatnonzero((places >= 0) & (ranks > ranks[places]))
        better = better[np.argsort(places[better], kind="stable")]  # by parent, and then by arrival
        head, following = -1, 0
        while following >= 0:
            head = following
            first, last = np.searchsorted(places[better], [head, head + 1])
            following = int(better[first]) if first < last else -1
        scores[head] = 1.0
        return scores
