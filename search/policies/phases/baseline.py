"""Baseline phase: the root is scored once, then replicated until its seed deviation is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from archive.records import Failed, Replicate, Stop, Wait
from archive.tree import Tree
from search.policies import validation
from search.policies.base import screening_count


@dataclass(frozen=True)
class BaselineRuns:
    """Screens the root before any proposal, and replicates it to ``root_runs`` screenings.

    Slots that would wait for the first score start with the replicates at once. Failed and pending screenings count, so
    a root that fails occasionally cannot keep the search in this phase. Proposals do not wait for the replicates, which
    are merely chosen first. The root of a deterministic task is scored once; that two of its runs are equal, case by
    case, makes no task deterministic: a child may draw random numbers where the root draws none. A root that fails its
    first runs stops the search: there is nothing to search from. Raises ValueError for ``root_runs`` < 1.
    """

    ordinal: ClassVar[bool] = True
    root_runs: int = 3

    def __post_init__(self) -> None:
        validation.whole("opening.root_runs", self.root_runs, 1)

    def choose(self, tree: Tree) -> Replicate | Wait | Stop | None:
        """Return the next move of this phase, or None when it is over."""
        if len(tree) == 0:
            return Wait("the root is not in the tree yet")
        tried = screening_count(tree, tree.root)
        if tree.runs[0] == 0:
            return self._first_score(tree, tried)
        return self._replicate(tree, tried)

    def _replicate(self, tree: Tree, tried: int) -> Replicate | None:
        if tried >= (1 if tree.deterministic else self.root_runs):
            return None
        return Replicate(tree.root, reason=f"seed deviation of the root: run {tried + 1} of {self.root_runs}")

    def _first_score(self, tree: Tree, tried: int) -> Replicate | Wait | Stop:
        if tree.waiting(tree.root) or tree[tree.root].move in tree.open_moves:
            failed = bool(tree.failures(tree.root))  # no more is spent before one of its runs has scored
            return (None if failed else self._replicate(tree, tried)) or Wait("the root is not scored yet")
        if tried == 0:  # after a change of hardware, for example
            return Replicate(tree.root, reason="the root has no score under the present conditions")
        last = tree.evaluations[tree.root][-1]
        why = f"{last.outcome}: {last.reason}" if isinstance(last, Failed) else last.outcome
        return Stop(f"the seed program failed its first run ({why}), so there is nothing to search from")
