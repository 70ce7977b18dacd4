"""Drafting: new starts from the root, at the beginning or when a search is stuck."""

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
    """The first ``count`` proposals start from the root; a widened search drafts with probability ``share``.

    ``operators`` names those that write a whole new program. Where a search has none of them, the first proposals are
    the root's children by any operator that applies. Raises ValueError for numbers that make no sense.
    """

    ordinal: ClassVar[bool] = True
    count: int = 0
    share: float = 0.5
    operators: Sequence[str] = ("draft",)

    def __post_init__(self) -> None:
        validation.whole("drafting.count", self.count, 0)
        validation.number("drafting.share", self.share, 0, 1)

    def due(self, tree: Tree) -> bool:
        """Whether the root still lacks some of its first ``count`` children, pending and refused ones counted."""
        return int(tree.visits[0]) < self.count

    def choose(self, tree: Tree, operators: Operators) -> Propose | None:
        """A draft from the root by the first drafting operator that applies to it."""
        for name in self.operators:
            view = operators.get(name)
            if view is not None and view.weight > 0 and view.applies(tree, tree.root):
                return Propose(name, (tree.root,))
        return None

    def widen(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        """A draft with probability ``share``, for a search that is stuck."""
        return self.choose(tree, operators) if rng.random() < self.share else None
