"""The composition behind every ``conf/policy/*.yaml``: a node score and a sampler, with phases around them.

The next move is the first of these that has one:

    opening    score the root, then replicate it
    widening   stop after too many refusals in a row
    recheck    replicate the leader where the ranking depends on one run
    pins       a scored or failed node of a branch that the user pinned, while an operator applies there
    drafting   the first proposals, from the root
    repair     debug a failed leaf
    the rest   sampler(score(tree)) picks a scored node; the operators that apply to it are drawn by their credit

``population`` restricts the parents: to an island or the elites (null: no restriction). ``mating`` draws the second
parent of a crossover. When the search stagnates, ``widening`` says where else to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from archive.records import Propose, Stop, Wait
from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.base import Choice, Operators, OperatorView, Widened, spent_words
from search.policies.credit import FixedWeights, OperatorCredit
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.debug import Debugging
from search.policies.phases.drafts import InitialDrafts
from search.policies.phases.replicate import LeaderReplication
from search.policies.phases.stagnation import StagnationHandling
from search.policies.population.islands import Pool, Population
from search.policies.population.partners import PartnerSelection, RankPartner
from search.policies.selection.samplers import Sampler, Uniform, draw
from search.policies.selection.scores import Equal, NodeScore
from search.policies.tree_cache import Mask

_METHODS = {
    "score": "__call__", "sampler": "__call__", "opening": "choose", "recheck": "choose", "drafting": "choose",
    "repair": "choose", "mating": "partner", "widening": "stop", "credit": "weights",
}  # fmt: skip
"""What each part of a composition is asked for."""
TRIES = 64
"""Nodes to try until an operator applies to one."""

Improvers = Mapping[str, tuple[OperatorView, float]]
"""Operators for scored nodes with their present weights."""


@dataclass(frozen=True)
class Composition:
    """A policy composed of parts. A pure function of (tree, rng); see ``search.policies.base.Policy``."""

    score: NodeScore
    sampler: Sampler
    opening: BaselineRuns = field(default_factory=BaselineRuns)
    recheck: LeaderReplication = field(default_factory=LeaderReplication)
    drafting: InitialDrafts = field(default_factory=InitialDrafts)
    repair: Debugging = field(default_factory=Debugging)
    mating: PartnerSelection = field(default_factory=RankPartner)
    widening: StagnationHandling = field(default_factory=StagnationHandling)
    credit: OperatorCredit = field(default_factory=FixedWeights)
    population: Population | None = None

    def __post_init__(self) -> None:
        for key, method in _METHODS.items():
            validation.part(key, getattr(self, key), method)
        if self.population is not None:
            validation.part("population", self.population, "pool")

    @property
    def ordinal(self) -> bool:
        """True if every part declares that it uses only the order of scores; no declaration counts as False."""
        parts = (self.score, self.sampler, self.mating, self.widening, self.credit, self.population)
        return all(getattr(part, "ordinal", False) for part in parts if part is not None)

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        """Return the next move, ``Wait`` until something lands, or ``Stop`` with the reason."""
        operators = {name: operators[name] for name in sorted(operators)}  # independent of the order in the config file
        return (
            self.opening.choose(tree)
            or self.widening.stop(tree)
            or self.recheck.choose(tree)
            or self._pinned(tree, rng, operators)
            or self._initial_draft(tree, rng, operators)
            or self._repair_or_improve(tree, rng, operators)
            or self._nothing(tree, operators)
        )

    def state(self, tree: Tree) -> Widened | None:
        """Return why the search is widened now; None if it is not."""
        return self.widening.state(tree)

    def _pinned(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        """Propose in the branches that the user pinned; None without pins, and where no operator applies to them."""
        if (pinned := tree.pinned()) is None:
            return None
        debugging = self.repair.choose(tree, rng, operators, pinned)
        return debugging or self._propose_among(tree, rng, self._improvers(tree, operators), None, pinned)

    def _initial_draft(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        if not self.drafting.due(tree):
            return None
        return self.drafting.choose(tree, operators) or self._breed(
            tree, 0, rng, self._improvers(tree, operators), None
        )

    def _repair_or_improve(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Propose | None:
        refused = self.widening.refused(tree)
        pool = None if self.population is None or refused else self.population.pool(tree, rng)
        residents = None if pool is None else pool.residents
        if (debugging := self.repair.choose(tree, rng, operators, residents)) is not None:
            return debugging
        improvers = self._improvers(tree, operators)
        if refused:
            draft = self.drafting.widen(tree, rng, operators)
            return draft or self._improve(tree, rng, improvers, None, Uniform(), Equal()(tree))
        if (others := self.widening.others(tree, rng)) is not None:
            draft = self.drafting.widen(tree, rng, operators)
            elsewhere = draft or self._propose_among(tree, rng, improvers, pool, others)
            if elsewhere is not None:
                return elsewhere
        # Without a possible parent in the pool (no partner for the only operator), parents from outside are tried.
        move = self._propose_among(tree, rng, improvers, pool, None)
        return move if move is not None or pool is None else self._propose_among(tree, rng, improvers, None, None)

    def _propose_among(
        self, tree: Tree, rng: np.random.Generator, improvers: Improvers, pool: Pool | None, others: Mask | None
    ) -> Propose | None:
        """Propose by the policy's own preference: in the whole tree, in a pool, or in other branches."""
        members = others if pool is None else pool.parents if others is None else pool.parents & others
        scores = self.score(tree) if members is None else self.score(tree, members)
        return self._improve(tree, rng, improvers, None if pool is None else pool.partners, self.sampler, scores)

    def _improve(
        self,
        tree: Tree,
        rng: np.random.Generator,
        improvers: Improvers,
        partners: Mask | None,
        sampler: Sampler,
        scores: Floats,
    ) -> Propose | None:
        """Propose for the node that the sampler picks, or for the next one that an operator applies to."""
        for _ in range(TRIES if improvers else 0):
            place = sampler(tree, scores, rng)
            if place is None:
                return None
            if not tree.suspects[place] and (move := self._breed(tree, place, rng, improvers, partners)):
                return move
            scores[place] = np.nan
        return None

    def _improvers(self, tree: Tree, operators: Operators) -> Improvers:
        """Return the operators for scored nodes with their present weights, those with weight 0 left out."""
        weights = self.widening.weights(tree, self.credit.weights(tree, operators))
        names = (name for name in operators if weights[name] > 0 and name not in self.repair.operators)
        return {name: (operators[name], weights[name]) for name in names}

    def _breed(
        self, tree: Tree, place: int, rng: np.random.Generator, improvers: Improvers, partners: Mask | None
    ) -> Propose | None:
        """Propose by one of the operators that apply to the node, drawn by weight; None if none applies."""
        parent = tree.nodes[place].node_id
        left = {name: item for name, item in improvers.items() if item[0].applies(tree, parent)}
        for arities in self._arities(left, rng):
            drawn = {name: left[name] for name in left if left[name][0].arity in arities}
            while drawn:
                name = _draw({name: weight for name, (_, weight) in drawn.items()}, rng)
                if drawn.pop(name)[0].arity == 1:
                    return Propose(name, (parent,))
                partner = self.mating.partner(tree, place, rng, partners)
                if partner is not None:
                    return Propose(name, (parent, tree.nodes[partner].node_id))
        return None

    def _arities(self, left: Improvers, rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
        """Return the order of operators by number of parents: all at once, unless crossovers have a fixed share."""
        if self.mating.share is None or len({view.arity for view, _ in left.values()}) < 2:
            return ((1, 2),)
        return ((2,), (1,)) if rng.random() < self.mating.share else ((1,), (2,))

    def _nothing(self, tree: Tree, operators: Operators) -> Wait | Stop:
        if tree.open_moves:
            return Wait("no operator applies to a scored node; something pending may change that")
        if spent := " ".join(spent_words(operators)):
            return Stop(f"nothing is left to try. {spent}")
        return Stop(
            f"no operator applies to any scored node of the {len(tree)} in the tree. "
            "Choose another set with operators=, or give one of them a weight above 0."
        )


def _draw(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """Draw one name with probability proportional to its weight."""
    return list(weights)[draw(np.array(list(weights.values()), dtype=np.float64), rng)]
