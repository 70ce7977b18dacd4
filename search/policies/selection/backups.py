"""Backups: values and visits of whole subtrees.

A backup maps (tree, [N] values with NaN for excluded nodes) to a value per subtree. A crossover belongs to the subtree
of its first parent. Visits are the children made or attempted, so a failed, refused or pending child counts as a visit
of its ancestors, and never as a score. A crossover is a visit of both its parents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from archive.tree import Floats, Tree
from search.policies.tree_cache import cache_of

Rule = Literal["max", "mean"]
RULES = ("max", "mean")


@dataclass(frozen=True)
class Backed:
    """``values`` [N]: the subtree's, NaN where it has none. ``subtree_visits`` [N]: 1 plus the visits in it."""

    values: Floats
    subtree_visits: Floats


def backed_up(tree: Tree, values: Floats, rule: Rule) -> Backed:
    """Return the best (``max``) or the average (``mean``) value of each node's subtree, itself included.

    Source: max as in single-player tree search (Schadd et al. 2008), mean as in UCT (Kocsis and Szepesvari 2006,
    "Bandit based Monte-Carlo planning"). The best is what a search for one good program needs; the mean is also
    lowered by a subtree's bad children.
    """
    inside = ~np.isnan(values)
    if rule == "max":
        best = np.where(inside, values, -np.inf)
        climb(tree, np.maximum, best)
        backed = np.where(np.isneginf(best), np.nan, best)
    else:
        total, count = np.where(inside, values, 0.0), inside.astype(np.float64)
        climb(tree, np.add, total, count)
        backed = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Backed(backed, 1.0 + subtree_visits(tree))


def subtree_visits(tree: Tree) -> Floats:
    """Return [N] the visits in each node's subtree, its own included."""
    counted = tree.visits.astype(np.float64)
    climb(tree, np.add, counted)
    return counted


def climb(tree: Tree, ufunc: np.ufunc, *columns: Floats) -> None:
    """Fold each column [N] in place from the leaves to the root by first parents, one level of the tree at a time."""
    depths, places = cache_of(tree).depths, tree.places
    order = np.argsort(depths, kind="stable")
    starts = np.searchsorted(depths[order], np.arange(depths.max(initial=0) + 2))
    for level in range(len(starts) - 2, 0, -1):
        nodes = order[starts[level] : starts[level + 1]]
        for column in columns:
            ufunc.at(column, places[nodes], column[nodes])
