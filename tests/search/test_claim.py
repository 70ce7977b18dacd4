"""The claim as a state machine over the tree: who is a finalist, what is trained, what is said; and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from growing import CONDITIONS, TUNE, Growth, Result, play

from archive.difference import Difference
from archive.records import Conditions, Replicate
from archive.tree import Tree
from search.claims.claim import NoClaim, Verdict, fit, next_moves, spent, verdict
from search.config import ClaimPlan
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.selection.samplers import Uniform
from search.policies.selection.scores import Equal

PLAN = ClaimPlan()


def grown(*scores: Result) -> tuple[Growth, list[str]]:
    """A root that scores 3.40 on average and a child for each score."""
    growth = Growth()
    growth.root(3.39, 3.41)
    return growth, [growth.child(score) for score in scores]


def names(moves: tuple[Replicate, ...]) -> list[tuple[str, str]]:
    return [(move.node_id, move.purpose) for move in moves]


class Runs:
    """Plays a claim: ``truth(node, purpose, run)`` gives each training's result."""

    def __init__(self, growth: Growth, plan: ClaimPlan) -> None:
        self.growth, self.plan, self.done = growth, plan, list[tuple[str, str]]()

    def play(self, results: dict[tuple[str, str], list[Result]], slots: int = 2) -> Verdict:
        flying = []
        left = {key: list(values) for key, values in results.items()}
        while (end := verdict(self.growth.tree, self.plan, "bpb")) is None:
            moves = next_moves(self.growth.tree, self.plan)
            while moves and len(flying) < slots:
                flying.append(self.growth.choose(moves[0]))
                self.done.append((moves[0].node_id, moves[0].purpose))
                moves = next_moves(self.growth.tree, self.plan)
            record = flying.pop(0)
            assert isinstance(record.move, Replicate)
            self.growth.land(record, left[record.move.node_id, record.move.purpose].pop(0))
        return end


# ---------------------------------------------------------------- the plan


def test_the_cost_of_a_plan() -> None:
    assert PLAN.evaluations == 3 * 2 + 2 * 4
    assert ClaimPlan(candidates=1).evaluations == 8


@pytest.mark.parametrize(
    ("left", "candidates", "report_seeds"),
    [
        (100, 3, 4),
        (14, 3, 4),
        (13, 2, 4),
        (12, 2, 4),
        (11, 1, 4),
        (8, 1, 4),
        (7, 1, 3),
        (6, 1, 3),
        (5, 1, 2),
        (4, 1, 2),
    ],
)
def test_fit_gives_up_candidates_first_then_seeds(left: int, candidates: int, report_seeds: int) -> None:
    plan = fit(PLAN, left)
    assert isinstance(plan, ClaimPlan)
    assert (plan.candidates, plan.report_seeds, plan.limit) == (candidates, report_seeds, left)
    assert plan.evaluations <= left


@pytest.mark.parametrize("left", [3, 0, -2])
def test_fit_says_why_no_claim_can_be_paid(left: int) -> None:
    answer = fit(PLAN, left)
    assert isinstance(answer, NoClaim)
    assert "at least 4 evaluations" in answer.reason
    assert f"the budget has {max(left, 0)} for it" in answer.reason


