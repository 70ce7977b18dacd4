"""Whole searches with drawn scores: everything is real but the evaluations, so that a thousand take minutes.

Policy, tree, engine, controller, budget, claim and the recorded decisions are those of ``python -m search``. Candidates
are numbers, and a score is the node's true mean plus normal noise; the root's sigma is 1, so gains and intervals are in
sigma. The reported winner is compared with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from archive.records import (
    Candidate,
    Conditions,
    Direction,
    Evaluation,
    MoveRecord,
    Node,
    Propose,
    Request,
    Resources,
    Run,
    Scored,
    Stop,
)
from archive.storage.store import Archive
from archive.tree import Tree
from operators.base import Context
from prepare.language_model import LanguageModelTask
from prepare.load import task_from
from search import factory
from search.config import Budget, ClaimPlan
from search.policies.base import Choice, Operators, OperatorView, Policy
from search.run.controller import RunController
from search.run.engine import Engine, EngineParts
from search.settings import config_for

CONDITIONS = Conditions("simulated", 10.0, "simulated")
ROOT_MEAN = 100.0
PER_ARCHIVE = 50  # searches, so that one archive stays small

Step = Callable[[np.random.Generator, float], float]
"""The true gain of a child over the root, from the true gain of its (first) parent; both in sigma."""
Deviation = Callable[[np.random.Generator], float]
"""The seed deviation of a node, in sigma; the root's is 1."""


@dataclass(frozen=True)
class Scenario:
    """What is true in a simulated search, and how large it is."""

    candidates: int
    step: Step
    plan: ClaimPlan
    evaluations: int
    """The whole budget. Where it is ample, the search ends when there are so many ``candidates``."""
    deviation: Deviation = lambda rng: 1.0
    direction: Direction = "minimise"


@dataclass(frozen=True)
class Result:
    """What one search said at its end, and what is true."""

    champion: bool
    true_gain: float | None
    """Of the node that was reported on; None if nobody was."""
    gain: float | None
    low: float | None
    high: float | None
    seeds: int
    """Report runs of the root."""
    screened: int
    """Candidates that were tried."""
    best: float
    """The largest true gain among the candidates."""


class Numbers:
    """An operator that makes a new number from any scored node."""

    name = "number"
    arity = 1
    needs_llm = False

    def applies(self, tree: Tree, node_id: str) -> bool:
        return bool(tree.runs[tree.index[node_id]])

    def propose(self, move: Propose, context: Context) -> Candidate:
        return Candidate({"train.py": f"X = {context.move_number}\n"}, move.parents, self.name, "another number")


@dataclass(frozen=True)
class Until:
    """The policy, stopped when the tree holds so many candidates."""

    policy: Policy
    candidates: int

    def choose(self, tree: Tree, rng: np.random.Generator, operators: Operators) -> Choice:
        if len(tree) > self.candidates:
            return Stop(f"{self.candidates} candidates have been tried")
        return self.policy.choose(tree, rng, operators)


class Ledger(Archive):
    """An archive in memory that writes runs, decisions and events, and leaves moves, nodes and scores to the tree.

    They are three quarters of a simulated search's time, and no part of what it concludes.
    """

    def choose(self, record: MoveRecord) -> None:
        return None

    def add(self, node: Node) -> Node:
        return node

    def record(self, evaluation: Evaluation) -> Evaluation:
        return evaluation


