"""The interface of policies and operators, and the count of screenings that several phases use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from archive.records import Propose, Replicate, Stop, Wait, WidenedCode
from archive.tree import Tree

Choice = Propose | Replicate | Wait | Stop
"""A move to make now; ``Wait`` until something pending lands; or ``Stop`` the search."""


@dataclass(frozen=True)
class OperatorView:
    """An operator as a policy sees it. Raises ValueError for an invalid arity or weight."""

    name: str
    arity: int
    """Number of parents: 1, or 2 for a crossover."""
    weight: float
    """Its share of the draws, relative to the other operators that apply; 0 excludes it."""
    applies: Callable[[Tree, str], bool]
    """Return whether a node can be its (first) parent."""
    spent: Callable[[], str] = str
    """Return what the operator has tried in full, for the user; empty if nothing."""

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


def spent_words(operators: Operators) -> list[str]:
    """List what the operators have tried in full, a sentence each."""
    return [words for view in operators.values() if (words := view.spent())]


class Policy(Protocol):
    """Decides the next move: a pure function of (tree, rng), without I/O, clock or state.

    The engine derives ``rng`` from (search seed, move number), so a resumed search makes the same choices.
    """

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """Return the next move. Pending moves are in ``tree.open_moves``, and counted in ``tree.visits``.

        ``tree.pinned()`` marks the branches that the user wants proposals from; banned ones are not eligible.
        """
        ...


@dataclass(frozen=True)
class Widened:
    """Why the search is widened. ``code`` and ``node_id`` are equal for as long as one episode lasts."""

    code: WidenedCode
    node_id: str
    """The node since which it lasts."""
    words: str
    """For the user."""


@runtime_checkable
class StateReporter(Protocol):
    """A policy that reports when it widens the search."""

    def state(self, tree: Tree) -> Widened | None:
        """Return why the search is widened now; None if it is not. Pure."""
        ...


def screening_count(tree: Tree, node_id: str) -> int:
    """Count the screenings of a node under the present conditions: scored, failed and pending ones."""
    failed = sum(e.outcome not in ("scored", "lost") for e in tree.comparable(node_id))
    first_pending = tree[node_id].move in tree.open_moves
    return int(tree.runs[tree.index[node_id]]) + failed + tree.waiting(node_id) + first_pending
