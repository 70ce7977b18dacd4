"""Trees made by hand: what an operator sees, without an evaluator or an archive."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from archive.noise import SeedDeviation
from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    Conditions,
    Direction,
    Failed,
    MoveRecord,
    Node,
    Outcome,
    Propose,
    Purpose,
    Request,
    Resources,
    Scored,
    node_id_for,
)
from archive.tree import Tree
from operators.base import Context, NoCandidate, Operator
from operators.languages.fingerprint import fingerprint
from prepare.language_model import Corpus, LanguageModelTask
from prepare.task import Metric

CONDITIONS = Conditions("corpus", 10.0, "cpu")


@dataclass
class Garden:
    """A tree that grows by hand, its task, and the hashes of its candidates."""

    direction: Direction = "minimise"
    tree: Tree = field(init=False)
    task: LanguageModelTask = field(init=False)
    known: set[str] = field(default_factory=set)
    moves: int = 0

    def __post_init__(self) -> None:
        self.tree = Tree("run", self.direction, CONDITIONS)
        self.task = LanguageModelTask(
            name="toy",
            corpus=cast(Corpus, SimpleNamespace(name="toy")),
            metric=Metric("val_bpb", self.direction, unit="bits per byte"),
            seed_file="seed.py",
            program="program.md",
            seconds=10.0,
            context=128,
        )

    def plant(self, source: str, score: float | None = None, **more: Any) -> Node:
        """The root."""
        return self.grow({"train.py": source}, (), ROOT_OPERATOR, "the seed", score, **more)

    def grow(
        self,
        files: dict[str, str] | str,
        parents: tuple[str, ...],
        operator: str = "tune",
        idea: str = "an idea",
        score: float | None = None,
        aim: str | None = None,
    ) -> Node:
        files = {"train.py": files} if isinstance(files, str) else dict(files)
        number = len(self.tree)
        move = self.open(operator, parents)
        candidate = Candidate(files, parents, operator, idea, aim)
        node = Node(node_id_for("id", number), "run", number, move, candidate, 0.0)
        self.tree.add(node)
        self.known.add(fingerprint(files))
        if score is not None:
            self.score(node, score)
        return node

    def open(self, operator: str, parents: tuple[str, ...]) -> int:
        """A chosen move; returns its number."""
        number, self.moves = self.moves, self.moves + 1
        self.tree.choose(MoveRecord("run", number, Propose(operator, parents), seed=number))
        return number

    def score(self, node: Node, score: float, purpose: Purpose = "screen", seed: int = 0, **more: Any) -> None:
        self.tree.record(Scored(**self._common(node, purpose, seed, more), score=score))

    def fail(self, node: Node, outcome: Outcome = "crashed", reason: str = "it broke", **more: Any) -> None:
        purpose: Purpose = more.pop("purpose", "screen")
        self.tree.record(Failed(**self._common(node, purpose, 0, more), outcome=outcome, reason=reason))

    def _common(self, node: Node, purpose: Purpose, seed: int, more: dict[str, Any]) -> dict[str, Any]:
        request = Request(node.node_id, "run", node.move, node.candidate.files, seed, purpose)
        return {
            "request": request,
            "conditions": CONDITIONS,
            "resources": Resources(10.0),
            "trust": "audited",
            "sandbox": "bwrap",
            "device": "cpu",
            "started_at": 0.0,
            "finished_at": 10.0,
            **more,
        }

    def context(self, seed: int = 0, move: int = 0, **more: Any) -> Context:
        fields: dict[str, Any] = {
            "task": self.task,
            "tree": self.tree,
            "rng": np.random.default_rng([seed, move]),
            "run": "run",
            "move_number": move,
            "sigma": SeedDeviation(0.01, 0.007, 0.016, 4),
            "program": "Lower the bits per byte.",
            "known": self.known,
        }
        return Context(**{**fields, **more})

    def ask(self, operator: Operator, *parents: str, seed: int = 0, **more: Any) -> Candidate | NoCandidate:
        """What the operator proposes, as a move that was chosen."""
        move = self.open(operator.name, parents)
        return operator.propose(Propose(operator.name, parents), self.context(seed, move, **more))
