"""AB-MCTS-A: descent from the root by Thompson sampling of "new child" against "go down"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from archive.tree import Floats, Tree
from search.policies import validation
from search.policies.selection.backups import climb


@dataclass(frozen=True)
class Sums:
    """Sufficient statistics of K arms: number, sum and sum of squares of their observations, [K] each."""

    count: Floats
    total: Floats
    squares: Floats

    def of(self, arms: object) -> Sums:
        return Sums(self.count[arms], self.total[arms], self.squares[arms])  # type: ignore[call-overload]

    def pooled(self) -> Sums:
        """Return all arms pooled into one, [1]."""
        return Sums(*(np.array([column.sum()]) for column in (self.count, self.total, self.squares)))

    def without(self, other: Sums) -> Sums:
        return Sums(self.count - other.count, self.total - other.total, self.squares - other.squares)


@dataclass(frozen=True)
class Thompson:
    """Down from the root by Thompson sampling of "new child" against "go down", then among the children.

    Each arm is a normal with unknown mean and variance, and a normal-inverse-gamma prior (mean m, weight k, degrees of
    freedom nu, scale tau^2). After n values with mean a and sum of squared deviations S:

        k' = k + n, nu' = nu + n, m' = (k m + n a) / k', tau'^2 = (nu tau^2 + S + n k (m - a)^2 / k') / nu'
        sigma^2 ~ nu' tau'^2 / chi2(nu'), and the draw is from N(m', sigma^2 / k')

    The observations of "new child" are the scores of the node's own children; those of "go down" the scores of all
    nodes further below; those of a child its whole subtree, its own included. Node scores must lie in [0, 1]. An
    attempt without a score (failed, refused or pending) is a 0 for "new child" of its own parent, so that parallel
    slots spread out, and is not backed up.

    Source: AB-MCTS-A in "Wider or deeper?" (Inoue et al. 2025) with the priors of its public implementation (Gaussian,
    m = 0, k = 1, nu = 1, tau^2 = 0.1); posterior from Murphy (2012), section 4.6.3. The 0 for attempts without a score
    is an addition: there, only scored nodes count. Raises ValueError for invalid priors.
    """

    ordinal: ClassVar[bool] = True
    mean: float = 0.0
    weight: float = 1.0
    freedom: float = 1.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        validation.number("sampler.mean", self.mean, 0, 1)
        for name in ("weight", "freedom", "scale"):
            validation.positive(f"sampler.{name}", getattr(self, name))

    def __call__(self, tree: Tree, scores: Floats, rng: np.random.Generator) -> int | None:
        inside = ~np.isnan(scores)
        values = np.where(inside, scores, 0.0)
        own = Sums(inside.astype(np.float64), values, values**2)
        every = Sums(own.count.copy(), own.total.copy(), own.squares.copy())
        climb(tree, np.add, every.count, every.total, every.squares)
        if not every.count[0]:
            return None
        place = 0
        while True:
            below = np.flatnonzero(tree.places == place)
            unscored = max(0.0, float(tree.visits[place] - own.count[below].sum()))
            below = below[every.count[below] > 0]
            if inside[place] and (not len(below) or self._wider(own.of(below), every.of(below), unscored, rng)):
                return place
            place = int(below[np.argmax(self._draw(every.of(below), rng))])

    def _wider(self, own: Sums, every: Sums, unscored: float, rng: np.random.Generator) -> bool:
        """Return whether "new child" draws at least as well as "go down"."""
        made = own.pooled()
        made = Sums(made.count + unscored, made.total, made.squares)
        return bool(self._draw(made, rng)[0] >= self._draw(every.without(own).pooled(), rng)[0])

    def _draw(self, seen: Sums, rng: np.random.Generator) -> Floats:
        """Draw [K] the mean of each arm from its posterior."""
        count, average = seen.count, seen.total / np.maximum(seen.count, 1)
        scatter = np.maximum(0.0, seen.squares - seen.total * average)
        weight, freedom = self.weight + count, self.freedom + count
        centre = (self.weight * self.mean + seen.total) / weight
        pull = count * self.weight * (self.mean - average) ** 2 / weight
        scale = (self.freedom * self.scale + scatter + pull) / freedom
        variance = freedom * scale / rng.chisquare(freedom)
        return np.asarray(rng.normal(centre, np.sqrt(variance / weight)), dtype=np.float64)
