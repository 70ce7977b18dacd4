"""Draft phase: new programs from the root, at the beginning and when a search stagnates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.records import Propose
from archive.tree import Tree
from search.policies import validation
from search.policies.base import Operators


@dataclass(frozen=True)
class InitialDrafts:
    """The first ``count`` proposals start from the root; a stagnating search drafts with probability ``share``.

    ``operators`` names the operators that write a whole new program. In a search without them, the first proposals are
    children of the root by any operator that applies. Raises ValueError for invalid numbers.
    """

    ordinal: ClassVar[bool] = True
    count: int = 0
    share: float = 0.5
    operators: Sequence[str] = ("draft",)

    def __post_init__(self) -> None:
        validation.whole("drafting.count", self.count, 0)
        validation.number("drafting.share", self.share, 0, 1)

    def due(self, tree: Tree) -> bool:
        """Return whether the root has fewer than ``count`` children, pending and refused ones included."""
        return int(tree.visits[0]) < self.count

    def choose(self, tree: Tree, operators: Operators) -> Propose | None:
        """Return a draft from the root by the first drafting operator that applies to it, or None."""
        for name in self.operators:
            view = operators.get(name)
            if view is not None and view.weight > 0 and view.applies(tree, tree.root):
                return Propose(name, (tree.root,))
        return None

    def widen(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        """Return a draft with probability ``share``, else None."""
        return self.choose(tree, operators) if rng.random() < self.share else None
