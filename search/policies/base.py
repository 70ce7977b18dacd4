"""What a policy is asked and what it answers, and the questions about a node that several of its parts ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from archive.records import Propose, Replicate, Stop, Wait
from archive.tree import Tree

Choice = Propose | Replicate | Wait | Stop
"""A move to make now; or nothing until something pending lands; or nothing ever again."""


@dataclass(frozen=True)
class OperatorView:
    """All that a policy may know of an operator. Raises ValueError for an arity or a weight that makes no sense."""

    name: str
    arity: int
    """Parents that it needs: 1, or 2 for a crossover."""
    weight: float
    """Its share of the draws, relative to the others that apply; 0 leaves it out."""
    applies: Callable[[Tree, str], bool]
    """Whether a node can be its (first) parent."""

    def __post_init__(self) -> None:
        if self.arity not in (1, 2):
            raise ValueError(f"operator {self.name!r} has arity {self.arity}; expected 1, or 2 for a crossover")
        if not 0 <= self.weight < np.inf:
            raise ValueError(
                f"operator {self.name!r} has weight {self.weight}; expected a number of at least 0. "
                f"Set operators.{self.name}.weight."
            )


Operators = Mapping[str, OperatorView]
"""The operators of a search under the names that a ``Propose`` carries."""


class Policy(Protocol):
    """Decides the next move: a pure function of (tree, rng), with no I/O, no clock and no state of its own.

    The loop derives ``rng`` from (search seed, move number), so a resumed search chooses as the first one would have.
    """

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """The next move. Moves that are pending are in ``tree.open_moves``, and charged in ``tree.visits``."""
        ...


@runtime_checkable
class StateReporter(Protocol):
    """A policy that tells when it does something out of the ordinary."""

    def state(self, tree: Tree) -> str | None:
        """What is different now, for a person to read; the same words for as long as it lasts, else None. Pure."""
        ...


def screening_count(tree: Tree, node_id: str) -> int:
    """Screenings of a node under the present conditions: scored, failed and pending ones."""
    failed = sum(e.outcome not in ("scored", "lost") for e in tree.comparable(node_id))
    first_pending = tree[node_id].move in tree.open_moves
    return int(tree.runs[tree.index[node_id]]) + failed + tree.waiting(node_id) + first_pending
