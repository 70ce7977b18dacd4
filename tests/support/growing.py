"""A tree without an archive or an evaluator: moves are chosen and landed by hand, or played by a policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    CaseScore,
    Conditions,
    Direction,
    Evaluation,
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
    WindowScores,
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
    return tree.scored(node_id)


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
    written: list[Callable[[Tree], None]] = field(default_factory=list)
    """What was written to the tree, so that ``rebuilt`` can write it again."""
    source: Callable[[int], str] = "X = {}\n".format
    """The program of the node with this number."""
    metrics: Callable[[int], Mapping[str, float]] = lambda number: {}
    """What is measured beside the score of the node with this number."""
    seconds: Callable[[int], float] = lambda number: 10.0
    """How long the node with this number trains."""

    def __post_init__(self) -> None:
        self.tree = Tree("test", self.direction, CONDITIONS)

    def rebuilt(self) -> Tree:
        """A second tree from the same writes: what a resume does with the archive's rows."""
        tree = Tree("test", self.direction, CONDITIONS)
        for write in self.written:
            write(tree)
        return tree

    def _write(self, write: Callable[[Tree], None]) -> None:
        self.written.append(write)
        write(self.tree)

    def root(self, *results: Result) -> str:
        """The root, with its first result and one replicate for each further one."""
        record = self.choose(Propose(ROOT_OPERATOR, ()))
        node_id = self.add(record)
        for place, result in enumerate(results):
            self.land(record if place == 0 else self.choose(Replicate(node_id)), result)
        return node_id

    def child(self, result: Result | None, *parents: str, operator: str = "tune", text: str | None = None) -> str:
        """A child of ``parents`` (default: the root); pending when ``result`` is None. ``text``: its program."""
        record = self.choose(Propose(operator, parents or (self.tree.root,)))
        node_id = self.add(record, text)
        if result is not None:
            self.land(record, result)
        return node_id

    def choose(self, move: Move) -> MoveRecord:
        record = MoveRecord("test", self.next_move, move, seed=self.next_move)
        self.next_move += 1
        self._write(lambda tree: tree.choose(record))
        return record

    def add(self, record: MoveRecord, text: str | None = None) -> str:
        assert isinstance(record.move, Propose)
        number = len(self.tree)
        files = {"train.py": self.source(number) if text is None else text}
        candidate = Candidate(files, record.move.parents, record.move.operator, "an idea")
        node = Node(node_id_for("test", number), "test", number, record.number, candidate, 0.0)
        self._write(lambda tree: tree.add(node))
        return node.node_id

    def trained(self, record: MoveRecord) -> str:
        """The node that a move trains: the replicated one, or the child."""
        if isinstance(record.move, Replicate):
            return record.move.node_id
        return next(node.node_id for node in reversed(self.tree.nodes) if node.move == record.number)

    def cheats(self, node_id: str) -> None:
        """One more run of the node shows that it cheats."""
        self.land(self.choose(Replicate(node_id)), "invalid", violation=True)

    def refuse(self, move: Propose) -> None:
        record = self.choose(move)
        refusal = Refusal("test", record.number, move.operator, move.parents, "a duplicate")
        self._write(lambda tree: tree.refuse(refusal))

    def land(
        self,
        record: MoveRecord,
        result: Result,
        conditions: Conditions = CONDITIONS,
        violation: bool = False,
        speed: float | None = None,
        windows: WindowScores | None = None,
        cases: Mapping[str, float] | None = None,
    ) -> None:
        """The training that a move asked for ends in a score, or in an outcome without one."""
        purpose = record.move.purpose if isinstance(record.move, Replicate) else "screen"
        node_id = self.trained(record)
        number = self.tree.index[node_id]
        self.clock += 1.0
        request = Request(node_id, "test", record.number, {}, record.seed, purpose)
        common = {
            "request": request,
            "conditions": conditions,
            "resources": Resources(self.seconds(number), machine_speed=speed),
            "trust": "audited",
            "sandbox": "none",
            "device": "cpu",
            "started_at": self.clock,
            "finished_at": self.clock,
            "cases": [CaseScore(name, value) for name, value in (cases or {}).items()],
        }
        evaluation: Evaluation
        if isinstance(result, str):
            evaluation = Failed(**common, outcome=result, reason="it broke", violation=violation)
        else:
            evaluation = Scored(**common, score=result, windows=windows, metrics=self.metrics(number))
        self._write(lambda tree: tree.record(evaluation))


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

    def land(record: MoveRecord) -> None:
        growth.land(record, result(growth.trained(record)))

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
        land(flying.pop(0))
    for record in flying:
        land(record)
    return made
