"""What a mean score is worth among others: its rank, or its place between the worst and the best.

Ranks see the order of the scores and nothing else: one diverged run does not flatten the others, and a change of the
metric that keeps its order changes nothing. ``members`` [N] says among whom; None is all that may be improved.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from archive.tree import Floats, Tree
from search.policies.tree_cache import Mask

Norm = Literal["rank", "minmax"]
NORMS = ("rank", "minmax")


def among(tree: Tree, members: Mask | None) -> Mask:
    """[N] the members that have a mean and are not suspect."""
    eligible = tree.eligible()
    return eligible if members is None else eligible & members


def normalised(tree: Tree, norm: Norm, members: Mask | None = None) -> Floats:
    """[N] values in [0, 1], the best 1, NaN for all others than the members. A new array."""
    return ranks(tree, members) if norm == "rank" else minmax(tree, members)


def ranks(tree: Tree, members: Mask | None = None) -> Floats:
    """[N] rank in [0, 1] among the members; ties share their average; one alone has 1."""
    every = tree.ranks()
    if members is None:
        return every.copy()
    return ranked(np.where(members, every, np.nan))


def ranked(values: Floats) -> Floats:
    """[N] rank in [0, 1] of each value that is not NaN, the highest 1; ties share their average; one alone has 1."""
    told = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    if count := int(known.sum()):
        _, inverse, sizes = np.unique(values[known], return_inverse=True, return_counts=True)
        places = np.cumsum(sizes) - sizes + (sizes - 1) / 2
        told[known] = places[inverse] / (count - 1) if count > 1 else 1.0
    return told


def minmax(tree: Tree, members: Mask | None = None) -> Floats:
    """[N] ``(s - worst) / (best - worst)`` among the members; 1 where all are equal."""
    values = oriented(tree, members)
    if np.isnan(values).all():
        return values
    worst, best = np.nanmin(values), np.nanmax(values)
    return np.where(np.isnan(values), np.nan, 1.0) if worst == best else (values - worst) / (best - worst)


def oriented(tree: Tree, members: Mask | None = None) -> Floats:
    """[N] means with the sign that makes higher better; NaN for all others than the members."""
    sign = -1.0 if tree.direction == "minimise" else 1.0
    return np.where(among(tree, members), sign * tree.means, np.nan)
