"""All claims on one holdout spend one error budget: levels, their count in code and SQL, and what null runs crown."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from growing import Growth
from simulated import CONDITIONS, Ledger, Scenario, Simulator

from archive.query.query import open_reader
from archive.records import Replicate
from archive.storage.store import Archive
from search.claims.claim import next_moves, verdict
from search.claims.error_budget import claims_before, confidence_of, percent, spent_confidence
from search.config import ClaimPlan


def test_the_shares_of_all_claims_sum_to_the_budget() -> None:
    assert spent_confidence(0.95, 0) == pytest.approx(0.95), "a run with a single claim has the usual interval"
    assert spent_confidence(0.95, 1) == pytest.approx(1 - 0.1 / 6)
    for confidence in (0.9, 0.95):
        one_sided = [(1 - spent_confidence(confidence, earlier)) / 2 for earlier in range(100_000)]
        assert sum(one_sided) == pytest.approx(1 - confidence, rel=1e-4)
        assert sum(one_sided) <= 1 - confidence
        assert one_sided == sorted(one_sided, reverse=True)


@pytest.mark.parametrize(
    ("earlier", "words"), [(0, "95%"), (1, "98.3%"), (2, "99.17%"), (9, "99.909%"), (99, "99.99901%")]
)
def test_a_level_is_never_rounded_to_certainty(earlier: int, words: str) -> None:
    assert percent(spent_confidence(0.95, earlier)) == words


def play(growth: Growth, plan: ClaimPlan, scores: Callable[[str, str], float]) -> Any:
    while (found := verdict(growth.tree, plan)) is None:
        move = next_moves(growth.tree, plan)[0]
        growth.land(growth.choose(move), scores(move.node_id, move.purpose))
    return found


def test_a_later_claim_needs_a_clearer_gain() -> None:
    """The same scores twice: crowned by the first claim of a run, and not by the second."""
    growth, plan = Growth(), ClaimPlan(candidates=1, report_seeds=4)
    growth.root(3.4)
    child = growth.child(3.3)
    shifts = iter([-0.01, -0.01, 0.01, 0.01] * 6)

    def score(node_id: str, purpose: str) -> float:
        return (3.375 if node_id == child else 3.4) + next(shifts)

    first = play(growth, plan, score)
    growth.child(3.5)
    assert claims_before(growth.tree) == 1
    assert confidence_of(growth.tree, plan) == pytest.approx(spent_confidence(0.95, 1))
    second = play(growth, plan, score)
    assert first.difference.gain == pytest.approx(second.difference.gain)
    assert (first.kind, second.kind) == ("champion", "no_champion")
    assert "95% interval" in first.reason
    assert "98.3% interval" in second.reason
    assert "claim 2 of this run, judged at 98.3%: all of them together may err with 0.05" in second.reason
    assert second.detail["confidence"] == pytest.approx(spent_confidence(0.95, 1))
    assert play(growth, replace(plan, claims_elsewhere=2), score).difference.confidence == spent_confidence(0.95, 3)


def test_a_claim_that_read_no_holdout_spends_nothing() -> None:
    growth, plan = Growth(), ClaimPlan(candidates=2, confirm_seeds=1)
    growth.root(3.4)
    child = growth.child(3.3)
    growth.land(growth.choose(Replicate(child, "confirm")), 3.3)
    growth.choose(Replicate(child, "report"))  # chosen, and killed before it landed
    growth.child(3.2)
    assert claims_before(growth.tree) == 0
    assert confidence_of(growth.tree, plan) == pytest.approx(0.95)


@pytest.mark.slow
def test_archive_and_tree_count_the_same_claims(start: Callable[..., Any], tmp_path: Path) -> None:
    """Two runs on one holdout, one of them grown twice; a restart of a finished run keeps the level that it had."""
    first = start("run=a")
    for evaluations in (60, 90):
        bench = start("run=a", f"budget.evaluations={evaluations}")
    other = start("run=b")
    rows = open_reader(tmp_path / "archive.duckdb").query("SELECT run, claim FROM claims ORDER BY began").rows
    assert rows == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert claims_before(bench.search.tree) == 2
    levels = [one.result.verdict.difference.confidence for one in (first, bench, other)]
    assert levels == [pytest.approx(spent_confidence(0.95, earlier)) for earlier in (0, 2, 3)]
    assert "claim 4 on this holdout" in other.result.verdict.reason
    again = start("run=a", "budget.evaluations=90")
    assert again.result.verdict == bench.result.verdict
    assert len(open_reader(tmp_path / "archive.duckdb").query("FROM decisions WHERE kind <> 'leader'").rows) == 4


def test_another_holdout_has_a_budget_of_its_own() -> None:
    with Archive.in_memory(clock=lambda: 0.0) as archive:
        assert archive.claims_elsewhere("night", CONDITIONS.fingerprint, 0) == 0


@pytest.mark.slow
def test_ten_resumes_crown_few_null_runs() -> None:
    """Every run is grown ten times, and nothing is better than the root: at most 5% of the runs ever crown."""
    simulator, runs = Simulator(), 60
    plan = replace(simulator.claim, candidates=1, smallest_gain=None)
    scenario, budgets = Scenario(1000, lambda rng, parent: 0.0, plan, 0), [16 + 12 * resume for resume in range(11)]
    with Ledger.in_memory(clock=lambda: 0.0) as archive:
        crowned = sum(simulator.grown(scenario, archive, seed, budgets).champion for seed in range(runs))
    assert crowned / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
