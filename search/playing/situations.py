"""A small tree with a program that is to be improved: its history, what else was tried, and what failed.

The root, a better child of it (the parent of the proposal), two other children, and five earlier children of the
parent: four that changed one constant, and one that crashed. All follow from a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    Conditions,
    Evaluation,
    Failed,
    MoveRecord,
    Node,
    Propose,
    Request,
    Resources,
    Scored,
    node_id_for,
)
from archive.tree import Tree
from operators.languages.parameters import read_parameters
from search.playing.valleys import Valley, program, valley

PATH = "fit.py"
CONDITIONS = Conditions("valley", 10.0, "cpu")
NOISE = 0.01
"""Deviation of a score between seeds."""
STEP = (0.1, 0.3)
"""Sizes of earlier steps, in widths of a range."""

AWAY = 0.3
"""Least distance of one of the root's values from the optimum, in widths of a range: a step can improve it."""
DRAWS = 200
"""Draws of a step that is to be better, or worse."""


@dataclass(frozen=True)
class Situation:
    """A tree, and the node that a proposal is asked for."""

    valley: Valley
    tree: Tree
    parent: str
    key: tuple[int, ...]

    @property
    def files(self) -> dict[str, str]:
        """The parent's program."""
        return dict(self.tree[self.parent].candidate.files)


def situation(constants: int, coupling: float, key: Sequence[int]) -> Situation:
    """Return the situation of a key."""
    rng = np.random.default_rng(list(key))
    found = valley(int(rng.integers(2**31)), constants, coupling)
    grown = _Growth(found, Tree("valley", "minimise", CONDITIONS), rng)
    places = rng.random(constants)
    while abs(places - found.optimum).max() < AWAY:
        places = rng.random(constants)
    start = {name: found.value(name, float(place)) for name, place in zip(found.low, places, strict=True)}
    root = grown.add(start, (), "the first program")
    for wanted in (True, True, False):
        grown.step(root, better=wanted)
    parent = grown.tree.nodes[1].node_id
    for _ in range(4):
        grown.step(parent)
    grown.step(parent, fails=True)
    return Situation(found, grown.tree, parent, tuple(key))


@dataclass
class _Growth:
    """A tree that grows step by step."""

    valley: Valley
    tree: Tree
    rng: np.random.Generator

    def step(self, parent: str, better: bool | None = None, fails: bool = False) -> None:
        """Add a child with another value of one constant; ``better``: the first draw that is so."""
        for _ in range(DRAWS):
            name, value, values = self._drawn(parent)
            gain = self.valley.loss(self._values(parent)) - self.valley.loss(values)
            if better is None or (gain > 0) == better:
                break
        before = self._values(parent)[name]
        self.add(values, (parent,), f"{name} {before!r} -> {value!r}", fails)

    def _drawn(self, parent: str) -> tuple[str, float, dict[str, float]]:
        values = self._values(parent)
        name = list(values)[int(self.rng.integers(len(values)))]
        step = float(self.rng.uniform(*STEP)) * (1 if self.rng.random() < 0.5 else -1)
        value = self.valley.value(name, self.valley.place(name, values[name]) + step)
        return name, value, {**values, name: value}

    def _values(self, node_id: str) -> dict[str, float]:
        values = read_parameters(self.tree[node_id].candidate.files[PATH])
        return {name: float(values[name]) for name in self.valley.low}

    def add(self, values: dict[str, float], parents: tuple[str, ...], idea: str, fails: bool = False) -> str:
        """Add an evaluated node; return its id."""
        number, files = len(self.tree), {PATH: program(self.valley, values)}
        operator = "improve" if parents else ROOT_OPERATOR
        self.tree.choose(MoveRecord(self.tree.run, number, Propose(operator, parents), number))
        candidate = Candidate(files, parents, operator, idea, "parameters" if parents else None)
        node = Node(node_id_for(self.tree.run, number), self.tree.run, number, number, candidate, 0.0)
        self.tree.add(node)
        self.tree.record(self._evaluated(node, self.valley.loss(values) + NOISE * float(self.rng.normal()), fails))
        return node.node_id

    def _evaluated(self, node: Node, score: float, fails: bool) -> Evaluation:
        common: dict[str, Any] = {
            "request": Request(node.node_id, self.tree.run, node.move, node.candidate.files, 0, "screen"),
            "conditions": CONDITIONS,
            "resources": Resources(10.0),
            "trust": "verified",
            "sandbox": "none",
            "device": "cpu",
            "started_at": 0.0,
            "finished_at": 1.0,
        }
        if fails:
            return Failed(**common, outcome="crashed", reason="the fit diverged")
        return Scored(**common, score=score)
