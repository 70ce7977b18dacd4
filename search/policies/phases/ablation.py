"""The policy of ``python -m search ablate``: every removal once, then each node to the wanted number of runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from archive.records import Propose, Replicate, Stop, Wait
from archive.tree import Tree
from search.policies.base import Choice, Operators, screening_count


@dataclass(frozen=True)
class Ablation:
    """A pure function of the tree. ``removals``: number of proposals; ``runs``: screenings of each node."""

    removals: int
    runs: int
    operator: str = "ablate"

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """Return the next move: all nodes get their first run before any gets its second."""
        proposed = sum(
            isinstance(record.move, Propose) and record.move.operator == self.operator for record in tree.moves.values()
        )
        if proposed < self.removals:
            return Propose(self.operator, (tree.root,))
        worth_running = (node.node_id for node in tree.nodes if not self._hopeless(tree, node.node_id))
        tried = {node_id: screening_count(tree, node_id) for node_id in worth_running}
        least = min(tried.values(), default=self.runs)
        if least < self.runs:
            return Replicate(next(node_id for node_id, count in tried.items() if count == least))
        if tree.open_moves:
            return Wait("the last runs are under way")
        return Stop("every step has been taken out as often as was asked")

    def _hopeless(self, tree: Tree, node_id: str) -> bool:
        """Return whether a node has failed and never scored: a program that fails without a step fails again."""
        return node_id != tree.root and bool(tree.failures(node_id)) and not tree.scores(node_id)
