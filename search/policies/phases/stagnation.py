"""Widening: what changes when a search is stuck, by refusals in a row or because its best does not improve any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archive.records import Propose, Stop
from archive.tree import Tree
from search.claims.statistics import screening_sigma
from search.policies import validation
from search.policies.selection.values import oriented
from search.policies.tree_cache import Mask, cache_of


@dataclass(frozen=True)
class Standstill:
    """``candidates`` were trained since the node ``since`` improved on the best before it, and none has done so
    again."""

    since: str
    candidates: int


@dataclass(frozen=True)
class StagnationHandling:
    """After ``widen_after`` refusals in a row any scored node may be the parent; after ``stop_after`` the search stops.

    With ``patience``, a search also widens once so many candidates were trained in a row without one that improves on
    the best by more than the seed deviation (by anything, where that is not known), until one does. Meanwhile a share
    ``elsewhere`` of the choices is made away from the leader: drafts, and the policy's own choice among the nodes of
    all branches but the leader's (a branch goes back to one child of the root). Small steps in a row add up: what
    counts is the distance to the best at the last improvement. null turns it off.

    While widened, an operator's weight is divided by one plus its share in the proposals that came to nothing, so the
    others come to the fore: those that change more, where small changes were the usual ones.

    Source: the winner of FML-bench widened its exploration on stagnation. Raises ValueError unless
    1 <= widen_after <= stop_after, and for other numbers that make no sense.
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
        """A standstill is told by the seed deviation, which is no matter of order."""
        return self.patience is None

    def refused(self, tree: Tree) -> bool:
        """Whether the latest proposals were refused, as many as widen the search."""
        return tree.refused_in_a_row >= self.widen_after

    def stop(self, tree: Tree) -> Stop | None:
        """The end of a search whose operators have nothing new to say."""
        if tree.refused_in_a_row < self.stop_after:
            return None
        names = ", ".join(f"{name} ({times})" for name, times in sorted(_latest(tree, tree.refused_in_a_row).items()))
        return Stop(
            f"{tree.refused_in_a_row} proposals in a row came to nothing: {names}. "
            "The operators seem to have nothing new left; the archive's refusals say why each was turned down."
        )

    def standstill(self, tree: Tree) -> Standstill | None:
        """What the search is stuck on, once its patience is used; else None."""
        if self.patience is None or len(tree) <= self.patience:
            return None
        last = _last_improvement(tree, screening_sigma(tree) or 0.0)
        if last is None:
            return None
        candidates = int((tree.eligible() | tree.failed())[last + 1 :].sum())
        return Standstill(tree.nodes[last].node_id, candidates) if candidates >= self.patience else None

    def state(self, tree: Tree) -> str | None:
        """What is different now and since when, in words that stay the same until it ends; None if nothing is."""
        if not len(tree):
            return None
        if self.refused(tree):
            return (
                f"{self.widen_after} proposals in a row came to nothing after node {tree.nodes[-1].node_id[:8]}: "
                "any scored node may be a parent now, and the operators of those proposals step back"
            )
        if (stuck := self.standstill(tree)) is not None:
            return (
                f"{self.patience} candidates have not improved on {stuck.since[:8]} by more than noise: "
                f"{self.elsewhere:.0%} of the choices are made away from the leader now (drafts, other branches), and "
                "operators that were used little come to the fore"
            )
        return None

    def others(self, tree: Tree, rng: np.random.Generator) -> Mask | None:
        """At a standstill and with probability ``elsewhere``: [N] the nodes of other branches than the leader's."""
        if self.standstill(tree) is None or rng.random() >= self.elsewhere:
            return None
        leader, branches = tree.leader(), cache_of(tree).branches
        assert leader is not None  # there is a best that does not improve
        others: Mask = (branches != branches[tree.index[leader]]) & tree.eligible()
        others[0] = False  # the root is everybody's ancestor, and drafts start there
        return others

    def weights(self, tree: Tree, weights: Mapping[str, float]) -> Mapping[str, float]:
        """The operators' weights, those of the latest proposals set back while the search is widened."""
        if self.refused(tree):
            recent = _latest(tree, tree.refused_in_a_row)
        elif self.standstill(tree) is not None:
            recent = _latest(tree, self.patience or 0)
        else:
            return weights
        return {name: weight / (1 + recent[name]) for name, weight in weights.items()}


def _last_improvement(tree: Tree, margin: float) -> int | None:
    """The place of the last node, in order of arrival, that beat the best at the improvement before by ``margin``."""
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
    """The operators of the latest ``count`` proposals."""
    counts: Counter[str] = Counter()
    for record in reversed(tree.moves.values()):
        if counts.total() >= count:
            break
        if isinstance(record.move, Propose) and record.move.parents:
            counts[record.move.operator] += 1
    return counts
