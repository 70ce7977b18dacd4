"""UCT: descent from the root, at each node to the most promising child or to a new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.selection.backups import RULES, Rule, backed_up


@dataclass(frozen=True)
class Descent:
    """UCT with progressive widening: descends by ``Q_j + c * sqrt(ln N_parent / N_j)`` to a node that gets a new child.

    ``Q_j`` is the best (``backup: max``) or the mean (``mean``) of the node scores in the child's subtree, ``N`` one
    plus the children made or attempted in a node's subtree: failed, refused and pending ones count in N and in no Q. A
    node gets a new child while it has fewer than ``max(1, children * N^growth)``, or while none of its children has a
    value. Growth 0 is UCT with a fixed number of children a node, growth 0.5 progressive widening.

    Sources: UCT, Kocsis and Szepesvari (2006), "Bandit based Monte-Carlo planning"; widening, Coulom (2007), "Computing
    Elo ratings of move patterns", and Chaslot et al. (2008). Raises ValueError for invalid numbers.
    """

    ordinal: ClassVar[bool] = True
    c: float = 0.25
    backup: Rule = "max"
    children: float = 5.0
    growth: float = 0.0

    def __post_init__(self) -> None:
        validation.number("sampler.c", self.c, 0, why="0 is greedy")
        validation.choice("sampler.backup", self.backup, RULES)
        validation.positive("sampler.children", self.children)
        validation.number("sampler.growth", self.growth, 0, 1)

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        backed = backed_up(tree, scores, self.backup)
        subtree_visits, place = backed.subtree_visits, 0
        if np.isnan(backed.values[0]):
            return None
        while True:
            below = np.flatnonzero(tree.places == place)
            below = below[~np.isnan(backed.values[below])]
            wanted = tree.visits[place] < max(1.0, self.children * subtree_visits[place] ** self.growth)
            if not np.isnan(scores[place]) and (wanted or not len(below)):
                return place
            bonus = self.c * np.sqrt(np.log(subtree_visits[place]) / subtree_visits[below])
            place = int(below[np.argmax(backed.values[below] + bonus)])
