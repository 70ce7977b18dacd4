"""Normalised mean scores: ranks and min-max values.

Ranks use the order of the scores alone: one diverged run does not flatten the others, and a monotone change of the
metric changes nothing. Shares are the scores of metrics in [0, 1] themselves, such as a share of solved problems.
``members`` [N] restricts the nodes to compare; None is all that may be improved.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from archive.tree import Floats, Tree
from search.policies.tree_cache import Mask

Norm = Literal["rank", "minmax", "share"]
NORMS = ("rank", "minmax", "share")


def among(tree: Tree, members: Mask | None) -> Mask:
    """Return [N] True for members that have a mean and are not suspect."""
    eligible = tree.eligible()
    return eligible if members is None else eligible & members


def normalised(tree: Tree, norm: Norm, members: Mask | None = None) -> Floats:
    """Return [N] values in [0, 1], NaN for non-members; of ``rank`` and ``minmax`` the best is 1. A new array."""
    if norm == "share":
        return shares(tree, members)
    return ranks(tree, members) if norm == "rank" else minmax(tree, members)


def ranks(tree: Tree, members: Mask | None = None) -> Floats:
    """Return [N] ranks in [0, 1] among the members; ties share their average; a single one has 1."""
    every = tree.ranks()
    if members is None:
        return every.copy()
    return ranked(np.where(members, every, np.nan))


def ranked(values: Floats) -> Floats:
    """Return [N] ranks in [0, 1] of all values but NaN, the highest 1; ties share their average; a single one has 1."""
    result = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    if count := int(known.sum()):
        _, inverse, sizes = np.unique(values[known], return_inverse=True, return_counts=True)
        places = np.cumsum(sizes) - sizes + (sizes - 1) / 2
        result[known] = places[inverse] / (count - 1) if count > 1 else 1.0
    return result


def minmax(tree: Tree, members: Mask | None = None) -> Floats:
    """Return [N] ``(s - worst) / (best - worst)`` among the members; 1 where all are equal."""
    values = oriented(tree, members)
    if np.isnan(values).all():
        return values
    worst, best = np.nanmin(values), np.nanmax(values)
    return np.where(np.isnan(values), np.nan, 1.0) if worst == best else (values - worst) / (best - worst)


def shares(tree: Tree, members: Mask | None = None) -> Floats:
    """Return [N] means as shares of success: the mean of a maximised metric, 1 less it of a minimised one, in [0, 1].

    Means outside of [0, 1] count as the nearer end.
    """
    values = oriented(tree, members)
    return np.clip(values if tree.direction == "maximise" else 1.0 + values, 0.0, 1.0)


def oriented(tree: Tree, members: Mask | None = None) -> Floats:
    """Return [N] means with the sign that makes higher better; NaN for non-members."""
    sign = -1.0 if tree.direction == "minimise" else 1.0
    return np.where(among(tree, members), sign * tree.means, np.nan)
