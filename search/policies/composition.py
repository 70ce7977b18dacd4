"""The composition behind every ``conf/policy/*.yaml``: a node score and a sampler, with the parts around them.

The next move is the first of these that has one:

    opening    score the root, then replicate it
    widening   stop after too many refusals in a row
    recheck    replicate the leader where the ranking hangs on one run
    drafting   the first proposals, from the root
    repair     debug a failed leaf
    the rest   sampler(score(tree)) picks a scored node, the operators that apply to it are drawn by weight
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from archive.records import Propose, Stop, Wait
from archive.tree import Floats, Tree
from search.policies.base import Choice, Operators, OperatorView
from search.policies.drafting import Drafting
from search.policies.mating import Mating, RankMating
from search.policies.opening import Opening
from search.policies.recheck import Recheck
from search.policies.repair import Repair
from search.policies.samplers import Sampler, Uniform
from search.policies.scores import Equal, NodeScore
from search.policies.widening import Widening

TRIES = 64
"""Nodes looked at for one that an operator applies to, before the policy gives up."""


@dataclass(frozen=True)
class Composition:
    """A policy put together from parts. A pure function of (tree, rng); see ``search.policies.base.Policy``."""

    score: NodeScore
    sampler: Sampler
    opening: Opening = field(default_factory=Opening)
    recheck: Recheck = field(default_factory=Recheck)
    drafting: Drafting = field(default_factory=Drafting)
    repair: Repair = field(default_factory=Repair)
    mating: Mating = field(default_factory=RankMating)
    widening: Widening = field(default_factory=Widening)

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """The next move, ``Wait`` until something lands, or ``Stop`` with the reason."""
        operators = {name: operators[name] for name in sorted(operators)}  # the order of a config file decides nothing
        return (
            self.opening.choose(tree)
            or self.widening.stop(tree)
            or self.recheck.choose(tree)
            or self._first_drafts(tree, rng, operators)
            or self.repair.choose(tree, rng, operators)
            or self._improve(tree, rng, operators)
            or self._nothing(tree)
        )

    def _first_drafts(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        if not self.drafting.due(tree):
            return None
        return self.drafting.choose(tree, operators) or self._breed(tree, 0, rng, self._improvers(tree, operators))

    def _improve(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        widened = self.widening.active(tree)
        if widened and (draft := self.drafting.widen(tree, rng, operators)):
            return draft
        scores = Equal()(tree) if widened else self.score(tree)
        sampler = Uniform() if widened else self.sampler
        improvers = self._improvers(tree, operators)
        for _ in range(TRIES if improvers else 0):
            place = sampler(scores, rng)
            if place is None:
                return None
            if not tree.suspect(tree.nodes[place].node_id) and (move := self._breed(tree, place, rng, improvers)):
                return move
            scores[place] = np.nan
        return None

    def _improvers(self, tree: Tree, operators: Operators) -> dict[str, tuple[OperatorView, float]]:
        """The operators for scored nodes with their weights in force, those without weight left out."""
        weights: Mapping[str, float] = self.widening.weights(tree, operators)
        names = (name for name in operators if weights[name] > 0 and name not in self.repair.operators)
        return {name: (operators[name], weights[name]) for name in names}

    def _breed(
        self, tree: Tree, place: int, rng: np.random.Generator, improvers: Mapping[str, tuple[OperatorView, float]]
    ) -> Propose | None:
        """A proposal by one of the operators that apply to the node, drawn by weight; None where none does."""
        parent = tree.nodes[place].node_id
        left = {name: item for name, item in improvers.items() if item[0].applies(tree, parent)}
        while left:
            name = _draw({name: weight for name, (_, weight) in left.items()}, rng)
            view, _ = left.pop(name)
            if view.arity == 1:
                return Propose(name, (parent,))
            partner = self.mating.partner(tree, place, rng)
            if partner is not None:
                return Propose(name, (parent, tree.nodes[partner].node_id))
        return None

    def _nothing(self, tree: Tree) -> Wait | Stop:
        if tree.open_moves:
            return Wait("no operator applies to a scored node; something pending may change that")
        return Stop(
            f"no operator applies to any scored node of the {len(tree)} in the tree. "
            "Choose another set with operators=, or give one of them a weight above 0."
        )


def _draw(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """One name with probability proportional to its weight."""
    names = list(weights)
    cumulative: Floats = np.cumsum(list(weights.values()), dtype=np.float64)
    drawn = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return names[min(drawn, len(names) - 1)]
