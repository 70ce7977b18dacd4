"""A tree without an archive or an evaluator: moves are chosen and landed by hand, or played by a policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    Conditions,
    Direction,
    Failed,
    Move,
    MoveRecord,
    Node,
    Outcome,
    Propose,
    Refusal,
    Replicate,
    Request,
    Resources,
    Scored,
    node_id_for,
)
from archive.tree import Tree
from search.policies import OperatorView, Policy
from search.policies.base import Operators

CONDITIONS = Conditions(fingerprint="corpus", budget_seconds=10.0, hardware="cpu")
Result = float | Outcome


def always(tree: Tree, node_id: str) -> bool:
    """A careless ``applies``: a policy must not depend on it to keep failed nodes from being improved."""
    return True


def scored(tree: Tree, node_id: str) -> bool:
    return not np.isnan(tree.means[tree.index[node_id]])


def failed(tree: Tree, node_id: str) -> bool:
    return bool(tree.failed()[tree.index[node_id]])


def root_only(tree: Tree, node_id: str) -> bool:
    return node_id == tree.root


TUNE = OperatorView("tune", 1, 1.0, always)
CROSSOVER = OperatorView("crossover", 2, 1.0, always)
DRAFT = OperatorView("draft", 1, 1.0, root_only)
DEBUG = OperatorView("debug", 1, 1.0, failed)
ALL = {view.name: view for view in (TUNE, CROSSOVER, DRAFT, DEBUG)}
NUMERIC = {view.name: view for view in (TUNE, CROSSOVER)}


@dataclass
class Growth:
    """Grows a tree through the same calls as the search loop, with results given by hand."""

    direction: Direction = "minimise"
    tree: Tree = field(init=False)
    next_move: int = 0
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.tree = Tree("test", self.direction, CONDITIONS)

    def root(self, *results: Result) -> str:
        """The root, with its first result and one replicate for each further one."""
        record = self.choose(Propose(ROOT_OPERATOR, ()))
        node_id = self.add(record)
        for place, result in enumerate(results):
            self.land(record if place == 0 else self.choose(Replicate(node_id)), result)
        return node_id

    def child(self, result: Result | None, *parents: str, operator: str = "tune") -> str:
        """A child of ``parents`` (default: the root); pending when ``result`` is None."""
        record = self.choose(Propose(operator, parents or (self.tree.root,)))
        node_id = self.add(record)
        if result is not None:
            self.land(record, result)
        return node_id

    def choose(self, move: Move) -> MoveRecord:
        record = MoveRecord("test", self.next_move, move, seed=self.next_move)
        self.next_move += 1
        self.tree.choose(record)
        return record

    def add(self, record: MoveRecord) -> str:
        assert isinstance(record.move, Propose)
        number = len(self.tree)
        candidate = Candidate({"train.py": f"X = {number}\n"}, record.move.parents, record.move.operator, "an idea")
        node = Node(node_id_for("test", number), "test", number, record.number, candidate, 0.0)
        self.tree.add(node)
        return node.node_id

    def refuse(self, move: Propose) -> None:
        record = self.choose(move)
        self.tree.refuse(Refusal("test", record.number, move.operator, move.parents, "a duplicate"))

    def land(self, record: MoveRecord, result: Result, conditions: Conditions = CONDITIONS) -> None:
        """The training that a move asked for ends in a score, or in an outcome without one."""
        if isinstance(record.move, Replicate):
            node_id, purpose = record.move.node_id, record.move.purpose
        else:
            node_id = next(node.node_id for node in reversed(self.tree.nodes) if node.move == record.number)
            purpose = "screen"
        self.clock += 1.0
        request = Request(node_id, "test", record.number, {}, record.seed, purpose)
        common = {
            "request": request,
            "conditions": conditions,
            "resources": Resources(10.0),
            "trust": "audited",
            "sandbox": "none",
            "device": "cpu",
            "started_at": self.clock,
            "finished_at": self.clock,
        }
        if isinstance(result, str):
            self.tree.record(Failed(**common, outcome=result, reason="it broke"))
        else:
            self.tree.record(Scored(**common, score=result))


def play(
    growth: Growth,
    policy: Policy,
    operators: Operators,
    moves: int,
    result: Callable[[str], Result],
    seed: int = 0,
    slots: int = 1,
) -> list[Move]:
    """Runs a policy for ``moves`` moves with results from ``result(node_id)``; ``slots`` trainings are in flight.

    The generator of a move is derived from (seed, move number), as in the search loop.
    """
    flying: list[MoveRecord] = []
    made: list[Move] = []
    while len(made) < moves:
        choice = policy.choose(growth.tree, np.random.default_rng((seed, growth.next_move)), operators)
        if isinstance(choice, Propose | Replicate):
            record = growth.choose(choice)
            if isinstance(choice, Propose):
                growth.add(record)
            flying.append(record)
            made.append(choice)
            if len(flying) < slots:
                continue
        elif not flying:
            raise AssertionError(f"the policy ended the game: {choice}")
        record = flying.pop(0)
        node_id = record.move.node_id if isinstance(record.move, Replicate) else _node_of(growth.tree, record)
        growth.land(record, result(node_id))
    for record in flying:
        node_id = record.move.node_id if isinstance(record.move, Replicate) else _node_of(growth.tree, record)
        growth.land(record, result(node_id))
    return made


def _node_of(tree: Tree, record: MoveRecord) -> str:
    return next(node.node_id for node in reversed(tree.nodes) if node.move == record.number)
