"""A policy of one's own: a tournament among nodes that are drawn at random."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from archive.records import Propose, Stop, Wait
from archive.tree import Tree
from search.policies.base import Choice, Operators
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.stagnation import StagnationHandling


@dataclass(frozen=True)
class Tournament:
    """Draw ``size`` scored nodes and improve the best of them, with an operator that is drawn by weight.

    A policy is a pure function of (tree, rng): no I/O, no clock, no state of its own.
    """

    size: int = 3
    baseline: BaselineRuns = field(default_factory=BaselineRuns)
    stagnation: StagnationHandling = field(default_factory=StagnationHandling)

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """Return the next move; ``Wait`` until something pending lands, ``Stop`` with a reason."""
        if (first := self.baseline.choose(tree) or self.stagnation.stop(tree)) is not None:
            return first
        places = np.flatnonzero(tree.eligible())
        drawn = rng.choice(places, size=min(self.size, len(places)), replace=False)
        parent = tree.nodes[max(drawn, key=lambda place: tree.ranks()[place])].node_id
        fitting = {
            name: view.weight
            for name, view in sorted(operators.items())
            if view.arity == 1 and view.weight > 0 and view.applies(tree, parent)
        }
        if not fitting:
            return Wait("no operator applies yet") if tree.open_moves else Stop(f"no operator applies to {parent}")
        weights = np.array(list(fitting.values()))
        return Propose(str(rng.choice(list(fitting), p=weights / weights.sum())), (parent,))