def test_a_plan_that_makes_no_claim_is_refused() -> None:
    for wrong in ({"candidates": 0}, {"confirm_seeds": 0}, {"report_seeds": 1}, {"confidence": 95.0}):
        with pytest.raises(ValueError, match="the claim"):
            ClaimPlan(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- finalists and moves


def test_finalists_are_the_best_three_and_take_turns() -> None:
    growth, (a, b, c, _, _) = grown(3.1, 3.0, 3.2, 3.3, "crashed")
    assert names(next_moves(growth.tree, PLAN)) == [(n, "confirm") for n in (b, a, c)] * 2
    assert verdict(growth.tree, PLAN) is None


def test_maximise_is_the_mirror() -> None:
    growth = Growth("maximise")
    growth.root(0.5)
    a, _, c = (growth.child(score) for score in (0.6, 0.4, 0.7))
    assert names(next_moves(growth.tree, PLAN)) == [(c, "confirm"), (a, "confirm")] * 2


def test_no_better_node_costs_nothing() -> None:
    growth, _ = grown(3.41, 3.5)
    end = verdict(growth.tree, PLAN, "bpb")
    assert end is not None
    assert (end.kind, end.node_id) == ("no_champion", growth.tree.root)
    assert end.reason.startswith(
        "no improvement beyond noise: no node has a better screening mean than the root (3.4 bpb)"
    )
    assert end.code == "none_better", "by it python -m archive compare counts a gain of 0"
    assert next_moves(growth.tree, PLAN) == ()


def test_a_lone_finalist_goes_straight_to_the_report() -> None:
    growth, (a, _) = grown(3.1, 3.6)
    root = growth.tree.root
    assert names(next_moves(growth.tree, PLAN)) == [(a, "report"), (root, "report")] * 4
    growth, (a, b) = grown(3.1, 3.0)
    assert names(next_moves(growth.tree, ClaimPlan(candidates=1))) == [(b, "report"), (growth.tree.root, "report")] * 4


def test_chosen_moves_are_not_asked_for_again() -> None:
    growth, _ = grown(3.1, 3.0)
    expected = names(next_moves(growth.tree, PLAN))
    for taken in range(4):
        moves = next_moves(growth.tree, PLAN)
        assert names(moves) == expected[taken:]
        growth.choose(moves[0])
    assert next_moves(growth.tree, PLAN) == ()
    assert verdict(growth.tree, PLAN) is None


def test_the_whole_claim_in_words() -> None:
    growth, (a, b, c) = grown(3.1, 3.0, 3.2)
    root = growth.tree.root
    runs = Runs(growth, PLAN)
    end = runs.play(
        {
            (a, "confirm"): [3.05, 3.06],
            (b, "confirm"): [3.15, 3.16],
            (c, "confirm"): [3.3, 3.3],
            (a, "report"): [3.07, 3.09, 3.08, 3.08],
            (root, "report"): [3.41, 3.40, 3.42, 3.41],
        }
    )
    assert end.kind == "champion"
    assert end.node_id == a
    assert end.reason == "3.41 -> 3.08 bpb (gain 0.33, 95% interval 0.32 to 0.34, 4 fresh seeds each)"
    assert end.baseline == (3.41, 3.40, 3.42, 3.41)
    assert end.champion == (3.07, 3.09, 3.08, 3.08)
    assert isinstance(end.difference, Difference)
    assert end.detail["low"] == end.difference.low
    assert len(runs.done) == PLAN.evaluations == spent(growth.tree)
    assert verdict(growth.tree, PLAN, "bpb") == end
    assert next_moves(growth.tree, PLAN) == ()


def test_noise_is_no_champion() -> None:
    growth, (a,) = grown(3.1)
    end = Runs(growth, PLAN).play(
        {(a, "report"): [3.40, 3.43, 3.38, 3.40], (growth.tree.root, "report"): [3.41, 3.40, 3.42, 3.39]}
    )
    assert end.kind == "no_champion"
    assert end.reason.startswith("no improvement beyond noise: 3.41 -> 3.40 bpb (gain 0.00, 95% interval")


def test_a_worse_nominee_is_no_champion_however_sure() -> None:
    growth, (a,) = grown(3.1)
    end = Runs(growth, PLAN).play(
        {(a, "report"): [3.60, 3.61, 3.60, 3.61], (growth.tree.root, "report"): [3.41, 3.40, 3.42, 3.39]}
    )
    assert end.kind == "no_champion"


def test_screening_scores_never_enter_the_claim() -> None:
    growth, (a,) = grown(0.001)
    root = growth.tree.root
    same = [3.40, 3.41, 3.39, 3.40]
    end = Runs(growth, PLAN).play({(a, "report"): same, (root, "report"): same})
    assert end.kind == "no_champion"
    assert end.difference is not None
    assert end.difference.gain == pytest.approx(0)


# ---------------------------------------------------------------- resume


def test_finalists_do_not_change_when_a_late_screening_lands() -> None:
    growth, (a, b, c) = grown(3.1, 3.0, 3.2)
    late = growth.child(None)
    record = growth.tree.open_moves[growth.tree[late].move]
    for move in next_moves(growth.tree, PLAN)[:3]:
        growth.choose(move)
    growth.land(record, 0.5)
    assert growth.tree.leader() == late
    assert names(next_moves(growth.tree, PLAN)) == [(n, "confirm") for n in (b, a, c)]


def test_a_nominee_does_not_change_once_reported_on() -> None:
    growth, (a,) = grown(3.1)
    late = growth.child(None)
    record = growth.tree.open_moves[growth.tree[late].move]
    growth.choose(next_moves(growth.tree, PLAN)[0])
    growth.land(record, 0.5)
    wanted = names(next_moves(growth.tree, PLAN))
    assert wanted.count((a, "report")) == 3
    assert {node_id for node_id, _ in wanted} == {a, growth.tree.root}


def test_a_search_that_goes_on_begins_a_new_claim() -> None:
    growth, (a,) = grown(3.1)
    root = growth.tree.root
    noise: list[Result] = [3.40, 3.41, 3.39, 3.40]
    first = Runs(growth, PLAN).play({(a, "report"): noise, (root, "report"): noise})
    assert spent(growth.tree) == 8
    b = growth.child(3.0)
    assert spent(growth.tree) == 0
    assert names(next_moves(growth.tree, PLAN)) == [(b, "confirm"), (a, "confirm")] * 2
    second = Runs(growth, PLAN).play(
        {
            (a, "confirm"): [3.4, 3.4],
            (b, "confirm"): [3.0, 3.0],
            (b, "report"): [3.0, 3.01, 2.99, 3.0],
            (root, "report"): noise,
        }
    )
    assert first.kind == "no_champion"
    assert second.kind == "champion"
    assert second.difference is not None
    assert second.difference.baseline_n == 4, "the first claim's baseline is not used again"
    assert "claim 2 of this run" in second.reason


def test_fit_keeps_its_limit_while_a_claim_lands() -> None:
    growth, (a, b) = grown(3.1, 3.0)
    budget = growth.tree.evaluated + 12
    results: dict[str, float] = {a: 3.1, b: 3.0, growth.tree.root: 3.4}
    while True:
        plan = fit(PLAN, budget - growth.tree.evaluated + spent(growth.tree))
        assert isinstance(plan, ClaimPlan)
        assert (plan.candidates, plan.limit) == (2, 12)
        if verdict(growth.tree, plan):
            break
        move = next_moves(growth.tree, plan)[0]
        growth.land(growth.choose(move), results[move.node_id])
    assert growth.tree.evaluated == budget


def test_a_lost_training_is_neither_done_nor_chosen_again() -> None:
    growth, (a,) = grown(3.1)
    record = growth.choose(next_moves(growth.tree, PLAN)[0])
    growth.land(record, "lost")
    assert names(next_moves(growth.tree, PLAN)).count((a, "report")) == 3
    assert spent(growth.tree) == 0


def test_scores_under_other_conditions_do_not_count() -> None:
    growth, (a,) = grown(3.1)
    plan = ClaimPlan(limit=20)
    record = growth.choose(next_moves(growth.tree, plan)[0])
    growth.land(record, 0.1, Conditions("corpus", 10.0, "another machine"))
    assert names(next_moves(growth.tree, plan)).count((a, "report")) == 4
    assert growth.tree.conditions == CONDITIONS


# ---------------------------------------------------------------- failures


def test_a_failed_finalist_is_replaced_while_the_limit_lasts() -> None:
    growth, (a, _, c, d) = grown(3.1, 3.0, 3.2, 3.3)
    growth.land(growth.choose(next_moves(growth.tree, PLAN)[0]), "crashed")  # b
    within = {node_id for node_id, _ in names(next_moves(growth.tree, PLAN))}
    assert within == {a, c}, "the plan's own cost does not pay for a fourth"
    roomy = ClaimPlan(limit=16)
    assert {node_id for node_id, _ in names(next_moves(growth.tree, roomy))} == {a, c, d}


def test_the_last_finalist_standing_needs_no_confirmation() -> None:
    growth, (a, b) = grown(3.1, 3.0)
    growth.land(growth.choose(next_moves(growth.tree, PLAN)[0]), "timed_out")  # b
    assert (a, "report") in names(next_moves(growth.tree, PLAN))
    root = growth.tree.root
    end = Runs(growth, PLAN).play({(a, "report"): [3.1, 3.11, 3.1, 3.1], (root, "report"): [3.4, 3.41, 3.4, 3.4]})
    assert end.kind == "champion"
    assert f"{b[:8]} is out: timed_out in its confirm run" in end.reason


def test_a_nominee_that_fails_gives_way_to_the_next_best_by_confirmation() -> None:
    growth, (a, b, c) = grown(3.1, 3.0, 3.2)
    root = growth.tree.root
    results: dict[tuple[str, str], list[Result]] = {
        (a, "confirm"): [3.15, 3.15],
        (b, "confirm"): [3.0, 3.0],
        (c, "confirm"): [3.1, 3.1],
        (b, "report"): ["invalid", 3.0, 3.0, 3.0],
        (c, "report"): [3.1, 3.11, 3.1, 3.09],
        (root, "report"): [3.4, 3.41, 3.4, 3.4],
    }
    runs = Runs(growth, ClaimPlan(limit=20))
    end = runs.play(results)
    assert (end.kind, end.node_id) == ("champion", c)
    assert len(end.baseline) == len(end.champion) == 4
    assert runs.done.count((root, "report")) == 4, "the root's runs serve the stand-in too"


def test_a_failed_nominee_without_a_stand_in_ends_the_claim() -> None:
    growth, (a,) = grown(3.1)
    moves = next_moves(growth.tree, PLAN)
    growth.land(growth.choose(moves[0]), "out_of_memory")
    end = verdict(growth.tree, PLAN)
    assert end is not None
    assert (end.kind, end.node_id) == ("no_champion", growth.tree.root)
    assert f"{a[:8]} is out: out_of_memory in its report run" in end.reason
    assert next_moves(growth.tree, PLAN) == ()


def test_a_stand_in_that_cannot_be_paid_is_not_begun() -> None:
    growth, (a, b) = grown(3.1, 3.0)
    results: dict[tuple[str, str], list[Result]] = {
        (a, "confirm"): [3.1, 3.1],
        (b, "confirm"): [3.0, 3.0],
        (b, "report"): [3.0, 3.0, 3.0, "crashed"],
        (growth.tree.root, "report"): [3.4, 3.4, 3.4, 3.4],
    }
    runs = Runs(growth, ClaimPlan(limit=13))  # one is left when b fails
    end = runs.play(results)
    assert end.kind == "no_champion"
    assert (a, "report") not in runs.done
    assert len(runs.done) == 12


def test_a_root_run_that_fails_is_tried_again() -> None:
    growth, (a,) = grown(3.1)
    root = growth.tree.root
    results: dict[tuple[str, str], list[Result]] = {
        (a, "report"): [3.1, 3.11, 3.1, 3.09],
        (root, "report"): ["timed_out", 3.4, 3.41, 3.4, 3.4],
    }
    end = Runs(growth, ClaimPlan(limit=9)).play(results)
    assert (end.kind, len(end.baseline)) == ("champion", 4)
    growth, (a,) = grown(3.1)
    results = {(a, "report"): results[a, "report"], (growth.tree.root, "report"): results[root, "report"]}
    end = Runs(growth, ClaimPlan(candidates=1)).play(results)
    assert (end.kind, len(end.baseline)) == ("champion", 3)
    assert "3 and 4 fresh seeds" in end.reason
    assert "the root failed 1 of its report runs (timed_out)" in end.reason


def test_a_root_that_always_fails_is_said_and_ends() -> None:
    growth, (a,) = grown(3.1)
    runs = Runs(growth, ClaimPlan(limit=1000))
    end = runs.play({(a, "report"): [3.1] * 4, (growth.tree.root, "report"): ["crashed"] * 50})
    assert end.kind == "no_champion"
    assert end.reason.startswith("no claim: the baseline has 0 scores")
    assert "the root failed" in end.reason
    assert len(runs.done) <= 9


def test_a_node_found_invalid_before_is_no_finalist() -> None:
    growth, (a, b) = grown(3.1, 0.1)
    growth.land(growth.choose(Replicate(b)), "invalid")
    assert {n for n, _ in names(next_moves(growth.tree, PLAN))} == {a, growth.tree.root}


def test_a_root_without_a_score_makes_no_claim() -> None:
    growth = Growth()
    growth.root("crashed")
    end = verdict(growth.tree, PLAN)
    assert end is not None
    assert "the root has no score" in end.reason
    with pytest.raises(ValueError, match="empty tree"):
        verdict(Growth().tree, PLAN)


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_a_claim_always_ends_within_its_limit(slots: int) -> None:
    """Whatever fails, in whatever order: no deadlock, no overdraft, and the same verdict when asked again."""
    for seed in range(60):
        rng = np.random.default_rng((seed, slots))
        growth = Growth()
        growth.root(3.4)
        for _ in range(int(rng.integers(0, 6))):
            growth.child(float(rng.normal(3.4, 0.2)))
        plan = ClaimPlan(limit=int(rng.integers(4, 30)))
        flying, chosen, failing = [], 0, rng.random() * 0.6
        while verdict(growth.tree, plan) is None:
            moves = next_moves(growth.tree, plan)
            for move in moves[: slots - len(flying)]:
                flying.append(growth.choose(move))
                chosen += 1
            assert flying, "neither a verdict nor a move nor anything under way"
            record = flying.pop(int(rng.integers(len(flying))))
            growth.land(record, "crashed" if rng.random() < failing else float(rng.normal(3.3, 0.1)))
        assert chosen <= (plan.limit or 0)
        end = verdict(growth.tree, plan)
        for record in flying:
            growth.land(record, 3.0)
        again = verdict(growth.tree, plan)
        assert end is not None
        assert again is not None
        assert (again.kind, again.node_id) == (end.kind, end.node_id)


# ---------------------------------------------------------------- by simulation


def claimed(candidates: int, seed: int, gain: float = 0.0) -> tuple[Tree, Verdict]:
    """A whole search through the real policy, tree and claim. Every child is ``gain`` sigma better than the root."""
    growth, rng = Growth(), np.random.default_rng((candidates, seed))

    def result(node_id: str) -> float:
        return float(rng.normal() - (gain if node_id != root else 0.0))

    root = growth.root(float(rng.normal()))
    policy = Composition(Equal(), Uniform(), opening=BaselineRuns(3))
    play(growth, policy, {"tune": TUNE}, candidates + 2, result, seed)
    while (end := verdict(growth.tree, PLAN)) is None:
        for move in next_moves(growth.tree, PLAN):
            growth.land(growth.choose(move), result(move.node_id))
    return growth.tree, end


def false_champions_and_coverage(candidates: int, searches: int) -> tuple[float, float, float]:
    """(share of searches that crown a null candidate, share of intervals that cover 0, mean reported gain)."""
    crowned, covered, gains = 0, 0, []
    for seed in range(searches):
        _, end = claimed(candidates, seed)
        crowned += end.kind == "champion"
        if end.difference is not None:
            covered += end.difference.low <= 0 <= end.difference.high
            gains.append(end.difference.gain)
    return crowned / searches, covered / len(gains), float(np.mean(gains))


@pytest.mark.slow
def test_null_candidates_are_hardly_ever_crowned() -> None:
    false_champion, coverage, bias = false_champions_and_coverage(12, 200)
    assert false_champion <= 0.05
    assert coverage >= 0.91  # 95% less three standard errors of 200 searches
    assert abs(bias) < 3 * math.sqrt(0.5 / 200)


def test_a_real_gain_is_crowned() -> None:
    crowned = [claimed(12, seed, gain=4.0)[1].kind for seed in range(25)]
    assert crowned.count("champion") >= 21


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidates", "searches"),
    [(100, 200), *(pytest.param(each, 1000, marks=pytest.mark.nightly) for each in (12, 100))],
)
def test_false_champions_and_coverage_over_many_searches(candidates: int, searches: int) -> None:
    """Within three standard errors; a false champion is due once in forty."""
    false_champion, coverage, bias = false_champions_and_coverage(candidates, searches)
    assert false_champion <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / searches)
    assert abs(coverage - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / searches)
    assert abs(bias) < 3 * math.sqrt(0.5 / searches)
