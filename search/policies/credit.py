"""Operator credit: the weight of each operator, fixed or learned from its gains. Weights in the YAML file are priors.

A credit maps (tree, operators) to one weight per name; an operator is drawn with probability proportional to its weight
among those that apply. Pure functions of the tree, like all parts of a policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np

from archive.records import Node
from archive.tree import Floats, Ints, Tree
from search.policies import validation
from search.policies.base import Operators
from search.policies.tree_cache import cache_of

Unit = Literal["proposal", "evaluation", "second"]
UNITS = ("proposal", "evaluation", "second")
NEGLIGIBLE = 1e-3
"""Decayed proposals with a smaller weight are ignored."""


class OperatorCredit(Protocol):
    """Maps a tree to operator weights."""

    def weights(self, tree: Tree, operators: Operators) -> Mapping[str, float]:
        """Return a weight of at least 0 for each operator; 0 only for those whose YAML weight is 0."""
        ...


@dataclass(frozen=True)
class FixedWeights:
    """The constant weights of the YAML file."""

    ordinal: ClassVar[bool] = True

    def weights(self, tree: Tree, operators: Operators) -> Mapping[str, float]:
        return {name: view.weight for name, view in operators.items()}


@dataclass(frozen=True)
class AsymmetricUcb:
    """``w_o * max(floor, q_o / max_p q_p)`` with ``q_o = m_o / max_p m_p + c * sqrt(2 ln(1 + sum_p n_p) / (1 + n_o))``.

    ``w_o`` is the weight of the YAML file. The gain of a proposal is ``g = max(0, rank(child) - rank(best parent))``,
    with present ranks in [0, 1]: a worse child costs no more than a failed one, since one breakthrough pays for many
    failures. ``m_o = sum d^age g / sum d^age cost`` over the finished proposals of an operator, refused and failed ones
    with gain 0, age counted in proposals of all operators; ``n_o = sum d^age`` counts pending ones, too, so that
    parallel slots do not all choose one operator.

    ``per`` is the unit of cost: one ``proposal``; one ``evaluation`` (a refused proposal then costs nothing); or one
    ``second`` of evaluation. The second term keeps exploring every operator, and ``floor`` keeps at least that share of
    its YAML weight. No operator with a weight above 0 ever gets 0.

    Sources: the asymmetric UCB over language models of ShinkaEvolve (Lange, Imajuku and Cetin 2025; decay 0.95, clipped
    gains over the parent, normalised by the best); adaptive operator selection (Fialho et al. 2010, "Analyzing bandit-
    based adaptive operator selection mechanisms"). There the best index is taken; here operators are drawn by it, so
    that parallel slots differ and the priors keep their influence.
    """

    ordinal: ClassVar[bool] = True
    c: float = 0.5
    decay: float = 0.95
    per: Unit = "proposal"
    floor: float = 0.1

    def __post_init__(self) -> None:
        validation.number("credit.c", self.c, 0)
        validation.number("credit.decay", self.decay, 0.5, 0.999)
        validation.choice("credit.per", self.per, UNITS)
        validation.number("credit.floor", self.floor, 0.001, 1, why="so that no operator is starved")

    def weights(self, tree: Tree, operators: Operators) -> Mapping[str, float]:
        means, counts = self._merits(tree, operators)
        best = max(means.values(), default=0.0)
        spread = 2 * math.log1p(sum(counts.values()))
        index = {
            name: (means[name] / best if best > 0 else 0.0) + self.c * math.sqrt(spread / (1 + counts[name]))
            for name in operators
        }
        top = max((index[name] for name, view in operators.items() if view.weight > 0), default=0.0)
        return {
            name: view.weight * (max(self.floor, index[name] / top) if top > 0 else 1.0)
            for name, view in operators.items()
        }

    def _merits(self, tree: Tree, operators: Operators) -> tuple[dict[str, float], dict[str, float]]:
        """Return mean gain per unit of cost, and decayed number of proposals, by operator."""
        known = cache_of(tree)
        window = math.ceil(math.log(NEGLIGIBLE) / math.log(self.decay))
        numbers = np.flatnonzero(known.proposals >= 0)[-window:]
        codes, made = known.proposals[numbers], known.made[numbers]
        weights = self.decay ** np.arange(len(numbers) - 1, -1, -1, dtype=np.float64)
        landed = np.array([number not in tree.open_moves for number in numbers.tolist()], dtype=np.bool_)
        gains, costs = _gains(tree, made), self._costs(tree, made)
        means, counts = {}, {}
        for name in operators:
            mine = codes == (known.names.index(name) if name in known.names else -2)
            cost = float((weights * costs)[mine & landed].sum())
            means[name] = float((weights * gains)[mine & landed].sum()) / cost if cost > 0 else 0.0
            counts[name] = float(weights[mine].sum())
        return means, counts

    def _costs(self, tree: Tree, made: Ints) -> Floats:
        """Return [K] the cost of each proposal, in units of ``per``."""
        if self.per == "proposal":
            return np.ones(len(made))
        if self.per == "evaluation":
            return np.where(made >= 0, 1.0, 0.0)
        ready = (tree.runs > 0) | tree.failed()
        seconds = np.nan_to_num(cache_of(tree).cached_feature(tree, "seconds", _first_seconds, ready))
        return np.where(made >= 0, seconds[made], 0.0)


def _gains(tree: Tree, made: Ints) -> Floats:
    """Return [K] ``max(0, rank(child) - rank(best parent))`` of the nodes at places [K]; 0 without a score."""
    ranks, second_parents = tree.ranks(), cache_of(tree).second_parents
    first, second = tree.places[made], second_parents[made]
    with np.errstate(invalid="ignore"):
        parents = np.fmax(np.where(first >= 0, ranks[first], np.nan), np.where(second >= 0, ranks[second], np.nan))
        gains = np.where(made >= 0, ranks[made] - parents, np.nan)
    return np.asarray(np.maximum(0.0, np.nan_to_num(gains)), dtype=np.float64)


def _first_seconds(tree: Tree, node: Node) -> float | None:
    """Return the seconds of the node's first evaluation that was not lost."""
    return next((e.resources.seconds for e in tree.evaluations[node.node_id] if e.outcome != "lost"), None)
