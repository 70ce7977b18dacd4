"""Stagnation: the changes to a search after refusals in a row, or when its best score no longer improves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archive.records import Propose, Stop
from archive.tree import Tree
from search.claims.statistics import seed_deviation
from search.policies import validation
from search.policies.base import Widened
from search.policies.selection.values import oriented
from search.policies.tree_cache import Mask, cache_of


@dataclass(frozen=True)
class Standstill:
    """``candidates`` were evaluated since the node ``since`` improved on the best before it, without an improvement."""

    since: str
    candidates: int


@dataclass(frozen=True)
class StagnationHandling:
    """After ``widen_after`` refusals in a row any scored node may be the parent; after ``stop_after`` the search stops.

    With ``patience``, a search also widens after that many candidates in a row that do not improve on the best by more
    than the seed deviation (by anything, while that is unknown), until one does. Meanwhile a share ``elsewhere`` of the
    choices is made away from the leader: drafts, and the policy's own choice among the nodes of all branches but the
    leader's (a branch descends from one child of the root). Small steps add up: an improvement is measured from the
    best at the previous improvement. null turns it off.

    While widened, an operator's weight is divided by one plus its number of recent fruitless proposals, which favours
    the operators that were used less.

    Source: the winner of FML-bench widened its exploration on stagnation. Raises ValueError unless
    1 <= widen_after <= stop_after, and for other invalid numbers.
    """

    widen_after: int = 5
    stop_after: int = 25
    patience: int | None = None
    elsewhere: float = 0.5

    def __post_init__(self) -> None:
        validation.whole("widening.widen_after", self.widen_after, 1)
        validation.whole("widening.stop_after", self.stop_after, 1)
        if self.widen_after > self.stop_after:
            raise ValueError(
                f"policy.widening has widen_after={self.widen_after} and stop_after={self.stop_after}; "
                "expected 1 <= widen_after <= stop_after"
            )
        if self.patience is not None:
            validation.whole("widening.patience", self.patience, 1)
        validation.number("widening.elsewhere", self.elsewhere, 0, 1)

    @property
    def ordinal(self) -> bool:
        """False with ``patience``: a standstill is measured by the seed deviation, not by the order of scores."""
        return self.patience is None

    def refused(self, tree: Tree) -> bool:
        """Return whether the latest ``widen_after`` proposals were all refused."""
        return tree.refused_in_a_row >= self.widen_after

    def stop(self, tree: Tree) -> Stop | None:
        """Return ``Stop`` after ``stop_after`` refusals in a row, else None."""
        if tree.refused_in_a_row < self.stop_after:
            return None
        names = ", ".join(f"{name} ({times})" for name, times in sorted(_latest(tree, tree.refused_in_a_row).items()))
        return Stop(
            f"{tree.refused_in_a_row} proposals in a row came to nothing: {names}. "
            "The operators seem exhausted; the archive's refusals give the reason of each."
        )

    def standstill(self, tree: Tree) -> Standstill | None:
        """Return the present standstill once ``patience`` is exceeded, else None."""
        if self.patience is None or len(tree) <= self.patience:
            return None
        sigma = seed_deviation(tree)
        last = _last_improvement(tree, 0.0 if sigma is None else sigma.value)
        if last is None:
            return None
        candidates = int((tree.eligible() | tree.failed())[last + 1 :].sum())
        return Standstill(tree.nodes[last].node_id, candidates) if candidates >= self.patience else None

    def state(self, tree: Tree) -> Widened | None:
        """Return why the search is widened now and since which node; None if it is not."""
        if not len(tree):
            return None
        if self.refused(tree):
            last = tree.nodes[-1].node_id
            words = (
                f"{self.widen_after} proposals in a row came to nothing after node {last[:8]}: "
                "any scored node may be a parent now, and the operators of those proposals step back"
            )
            return Widened("refusals", last, words)
        if (stuck := self.standstill(tree)) is not None:
            words = (
                f"{self.patience} candidates have not improved on {stuck.since[:8]} by more than noise: "
                f"{self.elsewhere:.0%} of the choices are made away from the leader now (drafts, other branches), and "
                "operators that were used little come to the fore"
            )
            return Widened("standstill", stuck.since, words)
        return None

    def others(self, tree: Tree, rng: np.random.Generator) -> Mask | None:
        """Return [N] the nodes outside the leader's branch, with probability ``elsewhere`` at a standstill; or None."""
        if self.standstill(tree) is None or rng.random() >= self.elsewhere:
            return None
        leader, branches = tree.leader(), cache_of(tree).branches
        assert leader is not None  # a standstill has a best node
        others: Mask = (branches != branches[tree.index[leader]]) & tree.eligible()
        others[0] = False  # the root belongs to no branch; drafts start there
        return others

    def weights(self, tree: Tree, weights: Mapping[str, float]) -> Mapping[str, float]:
        """Return the operators' weights, lowered for those of the latest proposals while the search is widened."""
        if self.refused(tree):
            recent = _latest(tree, tree.refused_in_a_row)
        elif self.standstill(tree) is not None:
            recent = _latest(tree, self.patience or 0)
        else:
            return weights
        return {name: weight / (1 + recent[name]) for name, weight in weights.items()}


def _last_improvement(tree: Tree, margin: float) -> int | None:
    """Return the place of the last improvement, in order of arrival, by more than ``margin``; None without a score."""
    values = oriented(tree)
    valid = np.flatnonzero(~np.isnan(values))
    if not len(valid):
        return None
    highest = np.maximum.accumulate(values[valid])
    records = valid[np.flatnonzero(np.diff(highest, prepend=-np.inf) > 0)]
    last = int(records[0])
    for place in records[1:].tolist():
        if values[place] > values[last] + margin:
            last = place
    return last


def _latest(tree: Tree, count: int) -> Counter[str]:
    """Count the operators of the latest ``count`` proposals."""
    counts: Counter[str] = Counter()
    for record in reversed(tree.moves.values()):
        if counts.total() >= count:
            break
        if isinstance(record.move, Propose) and record.move.parents:
            counts[record.move.operator] += 1
    return counts
