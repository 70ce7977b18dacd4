"""Node scores: how promising each node is.

A node score maps (tree, members) to [N] float64, higher is better, NaN for nodes that must not be improved: failed,
unscored and suspect nodes, and non-members. ``members`` [N] is the pool that a population chooses from; None is all
nodes. ``ordinal`` declares that only the order of raw scores is used, so that a monotone change of the metric changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.selection.backups import subtree_visits
from search.policies.selection.formula import flat_ucb
from search.policies.selection.values import NORMS, Norm, among, normalised, oriented, ranks
from search.policies.tree_cache import Mask, cache_of


class NodeScore(Protocol):
    """Scores all nodes."""

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        """Return [N] float64 aligned with ``tree.nodes``; a new array, NaN where a node must not be improved."""
        ...


@dataclass(frozen=True)
class _Normed:
    """A score based on the rank of a node's mean, on its min-max value, or on the mean as a share."""

    norm: Norm = field(default="rank", kw_only=True)

    def __post_init__(self) -> None:
        validation.choice("score.norm", self.norm, NORMS)

    @property
    def ordinal(self) -> bool:
        return self.norm == "rank"


@dataclass(frozen=True)
class FlatUcb(_Normed):
    """Flat UCB: ``r_i + c * sqrt(ln(1 + sum_j n_j) / (1 + n_i))`` over all valid nodes.

    ``r_i`` is the rank in [0, 1] of the node's mean (``norm``: or its min-max value), ``n_i`` its children including
    failed, refused and pending ones. Source: UCB1 (Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the
    multiarmed bandit problem") with the rank in place of the reward, as in the flat tree search of Google's ERA; one
    bandit over all nodes, no backup. c = 0.1 was the best of the measured ones.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number("score.c", self.c, 0, why="0 is greedy")

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        return flat_ucb(normalised(tree, self.norm, members), tree.visits, self.c)


@dataclass(frozen=True)
class Puct(_Normed):
    """Flat PUCT: ``r_i + c * (1 / N) * sqrt(sum_j V_j) / (1 + V_i)`` over the N valid nodes, with one flat prior 1 / N.

    ``r_i = rank / (N - 1)`` in [0, 1]. ``V_i`` are visits, backed up: the children made or attempted below the node,
    itself included; scores are not backed up. Source: FUTS in Google's ERA (Aygun et al. 2025, "An AI system to help
    scientists write expert-level empirical software"), after the PUCT of AlphaZero (Silver et al. 2017).
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number("score.c", self.c, 0, why="0 is greedy")

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        valid, visited = among(tree, members), subtree_visits(tree)
        prior = self.c / max(1, int(valid.sum()))
        scores: Floats = normalised(tree, self.norm, members) + prior * np.sqrt(visited[valid].sum()) / (1.0 + visited)
        return scores


@dataclass(frozen=True)
class Value(_Normed):
    """The rank in [0, 1] of the node's mean, or its min-max value."""

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        return normalised(tree, self.norm, members)


@dataclass(frozen=True)
class Rank:
    """The rank in [0, 1] of the node's mean: with ``Argmax`` this is greedy search."""

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        return ranks(tree, members)


@dataclass(frozen=True)
class Equal:
    """Zero for every scored node: with ``Uniform`` this is random search over the tree."""

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        return np.where(among(tree, members), 0.0, np.nan)


@dataclass(frozen=True)
class MadSigmoid:
    """``sigmoid(slope * (s_i - median) / MAD) / (1 + n_i)``, with s higher for better, over the members.

    MAD is the median absolute deviation of the members' means from their median, ``n_i`` the children including failed,
    refused and pending ones. Source: ShinkaEvolve (Lange, Imajuku and Cetin 2025), weighted parent sampling with slope
    10, within an island; there children are the correct ones only. Where more than half of the means are equal the MAD
    is 0, and the sigmoid its limit: 1 above the median, 0 below it, 1/2 at it (ShinkaEvolve uses a fixed number there,
    which would depend on the metric's unit). Depends on differences of raw scores, but not on their unit or zero.
    """

    ordinal: ClassVar[bool] = False
    slope: float = 10.0

    def __post_init__(self) -> None:
        validation.positive("score.slope", self.slope)

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        values = oriented(tree, members)
        if np.isnan(values).all():
            return values
        away = values - np.nanmedian(values)
        spread = float(np.nanmedian(np.abs(away)))
        with np.errstate(invalid="ignore"):  # 0 times infinity, which is replaced
            limit = np.where(away == 0, 0.0, np.sign(away) * np.inf)
        steps = self.slope * away / spread if spread > 0 else limit
        from scipy.special import expit  # a quarter of a second to import

        return np.asarray(expit(steps) / (1.0 + tree.visits), dtype=np.float64)


