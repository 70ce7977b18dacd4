"""Immutable facts of a tree as arrays, extended as the tree grows, so that policies need not walk it.

A node's parents and the move that made it are fixed when the node arrives; its measurements are fixed after its first
evaluation. The cache depends on the tree alone: a second tree built from the same rows gives the same arrays, so a
policy remains a pure function of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from archive.records import Node, Propose, Scored
from archive.tree import Column, Floats, Ints, Tree

Mask = NDArray[np.bool_]
Feature = Callable[[Tree, Node], float | None]


class TreeCache:
    """Immutable facts of a tree's nodes [N] and moves [M]; ``cache_of(tree)`` brings them up to date."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Operator names by the codes in ``proposals``."""
        self._codes: dict[str, int] = {}
        self._moves, self._second_parents = Column(np.int64), Column(np.int64)
        self._depths, self._branches = Column(np.int64), Column(np.int64)
        self._proposals, self._made = Column(np.int64), Column(np.int64)
        self._features: dict[Hashable, tuple[Column, Column]] = {}
        self._case_names: tuple[str, ...] = ()
        self._case_values: list[list[float]] = []
        self._cases_known = Column(np.bool_)

    @property
    def moves(self) -> Ints:
        """[N] the number of the move that made each node."""
        return self._moves.view

    @property
    def second_parents(self) -> Ints:
        """[N] the place of the second parent; -1 without one."""
        return self._second_parents.view

    @property
    def depths(self) -> Ints:
        """[N] depth below the root by first parents."""
        return self._depths.view

    @property
    def branches(self) -> Ints:
        """[N] the place of the root's child that a node descends from by first parents; 0 for the root itself."""
        return self._branches.view

    @property
    def proposals(self) -> Ints:
        """[M] the operator of each move as a code; -1 for the root's own move and for replicates."""
        return self._proposals.view

    @property
    def made(self) -> Ints:
        """[M] the place of the node made by each move; -1 without one."""
        return self._made.view

    def update(self, tree: Tree) -> None:
        """Read the nodes and moves added since the last update."""
        for number in range(len(self.proposals), len(tree.moves)):
            move = tree.moves[number].move
            proposal = isinstance(move, Propose) and bool(move.parents)
            self._proposals.append(self._code(move.operator) if proposal and isinstance(move, Propose) else -1)
            self._made.append(-1)
        for place in range(len(self.moves), len(tree.nodes)):
            node, parent = tree.nodes[place], int(tree.places[place])
            self._moves.append(node.move)
            self._second_parents.append(tree.index[node.parents[1]] if len(node.parents) > 1 else -1)
            self._depths.append(self.depths[parent] + 1 if parent >= 0 else 0)
            self._branches.append((place if parent == 0 else self.branches[parent]) if parent >= 0 else 0)
            if node.move < len(self.made):
                self.made[node.move] = place

    def cached_feature(self, tree: Tree, key: Hashable, feature: Feature, ready: Mask) -> Floats:
        """Return [N] ``feature(tree, node)`` of each node, NaN for None. Computed once per node, when it is ready.

        ``key`` identifies the feature; ``ready`` [N] is True where its value will not change any more.
        """
        values, known = self._features.setdefault(key, (Column(np.float64, np.nan), Column(np.bool_)))
        values.extend(len(tree))
        known.extend(len(tree))
        for place in np.flatnonzero(ready & ~known.view):
            value = feature(tree, tree.nodes[place])
            values.view[place] = np.nan if value is None else value
            known.view[place] = True
        return values.view

    def case_values(self, tree: Tree) -> Floats:
        """Return [N, C] the values by case of each node's first scored screening, in the order of the root's cases.

        NaN where a node lacks one. C is 0 where the root has no scores by case.
        """
        self._cases_known.extend(len(tree))
        for place in np.flatnonzero((tree.runs > 0) & ~self._cases_known.view):
            cases = {case.case: case.value for case in _first_scored(tree, int(place)).cases}
            if place == 0:
                self._case_names = tuple(cases)
                self._case_values = [[np.nan] * len(cases) for _ in self._case_values]
            self._extend_cases(len(tree))
            self._case_values[place] = [cases.get(name, np.nan) for name in self._case_names]
            self._cases_known.view[place] = True
        self._extend_cases(len(tree))
        return np.array(self._case_values, dtype=np.float64).reshape(len(tree), len(self._case_names))

    def _extend_cases(self, size: int) -> None:
        while len(self._case_values) < size:
            self._case_values.append([np.nan] * len(self._case_names))

    def _code(self, name: str) -> int:
        if name not in self._codes:
            self._codes[name] = len(self.names)
            self.names.append(name)
        return self._codes[name]


def _first_scored(tree: Tree, place: int) -> Scored:
    return next(e for e in tree.comparable(tree.nodes[place].node_id) if isinstance(e, Scored))


_CACHES: WeakKeyDictionary[Tree, TreeCache] = WeakKeyDictionary()


def cache_of(tree: Tree) -> TreeCache:
    """Return the up-to-date cache of a tree. Costs O(new nodes and moves)."""
    cache = _CACHES.get(tree)
    if cache is None:
        cache = _CACHES[tree] = TreeCache()
    cache.update(tree)
    return cache
