"""Debug phase: failed nodes go to debugging operators, and to no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.records import Propose
from archive.tree import Tree
from search.policies import validation
from search.policies.base import Operators
from search.policies.tree_cache import Mask


@dataclass(frozen=True)
class Debugging:
    """With ``probability``, draws a failed leaf uniformly and proposes a debugging operator for it.

    A leaf has no children, pending and refused ones included. A leaf below ``max_depth`` failed nodes in a row is given
    up. ``operators`` names the debugging operators; a search without them debugs nothing. Raises ValueError for invalid
    numbers.
    Source: AIDE (Jiang et al. 2025, "AIDE: AI-driven exploration in the space of code"), with p = 0.5 and depth 3.
    """

    ordinal: ClassVar[bool] = True
    probability: float = 0.5
    max_depth: int = 3
    operators: Sequence[str] = ("debug",)
    tries: int = 8

    def __post_init__(self) -> None:
        validation.number("repair.probability", self.probability, 0, 1)
        validation.whole("repair.max_depth", self.max_depth, 0)
        validation.whole("repair.tries", self.tries, 1)

    def choose(
        self, tree: Tree, rng: np.random.Generator, operators: Operators, members: Mask | None = None
    ) -> Propose | None:
        """Return a proposal to debug a failed leaf (of ``members`` [N], in a population), or None."""
        names = [name for name in self.operators if name in operators and operators[name].weight > 0]
        if not names or rng.random() >= self.probability:
            return None
        failed = tree.failed()
        leaves = np.flatnonzero(failed & (tree.visits == 0) & (True if members is None else members))
        for _ in range(min(self.tries, len(leaves))):
            drawn = int(rng.integers(len(leaves)))
            leaf = int(leaves[drawn])
            leaves = np.delete(leaves, drawn)
            node_id = tree.nodes[leaf].node_id
            if self._depth(tree, leaf, failed) > self.max_depth:
                continue
            for name in names:
                if operators[name].applies(tree, node_id):
                    return Propose(name, (node_id,))
        return None

    def _depth(self, tree: Tree, place: int, failed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
        """Count the failed nodes in a row that end with this one, up to ``max_depth`` + 1."""
        depth = 0
        while place >= 0 and failed[place] and depth <= self.max_depth:
            depth += 1
            place = int(tree.places[place])
        return depth
