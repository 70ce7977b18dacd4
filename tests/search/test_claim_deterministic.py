"""Claims of deterministic tasks: two evaluations, an exact verdict, and no word of seeds or intervals without width."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from growing import Growth

import search
from archive.records import MoveRecord, Propose, Replicate, Request, WindowScores
from search.claims.claim import Verdict, next_moves, verdict
from search.claims.plan import fit, sized
from search.config import ClaimPlan
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.replicate import LeaderReplication

Cases = Mapping[str, float]
VAL = {"a": 1.0}


def land(growth: Growth, record: MoveRecord, cases: Cases, at: str | None) -> None:
    values = np.array(list(cases.values()))
    windows = None if at is None else WindowScores.of(at, values)
    growth.land(record, float(values.mean()), windows=windows, cases=cases)


def claimed(
    val: tuple[Cases, Cases], holdout: tuple[Cases, Cases], at: str | None = None, smallest: float | None = None
) -> Verdict:
    """The claim of a child against the root on these cases. ``at``: the name of the holdout's set of cases."""
    growth = Growth("maximise")
    growth.tree.deterministic = True
    for operator, cases in zip(("seed", "tune"), val, strict=True):
        record = growth.choose(Propose(operator, () if operator == "seed" else (growth.tree.root,)))
        growth.add(record)
        land(growth, record, cases, None if at is None else "val")
    plan = fit(sized(ClaimPlan(smallest_gain=smallest), growth.tree), 100)
    assert isinstance(plan, ClaimPlan)
    made = 0
    while (end := verdict(growth.tree, plan, "")) is None:
        for move in next_moves(growth.tree, plan):
            land(growth, growth.choose(move), holdout[growth.tree.index[move.node_id]], at)
            made += 1
    assert made == 2
    assert "deviation" not in end.reason
    assert "width" not in end.reason
    return end


@pytest.mark.parametrize("at", ["val", None])
def test_one_instance_is_verified_by_repetition(at: str | None) -> None:
    end = claimed((VAL, {"a": 1.5}), (VAL, {"a": 1.5}), at)
    assert (end.kind, end.code) == ("champion", "verified")
    assert "deterministic, verified" in end.reason
    assert end.detail["gain"] == 0.5


def test_two_scores_of_one_program_are_no_claim() -> None:
    end = claimed((VAL, {"a": 1.5}), (VAL, {"a": 1.25}))
    assert (end.kind, end.code) == ("no_champion", "not_deterministic")
    assert "the task says deterministic: true, and two evaluations of the same program" in end.reason
    assert "gave 1.5 and 1.25" in end.reason


def test_another_instance_decides_exactly() -> None:
    assert claimed((VAL, {"a": 1.5}), ({"a": 2.0}, {"a": 2.25}), "holdout").code == "verified"
    assert claimed((VAL, {"a": 1.5}), ({"a": 2.0}, {"a": 2.0}), "holdout").code == "too_small"


def test_a_gain_below_the_smallest_worth_claiming_is_no_champion() -> None:
    end = claimed((VAL, {"a": 1.5}), (VAL, {"a": 1.5}), smallest=0.6)
    assert (end.kind, end.code) == ("no_champion", "too_small")
    assert claimed((VAL, {"a": 1.5}), (VAL, {"a": 1.5}), smallest=0.5).code == "verified"


def test_other_cases_are_a_sample_and_their_gains_are_paired() -> None:
    """The spread between cases (100) hides the gain of 1 unless cases are paired."""
    val = {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 2.0}
    root = {str(i): 100.0 * i for i in range(8)}
    end = claimed(val, (root, {name: value + 1 + 0.1 * (i % 2) for i, (name, value) in enumerate(root.items())}), "h")
    assert (end.kind, end.code) == ("champion", "improvement")
    assert "over 8 cases, paired" in end.reason
    end = claimed(val, (root, {name: value + (-1) ** i for i, (name, value) in enumerate(root.items())}), "h")
    assert (end.kind, end.code) == ("no_champion", "within_noise")


def test_nothing_is_evaluated_twice_during_the_search() -> None:
    growth = Growth()
    growth.tree.deterministic = True
    growth.root(3.0)
    leader = growth.child(2.0)
    for _ in range(20):
        growth.child(2.5, leader)
    assert BaselineRuns(root_runs=3).choose(growth.tree) is None
    assert LeaderReplication(runs=3, after=1).choose(growth.tree) is None
    growth.tree.deterministic = False
    assert isinstance(BaselineRuns(root_runs=3).choose(growth.tree), Replicate)
    assert isinstance(LeaderReplication(runs=3, after=1).choose(growth.tree), Replicate)


def test_a_plan_without_seeds_costs_two_evaluations() -> None:
    growth = Growth()
    growth.root(3.0)
    assert sized(ClaimPlan(), growth.tree).evaluations > 2
    growth.tree.deterministic = True
    assert sized(ClaimPlan(), growth.tree).evaluations == 2


def test_a_whole_search_spends_one_evaluation_on_the_root_and_two_on_the_claim() -> None:
    def bowl(request: Request) -> float:
        values: dict[str, float] = {}
        exec(request.files["train.py"], values)
        return (values["X"] - 0.3) ** 2

    task = search.OwnTask(bowl, "X = 1.0  # tune: -2..2\n", direction="minimise", name="bowl", deterministic=True)
    with search.Search(task, policy="ucb", operators="numeric", budget=12, seed=1) as s:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        asked = s.archive.query("SELECT purpose, node_id, count(*) FROM evaluations GROUP BY ALL")
        root = s.tree.root
        assert sum(count for _, _, count in asked) == 12
        assert all(count == 1 for _, _, count in asked)
        assert sum(purpose == "report" for purpose, _, _ in asked) == 2
        assert ("report", root, 1) in asked
        (verdict,) = s.archive.query("SELECT code, reason FROM decisions WHERE kind = 'champion'")
        assert verdict[0] == "verified"
        assert "deterministic, verified: both scores came out again exactly" in verdict[1]
        assert s.archive.query("SELECT count(*) FROM noise") == [(0,)]