@dataclass(frozen=True)
class NoveltyWeighted(_Normed):
    """``sigmoid(slope * (v_i - centre)) / (1 + n_i)``: prefers good nodes with few children.

    ``v_i`` in [0, 1] is the rank of the node's mean (``norm``: or its min-max value, or the mean as a share), ``n_i``
    its children including failed, refused and pending ones. Source: Darwin Goedel Machine (Zhang et al. 2025), slope
    10 and centre 0.5 on an accuracy in [0, 1] (``norm: share``), counting children that still work. A rank replaces
    the accuracy, which few metrics are.
    """

    slope: float = 10.0
    centre: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        validation.number("score.slope", self.slope, 0, why="0 uses the number of children alone")
        validation.number("score.centre", self.centre, 0, 1)

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        from scipy.special import expit  # as above

        values = normalised(tree, self.norm, members)
        return np.asarray(expit(self.slope * (values - self.centre)) / (1.0 + tree.visits), dtype=np.float64)


@dataclass(frozen=True)
class KeptLine:
    """Linear keep-or-revert: 1 for the head of the line, NaN for all others.

    The line starts at the root; its next member is the first child (by order of arrival) with a better mean than the
    present head that is not suspect; all others are reverted for good. Source: the loop of
    karpathy/autoresearch, one git branch that keeps a commit if the metric improved. Run serially this is exactly that
    loop. With several slots the children of one head run in parallel, and the first improvement to arrive is kept. In a
    population each pool that contains the root has its own line among its members.
    """

    ordinal: ClassVar[bool] = True

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        places, values = tree.places, ranks(tree, members)
        scores = np.full(len(tree), np.nan)
        if len(tree) == 0 or np.isnan(values[0]):
            return scores
        with np.errstate(invalid="ignore"):
            better = np.flatnonzero((places >= 0) & (values > values[places]))
        better = better[np.argsort(places[better], kind="stable")]  # by parent, and then by arrival
        head, following = -1, 0
        while following >= 0:
            head = following
            first, last = np.searchsorted(places[better], [head, head + 1])
            following = int(better[first]) if first < last else -1
        scores[head] = 1.0
        return scores


@dataclass(frozen=True)
class NewestWithinInterval:
    """The newest node whose mean is not below the best's lower bound ``m - z * s / sqrt(n)`` has the highest score.

    ``m`` is the best mean, ``s`` the standard deviation (of n - 1) of the best node's n scores by case, or of its
    screenings where the task has no cases; 0 with fewer than two. Nodes within the interval have 1 to N by arrival,
    all others -1 to 0 by their rank, so with ``Argmax`` they follow if no operator applies to the former. Source: the
    choice of the base agent in the self-improving coding agent (Robeyns, Szummer and Aitchison 2025), which walks back
    from the newest iteration, z = 1.96. A newer agent that is not clearly worse has more improvements in it.
    """

    ordinal: ClassVar[bool] = False
    z: float = 1.96

    def __post_init__(self) -> None:
        validation.number("score.z", self.z, 0, why="0 takes the best")

    def __call__(self, tree: Tree, members: Mask | None = None) -> Floats:
        values = oriented(tree, members)
        if np.isnan(values).all():
            return values
        best = int(np.nanargmax(values))
        inside = values >= values[best] - self.z * standard_error(tree, best)
        return np.where(inside, 1.0 + np.arange(len(values)), ranks(tree, members) - 1.0)


def standard_error(tree: Tree, place: int) -> float:
    """Return the standard error of a node's mean over its cases, or over its screenings; 0 with fewer than two."""
    scores = cache_of(tree).case_values(tree)[place]
    if len(scores) < 2 or np.isnan(scores).any():
        scores = np.array(tree.scores(tree.nodes[place].node_id))
    return float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0
