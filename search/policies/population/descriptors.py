"""Descriptors: the kind of a program, whatever its score. They are the axes of the MAP-Elites grid.

A descriptor maps a tree to [N] float64, NaN where the value is unknown (yet). The value of a node never changes once it
is known, and depends on the node's program and its first screening alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archive.records import Node, Scored
from archive.tree import Floats, Tree
from operators.languages.language import language_for
from operators.languages.parameters import Number
from operators.languages.syntax import Unparsable
from search.policies import validation
from search.policies.tree_cache import Mask, cache_of

RESOURCES = ("seconds", "cpu_seconds", "peak_memory_mb", "peak_device_mb", "steps")


class Descriptor(Protocol):
    """One axis of the grid."""

    def __call__(self, tree: Tree) -> Floats:
        """Return [N] the position of each node on the axis; NaN where it is unknown."""
        ...


@dataclass(frozen=True)
class Measured:
    """A quantity measured by the evaluator beside the score, in the node's first scored screening.

    ``name``: a metric such as ``parameters`` or ``state_bytes``, or a resource of the evaluation: ``steps``,
    ``seconds``, ``cpu_seconds``, ``peak_memory_mb``, ``peak_device_mb``. ``log``: a logarithmic axis.
    """

    name: str
    log: bool = True

    def __post_init__(self) -> None:
        validation.text("population.elites.descriptors.name", self.name)
        validation.truth("population.elites.descriptors.log", self.log)

    def __call__(self, tree: Tree) -> Floats:
        values = cache_of(tree).cached_feature(tree, self, self._measurement, _scored(tree))
        return _scaled(values, self.log)

    def _measurement(self, tree: Tree, node: Node) -> float | None:
        first = next((e for e in tree.comparable(node.node_id) if isinstance(e, Scored)), None)
        if first is None:
            return None
        return first.metrics.get(self.name, getattr(first.resources, self.name, None) if self._is_resource else None)

    @property
    def _is_resource(self) -> bool:
        return self.name in RESOURCES


@dataclass(frozen=True)
class Length:
    """Characters of the program, all of its files together."""

    log: bool = True

    def __post_init__(self) -> None:
        validation.truth("population.elites.descriptors.log", self.log)

    def __call__(self, tree: Tree) -> Floats:
        values = cache_of(tree).cached_feature(tree, "length", _length, np.ones(len(tree), dtype=np.bool_))
        return _scaled(values, self.log)


@dataclass(frozen=True)
class ChangedConstants:
    """Number of module-level constants that differ from the root's: changed, added or removed."""

    def __call__(self, tree: Tree) -> Floats:
        return cache_of(tree).cached_feature(tree, "changed", _changed, np.ones(len(tree), dtype=np.bool_))


def _length(tree: Tree, node: Node) -> float:
    return float(sum(map(len, node.candidate.files.values())))


def _changed(tree: Tree, node: Node) -> float | None:
    here, there = _constants(node), _constants(tree.nodes[0])
    if here is None or there is None:
        return None
    return float(sum(here.get(name) != there.get(name) for name in here.keys() | there.keys()))


def _constants(node: Node) -> dict[tuple[str, str], Number] | None:
    """Return the parameters of all files; None if one of them does not parse."""
    found: dict[tuple[str, str], Number] = {}
    for path, text in node.candidate.files.items():
        try:
            found |= {(path, one.name): one.value for one in language_for(path).parameters(text)}
        except Unparsable:
            return None
    return found


def _scored(tree: Tree) -> Mask:
    ready: Mask = tree.runs > 0
    return ready


def _scaled(values: Floats, log: bool) -> Floats:
    """Return ``ln(1 + x)`` with ``log``, NaN for negative and infinite values; else the values."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values) & (values >= 0), np.log1p(values), np.nan) if log else values