class World:
    """The truth of one search: gains and deviations by node, drawn when a node is first trained."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.rng = np.random.default_rng(seed)
        self.gains: dict[str, float] = {}
        self.deviations: dict[str, float] = {}

    def score(self, tree: Tree, node_id: str) -> float:
        if node_id not in self.gains:
            parents = tree[node_id].parents
            self.gains[node_id] = self.scenario.step(self.rng, self.gains[parents[0]]) if parents else 0.0
            self.deviations[node_id] = self.scenario.deviation(self.rng) if parents else 1.0
        sign = -1.0 if self.scenario.direction == "minimise" else 1.0
        return float(ROOT_MEAN + sign * self.gains[node_id] + self.deviations[node_id] * self.rng.normal())


class Simulator:
    """The parts that all simulated searches share."""

    def __init__(self, *overrides: str) -> None:
        config = config_for(["operators=numeric", "llm=none", *overrides], "cpu")
        self.task: LanguageModelTask = task_from(config.task)
        self.policy: Policy = factory.build_policy(config.policy)
        self.claim = config.claim
        self.evaluations = config.budget.evaluations or 0

    def results(self, scenario: Scenario, searches: int, seed: int = 0) -> Iterator[Result]:
        """One result for each search."""
        for first in range(0, searches, PER_ARCHIVE):
            with Ledger.in_memory(clock=lambda: 0.0) as archive:
                for number in range(first, min(searches, first + PER_ARCHIVE)):
                    yield self.result(scenario, archive, 1_000_003 * seed + number)

    def result(self, scenario: Scenario, archive: Archive, seed: int) -> Result:
        """One whole search."""
        return self._play(self._engine(scenario, archive, seed), World(scenario, seed), [scenario.evaluations])

    def grown(self, scenario: Scenario, archive: Archive, seed: int, evaluations: Sequence[int]) -> Result:
        """One run, resumed with each of these budgets in turn; ``champion``: whether any of its claims had one."""
        return self._play(self._engine(scenario, archive, seed), World(scenario, seed), evaluations)

    def _engine(self, scenario: Scenario, archive: Archive, seed: int) -> Engine:
        run = Run(f"run-{seed}", f"id-{seed}", "simulated", "score", scenario.direction, "simulated", seed, {}, {}, 0.0)
        archive.start_run(run)
        engine = Engine(self._parts(scenario), archive, run, archive.tree(run, CONDITIONS))
        engine.start({"train.py": "X = -1\n"})
        return engine

    def _play(self, engine: Engine, world: World, budgets: Sequence[int]) -> Result:
        clock, crowned = 0.0, False
        for evaluations in budgets:
            budget = Budget(evaluations=evaluations)
            controller = RunController(engine, budget, world.scenario.plan, monotonic=lambda: 0.0)
            while (request := controller.ask()) is not None:
                clock += 1.0
                controller.tell(scored(request, world.score(engine.tree, request.node_id), clock))
            result = _result(controller, engine.archive, world)
            crowned = crowned or result.champion
        engine.close()
        return replace(result, champion=crowned)

    def _parts(self, scenario: Scenario) -> EngineParts:
        operator = Numbers()
        views: Mapping[str, OperatorView] = {
            operator.name: OperatorView(operator.name, operator.arity, 1.0, operator.applies)
        }
        return EngineParts(
            task=self.task,
            program="",
            policy=Until(self.policy, scenario.candidates),
            operators={operator.name: operator},
            views=views,
            gate=lambda files: None,
            clock=lambda: 0.0,
            monotonic=lambda: 0.0,
        )


def scored(request: Request, score: float, at: float) -> Evaluation:
    common: dict[str, Any] = {"trust": "self_reported", "sandbox": "none", "device": "cpu"}
    resources = Resources(10.0, {"train": 10.0})
    return Scored(
        request=request,
        conditions=CONDITIONS,
        resources=resources,
        started_at=at,
        finished_at=at + 1,
        score=score,
        **common,
    )


def _result(controller: RunController, archive: Archive, world: World) -> Result:
    """From the decision that the search wrote down, and from the truth."""
    engine, result = controller.engine, controller.result
    assert result is not None
    last = archive.last_verdict(engine.run.run)
    kind, node_id = (last.kind, last.node_id) if last is not None else ("", "")
    difference = result.verdict.difference if result.verdict is not None else None
    return Result(
        champion=kind == "champion",
        true_gain=world.gains.get(node_id) if difference is not None else None,
        gain=None if difference is None else difference.gain,
        low=None if difference is None else difference.low,
        high=None if difference is None else difference.high,
        seeds=0 if difference is None else difference.baseline_n,
        screened=len(engine.tree) - 1,
        best=max((gain for node, gain in world.gains.items() if node != engine.tree.root), default=0.0),
    )


# ---------------------------------------------------------------- what many results say


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else float("nan")


def false_champions(results: Sequence[Result]) -> float:
    """The share of searches that declared a champion whose true mean is no better than the root's."""
    return share([r.champion and (r.true_gain or 0.0) <= 0.0 for r in results])


def coverage(results: Sequence[Result]) -> float:
    """The share of reported intervals that hold the true gain."""
    return share([r.low <= r.true_gain <= r.high for r in results if r.low is not None])  # type: ignore[operator]


def bias(results: Sequence[Result]) -> tuple[float, float]:
    """(mean of reported less true gain, its standard error), in sigma."""
    errors = np.array([r.gain - r.true_gain for r in results if r.gain is not None and r.true_gain is not None])
    return float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(len(errors)))
