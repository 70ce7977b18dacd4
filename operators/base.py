"""An operator makes a child: (move, context) to a candidate, or a stated reason why none came.

To add one: a class with ``name``, ``arity`` and ``propose`` in one Python file, and one YAML file under
``conf/operators/`` that names it with ``_target_``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archive.records import Candidate, Move, Propose
from archive.tree import Tree
from operators.rewrite.prompt.insights import Query
from prepare.task import Task


def _passes(files: Mapping[str, str]) -> str | None:
    """The gate of those who have none."""
    return None


@dataclass(frozen=True)
class Context:
    """What an operator may look at. ``rng`` is derived from (search seed, move number)."""

    task: Task
    tree: Tree
    rng: np.random.Generator
    run: str
    move_number: int
    sigma: float | None
    """Seed deviation of the score as known so far; None before the root's replicates."""
    program: str
    """The text of the task's ``program.md``."""
    known: Container[str] = frozenset()
    """``operators.languages.fingerprint.normalised`` of every candidate so far, so that an operator can try once more
    itself."""
    gate: Callable[[Mapping[str, str]], str | None] = _passes
    """Why files would be refused before they are trained, or None: an answer can be repaired while there is time."""
    query: Query | None = None
    """SQL over the whole archive, for reading; None where there is none. Not to be called with ``tree.lock`` held."""


@dataclass(frozen=True)
class NoCandidate:
    """A proposal that came to nothing, and why. It charges its parents."""

    reason: str
    unavailable: bool = False
    """The model's service could not answer, retries included: to ask again at once would not help."""


class Operator(Protocol):
    """How a child is made."""

    name: str
    arity: int
    """Parents that it needs: 1, or 2 for a crossover."""

    @property
    def needs_llm(self) -> bool:
        """Whether it would ask a language model now, and so takes long. May change when the model is closed."""
        ...

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Whether ``node_id`` can be its (first) parent. ``debug`` wants failed nodes, the others scored ones."""
        ...

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """May take long (a language model); runs beside evaluations and must not write anywhere."""
        ...


Operators = Mapping[str, Operator]

__all__ = ["Candidate", "Context", "Move", "NoCandidate", "Operator", "Operators", "Propose"]
