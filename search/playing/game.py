"""Plays a search on a table: the real engine, policy, operators and claim, with scores that are looked up.

What is not real is the training (a look-up; one child in five crashes) and the archive (nothing is written).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from archive.records import (
    Conditions,
    Evaluation,
    Failed,
    Replicate,
    Request,
    Resources,
    Run,
    Scored,
)
from archive.storage.store import Archive
from archive.tree import Floats, Tree
from operators.base import Operator
from operators.languages.parameters import read_parameters
from prepare.language_model import Corpus, LanguageModelTask
from prepare.task import Metric
from search.claims.claim import next_moves
from search.config import ClaimPlan
from search.playing.tables import Setting, Table
from search.policies.base import OperatorView, Policy
from search.run.engine import Engine, EngineParts

CRASHES = 0.2
CONDITIONS = Conditions("table", 10.0, "table")
PATH = "train.py"
_LOOKED_UP: Any = {
    "conditions": CONDITIONS,
    "resources": Resources(10.0),
    "trust": "audited",
    "sandbox": "none",
    "device": "table",
    "started_at": 0.0,
    "finished_at": 0.0,
}


class Nowhere:
    """An archive that keeps nothing: a benchmark of the search is none of the disk."""

    @contextmanager
    def transaction(self, later: bool = False) -> Iterator[None]:
        yield

    def add(self, node: Any) -> Any:
        return node

    record = add

    def query(self, *_: Any) -> list[tuple[int]]:
        return [(0,)]

    def events(self, *_: Any) -> list[Any]:
        return []

    def flush(self) -> None: ...

    def choose(self, *_: Any) -> None: ...

    refuse = decide = note = choose


@dataclass(frozen=True)
class Player:
    """What plays: a policy with its operators (made for each table), and what it may spend on confirmation."""

    policy: Policy
    operators: Callable[[Table], Mapping[str, Operator]]
    weights: Mapping[str, float]
    plan: ClaimPlan | None = None
    """None: the node with the best mean is picked, as it stands."""


@dataclass(frozen=True)
class Played:
    """One search. Percentiles are log10 of true ones; see ``Table.percentiles``."""

    best: Floats
    """[evaluations] of the best node so far."""
    picked: float
    """Of the node that it would hand over, confirmation paid from the same evaluations."""


def play(table: Table, player: Player, seed: int, evaluations: int = 100, slots: int = 1) -> Played:
    """One search of so many evaluations."""
    game = Game(table, player, seed)
    confirms = 0 if player.plan is None else player.plan.candidates * player.plan.confirm_seeds
    game.search(evaluations - confirms, slots)
    picked = game.leader() if player.plan is None else game.fork().nominee(player.plan)
    game.search(evaluations, slots)
    return Played(np.array(game.best[:evaluations]), picked)


class Game:
    """A search on a table, step by step."""

    def __init__(self, table: Table, player: Player, seed: int) -> None:
        self.table, self.player, self.seed = table, player, seed
        self.best: list[float] = []
        self._told: list[Evaluation] = []
        self._durations = np.random.default_rng([seed, 3])
        self.tree = Tree("bench", "minimise", CONDITIONS)
        self._search = self._engine(self.tree)
        start = table.start(np.random.default_rng([seed, 1]))
        self._search.start({PATH: table.program(start)})

    def _engine(self, tree: Tree) -> Engine:
        operators = self.player.operators(self.table)
        parts = EngineParts(
            task=_task(self.table),
            program="",
            policy=self.player.policy,
            operators=operators,
            views={
                n: OperatorView(n, o.arity, self.player.weights.get(n, 1.0), o.applies) for n, o in operators.items()
            },
            gate=lambda files: None,
            clock=lambda: 0.0,
        )
        run = Run("bench", f"{self.seed:032x}", "table", "score", "minimise", "policy", self.seed, {}, {}, 0.0)
        return Engine(parts, cast(Archive, Nowhere()), run, tree)

    def search(self, evaluations: int, slots: int) -> None:
        """Go on to so many evaluations; where nothing new is proposed any more, what is reached stays."""
        running: list[tuple[float, int, Request]] = []
        now = 0.0
        while len(self.best) < evaluations:
            free = min(slots, evaluations - len(self.best)) - len(running)
            self._search.fill(free, 0)
            for _ in range(free):
                if (request := self._search.ask("screen")) is None:
                    break
                heapq.heappush(running, (now + float(self._durations.uniform(0.8, 1.2)), request.move, request))
            if not running:
                self.best += [self.best[-1]] * (evaluations - len(self.best))
                return
            now, _, request = heapq.heappop(running)
            self._tell(self._evaluate(request))
        for _, _, request in running:
            self._tell(self._evaluate(request))

    def _evaluate(self, request: Request) -> Evaluation:
        setting = self._setting(request.files)
        chance = np.random.default_rng([self.seed, 2, int(request.node_id[:12], 16)]).random()
        if request.node_id != self.tree.root and chance < CRASHES:
            return Failed(request=request, **_LOOKED_UP, outcome="crashed", reason="one in five")
        return Scored(request=request, **_LOOKED_UP, score=self.table.draw(setting, request.seed))

    def _tell(self, evaluation: Evaluation) -> None:
        self._search.tell(evaluation)
        self._told.append(evaluation)
        here = self.best[-1] if self.best else 0.0
        if isinstance(evaluation, Scored):
            place = self.table.place(self._setting(evaluation.request.files))
            here = min(here, float(self.table.percentiles[place]))
        self.best.append(here)

    def _setting(self, files: Mapping[str, str]) -> Setting:
        return self.table.setting(read_parameters(files[PATH]))

    def _percentile(self, node_id: str) -> float:
        return float(self.table.percentiles[self.table.place(self._setting(self.tree[node_id].candidate.files))])

    def leader(self) -> float:
        leader = self.tree.leader()
        return self._percentile(self.tree.root if leader is None else leader)

    # ------------------------------------------------------------ the claim's choice

    def fork(self) -> Game:
        """The same search with its tree told anew, so that what follows here leaves the other one as it is."""
        other = object.__new__(Game)
        vars(other).update(vars(self))
        other.best, other._told = list(self.best), list(self._told)
        other.tree = _retold(self.tree)
        other._search = self._engine(other.tree)
        return other

    def nominee(self, plan: ClaimPlan) -> float:
        """Whom the claim would report on, after its confirm stage."""
        while True:
            moves = next_moves(self.tree, plan)
            if not moves:
                return self.leader()
            for move in moves:
                if move.purpose == "report":
                    if move.node_id != self.tree.root:
                        return self._percentile(move.node_id)
                    continue
                self._search.replicate(move)
                request = self._search.ask("confirm")
                assert request is not None
                self._search.tell(self._evaluate(request))


def _retold(tree: Tree) -> Tree:
    """A tree from the records of another, in their order."""
    other = Tree(tree.run, tree.direction, tree.conditions)
    by_move = {e.request.move: e for evaluations in tree.evaluations.values() for e in evaluations}
    nodes = {node.move: node for node in tree.nodes}
    for number, record in tree.moves.items():
        other.choose(record)
        if number in nodes:
            other.add(nodes[number])
        elif not isinstance(record.move, Replicate):
            other.open_moves.pop(number)
    for move in sorted(by_move):
        other.record(by_move[move])
    return other


def _task(table: Table) -> LanguageModelTask:
    return LanguageModelTask(
        name=f"{table.family}/{table.name}",
        corpus=cast(Corpus, SimpleNamespace(name="table")),
        metric=Metric("score", "minimise"),
        seed_file="seed.py",
        program="program.md",
        seconds=10.0,
        context=128,
    )
