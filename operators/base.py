"""The protocol of operators: make a candidate from (move, context), or state why there is none.

To add an operator, write a class with the members of ``Operator``, and a YAML file under ``conf/operators/`` that names
it with ``_target_``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from archive.noise import SeedDeviation
from archive.records import Candidate, Move, Propose
from archive.tree import Tree
from prepare.task import Task

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Run one SQL statement with its parameters over the committed rows of the archive: ``Archive.query``."""


def _passes(files: Mapping[str, str]) -> str | None:
    """Accept all files."""
    return None


@dataclass(frozen=True)
class Context:
    """Inputs of a proposal. ``rng`` is derived from (search seed, move number)."""

    task: Task
    tree: Tree
    rng: np.random.Generator
    run: str
    move_number: int
    sigma: SeedDeviation | None
    """Estimated standard deviation of the score between seeds; None before the root's replicates."""
    program: str
    """The text of the task's ``program.md``."""
    known: Container[str] = frozenset()
    """Fingerprints (``operators.languages.fingerprint``) of all candidates so far: a known one would be refused."""
    gate: Callable[[Mapping[str, str]], str | None] = _passes
    """Return why files would be refused before evaluation, or None, so that an answer can be repaired in time."""
    query: Query | None = None
    """Read-only SQL over the archive; None without one. Must not be called with ``tree.lock`` held."""

    @property
    def typical_noise(self) -> float | None:
        """The estimate of ``sigma`` itself, for what is no decision on a score."""
        return None if self.sigma is None else self.sigma.value


@dataclass(frozen=True)
class NoCandidate:
    """A proposal without a candidate, and the reason. It counts as a visit of its parents."""

    reason: str
    unavailable: bool = False
    """The model's service could not answer, retries included; an immediate second call would fail as well."""


class Operator(Protocol):
    """Makes candidates from one or two parents."""

    name: str
    arity: int
    """Number of parents: 1, or 2 for a crossover."""

    @property
    def needs_llm(self) -> bool:
        """True if a proposal would call a language model, which takes long. May change when the model is closed."""
        ...

    def applies(self, tree: Tree, node_id: str) -> bool:
        """Return whether ``node_id`` can be the (first) parent: a failed node for ``debug``, else a scored one.

        Policies call it often, so it must be fast.
        """
        ...

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        """Return a candidate, or why there is none. Runs beside evaluations; may take long, must not write anything."""
        ...


@runtime_checkable
class KnowsTask(Protocol):
    """An operator whose ``applies`` depends on the task, which is set before the search begins."""

    def set_task(self, task: Task) -> None: ...


@runtime_checkable
class CanBeSpent(Protocol):
    """An operator that may have tried everything it can."""

    def spent(self) -> str:
        """Return what was tried in full and what to do about it; empty if nothing was."""
        ...


Operators = Mapping[str, Operator]

__all__ = ["CanBeSpent", "Candidate", "Context", "KnowsTask", "Move", "NoCandidate", "Operator", "Operators", "Propose"]
