"""The parts of a policy, each on a small tree whose answer is known by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from growing import ALL, CONDITIONS, CROSSOVER, DEBUG, DRAFT, NUMERIC, TUNE, Growth, always, play
from scipy.stats import rankdata

from archive.records import Conditions, Propose, Replicate, Stop, Wait
from search.policies import Composition, OperatorView
from search.policies.base import Choice, Operators, screening_count
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.debug import Debugging
from search.policies.phases.drafts import InitialDrafts
from search.policies.phases.replicate import LeaderReplication
from search.policies.phases.stagnation import StagnationHandling
from search.policies.population.partners import RankPartner, related
from search.policies.selection.samplers import Argmax, EpsilonGreedy, Uniform
from search.policies.selection.scores import Equal, FlatUcb, KeptLine, Rank

UCB = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(1))
ONLY_TUNE = {"tune": TUNE}


def choose(policy: Composition, growth: Growth, operators: Operators, seed: int = 0) -> Choice:
    return policy.choose(growth.tree, np.random.default_rng(seed), operators)


# ---------------------------------------------------------------- node scores


def test_flat_ucb_is_its_formula() -> None:
    growth = Growth()
    root = growth.root(3.0)
    good = growth.child(2.0)
    growth.child(4.0)
    growth.child("crashed")
    growth.child(None, good)
    visits = np.array([3, 1, 0])
    expected = np.array([0.5, 1.0, 0.0]) + 0.1 * np.sqrt(math.log(1 + 4) / (1 + visits))
    scores = FlatUcb(c=0.1)(growth.tree)
    assert scores[:3] == pytest.approx(expected)
    assert np.isnan(scores[3:]).all()
    assert growth.tree.root == root


def test_charges_of_failed_nodes_do_not_count_in_the_sum() -> None:
    growth = Growth()
    growth.root(3.0)
    broken = growth.child("crashed")
    growth.child(None, broken, operator="debug")
    assert FlatUcb(c=1.0)(growth.tree)[0] == pytest.approx(1.0 + math.sqrt(math.log(1 + 1) / 2))


def test_kept_line_keeps_the_first_improvement_and_never_returns() -> None:
    growth = Growth()
    growth.root(3.0)
    worse = growth.child(3.5)
    kept = growth.child(2.9)
    late = growth.child(2.5)  # a better sibling that arrived while the head had moved on
    growth.child(2.0, worse)  # a child of a reverted node is off the line
    head = growth.child(2.8, kept)
    growth.child(2.8, head)  # equal is not better
    scores = KeptLine()(growth.tree)
    assert np.flatnonzero(~np.isnan(scores)).tolist() == [growth.tree.index[head]]
    assert late != head


def test_kept_line_starts_at_the_root() -> None:
    growth = Growth()
    growth.root(3.0)
    assert KeptLine()(growth.tree).tolist() == [1.0]
    growth.child("crashed")
    assert np.flatnonzero(KeptLine()(growth.tree) == 1).tolist() == [0]


def test_equal_and_rank_leave_out_what_has_no_score() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.child("invalid")
    growth.child("crashed")
    growth.child(2.0)
    np.testing.assert_array_equal(Equal()(growth.tree), [0, np.nan, np.nan, 0])
    np.testing.assert_array_equal(Rank()(growth.tree), [0, np.nan, np.nan, 1])


# ---------------------------------------------------------------- samplers


def test_samplers() -> None:
    rng, tree = np.random.default_rng(0), Growth().tree
    scores = np.array([np.nan, 1.0, 3.0, 3.0])
    assert Argmax()(tree, scores, rng) == 2
    drawn = [Uniform()(tree, scores, rng) for _ in range(300)]
    assert {place: drawn.count(place) > 70 for place in set(drawn)} == {1: True, 2: True, 3: True}
    greedy = [EpsilonGreedy(0.3)(tree, scores, rng) for _ in range(300)]
    assert 2 / 3 < greedy.count(2) / 300 < 0.9
    for sampler in (Argmax(), Uniform(), EpsilonGreedy()):
        assert sampler(tree, np.array([np.nan]), rng) is None
    with pytest.raises(ValueError, match=r"policy.sampler.epsilon is 2.0; .*probability"):
        EpsilonGreedy(2.0)


# ---------------------------------------------------------------- opening


def test_the_opening_replicates_and_proposes_nothing_before_the_first_score() -> None:
    policy = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(3))
    growth = Growth()
    assert isinstance(choose(policy, growth, ONLY_TUNE), Wait)
    seed_move = growth.choose(Propose("seed", ()))
    assert isinstance(choose(policy, growth, ONLY_TUNE), Wait)
    root = growth.add(seed_move)
    for run in (2, 3):  # a second slot need not wait for the first score
        move = choose(policy, growth, ONLY_TUNE)
        assert isinstance(move, Replicate)
        assert (move.node_id, move.purpose) == (root, "screen")
        assert f"run {run} of 3" in move.reason
        growth.choose(move)
    assert isinstance(choose(policy, growth, ONLY_TUNE), Wait)
    growth.land(seed_move, 3.0)
    assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (root,))  # the replicates are still in flight


def test_a_root_that_fails_now_and_then_does_not_hold_up_the_search() -> None:
    growth = Growth()
    growth.root(3.0, "timed_out", 3.1)
    assert BaselineRuns(3).choose(growth.tree) is None
    assert screening_count(growth.tree, growth.tree.root) == 3


def test_a_root_that_fails_its_first_run_stops_the_search() -> None:
    growth = Growth()
    growth.root("crashed")
    stop = choose(UCB, growth, ONLY_TUNE)
    assert isinstance(stop, Stop)
    assert "crashed: it broke" in stop.reason


def test_no_more_is_spent_on_a_root_that_failed_while_its_other_runs_are_under_way() -> None:
    policy = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(3))
    growth = Growth()
    record = growth.choose(Propose("seed", ()))
    root = growth.add(record)
    again = growth.choose(Replicate(root))
    growth.land(record, "crashed")
    assert isinstance(choose(policy, growth, ONLY_TUNE), Wait)
    growth.land(again, 3.0)
    assert choose(policy, growth, ONLY_TUNE) == Replicate(root, reason="seed deviation of the root: run 3 of 3")


def test_a_lost_first_run_is_waited_for() -> None:
    growth = Growth()
    growth.root("lost")
    assert isinstance(choose(UCB, growth, ONLY_TUNE), Wait)


def test_other_conditions_ask_for_the_root_again() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.tree = other = Growth().tree
    other.conditions = Conditions("corpus", 10.0, "cuda")
    growth.next_move = 0
    growth.root(3.0)
    move = choose(UCB, growth, ONLY_TUNE)
    assert isinstance(move, Replicate)
    assert "present conditions" in move.reason


# ---------------------------------------------------------------- recheck


def test_recheck_waits_for_children_and_stops_at_its_runs() -> None:
    growth = Growth()
    growth.root(3.0)
    leader = growth.child(2.0)
    recheck = LeaderReplication(runs=2, after=3)
    for _ in range(3):
        assert recheck.choose(growth.tree) is None
        growth.child(2.5, leader)
    move = recheck.choose(growth.tree)
    assert isinstance(move, Replicate)
    assert move.node_id == leader
    record = growth.choose(move)
    assert recheck.choose(growth.tree) is None, "a pending replicate counts"
    growth.land(record, "crashed")
    for _ in range(20):
        growth.child(2.5, leader)
    assert recheck.choose(growth.tree) is None, "a failed one counts too"
    assert LeaderReplication(runs=1, after=1).choose(growth.tree) is None
    with pytest.raises(ValueError, match="at least 1"):
        LeaderReplication(runs=0)


def test_recheck_leaves_the_root_to_the_opening() -> None:
    growth = Growth()
    growth.root(3.0)
    for _ in range(9):
        growth.child(4.0)
    assert LeaderReplication(runs=5, after=1).choose(growth.tree) is None


# ---------------------------------------------------------------- drafting and repair


def test_the_first_drafts_come_from_the_root() -> None:
    policy = dataclasses.replace(UCB, drafting=InitialDrafts(count=3))
    growth = Growth()
    root = growth.root(3.0)
    for _ in range(3):
        move = choose(policy, growth, ALL)
        assert move == Propose("draft", (root,))
        growth.child(2.0, root, operator="draft")
    assert choose(policy, growth, {"tune": TUNE, "draft": DRAFT}) != Propose("draft", (root,))


def test_without_a_draft_operator_the_root_still_gets_its_children() -> None:
    policy = Composition(Rank(), Argmax(), opening=BaselineRuns(1), drafting=InitialDrafts(count=2))
    growth = Growth()
    root = growth.root(3.0)
    best = growth.child(1.0)
    assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (root,))
    growth.refuse(Propose("tune", (root,)))  # refused ones count
    assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (best,))


def test_repair_debugs_failed_leaves_only() -> None:
    policy = dataclasses.replace(UCB, repair=Debugging(probability=1.0))
    growth = Growth()
    growth.root(3.0)
    assert choose(policy, growth, {"tune": TUNE, "debug": DEBUG}).operator == "tune"  # type: ignore[union-attr]
    broken = growth.child("crashed")
    assert choose(policy, growth, {"tune": TUNE, "debug": DEBUG}) == Propose("debug", (broken,))
    growth.child(None, broken, operator="debug")
    move = choose(policy, growth, {"tune": TUNE, "debug": DEBUG})
    assert isinstance(move, Propose)
    assert move.operator == "tune", "it is being debugged already"


def test_repair_gives_up_at_its_depth_and_without_an_operator() -> None:
    growth = Growth()
    growth.root(3.0)
    node = growth.child("crashed")
    for _ in range(2):
        node = growth.child("crashed", node, operator="debug")
    rng = np.random.default_rng(0)
    assert Debugging(1.0, max_depth=3).choose(growth.tree, rng, ALL) == Propose("debug", (node,))
    assert Debugging(1.0, max_depth=2).choose(growth.tree, rng, ALL) is None
    assert Debugging(1.0).choose(growth.tree, rng, NUMERIC) is None
    assert Debugging(0.0).choose(growth.tree, rng, ALL) is None


# ---------------------------------------------------------------- operators and mating


def test_operators_are_drawn_by_weight() -> None:
    growth = Growth()
    growth.root(3.0)
    operators = {
        "often": OperatorView("often", 1, 3.0, always),
        "seldom": OperatorView("seldom", 1, 1.0, always),
        "never": OperatorView("never", 1, 0.0, always),
    }
    drawn = [choose(UCB, growth, operators, seed).operator for seed in range(400)]  # type: ignore[union-attr]
    assert 0.68 < drawn.count("often") / 400 < 0.82
    assert "never" not in drawn


def test_the_order_of_the_operators_decides_nothing() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.child(2.0)
    growth.child(2.5)
    backwards = dict(reversed(ALL.items()))
    assert [choose(UCB, growth, ALL, s) for s in range(20)] == [choose(UCB, growth, backwards, s) for s in range(20)]


@pytest.mark.parametrize("wrong", [{"arity": 3}, {"weight": -1.0}, {"weight": math.nan}])
def test_a_wrong_operator_is_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="operator 'tune'"):
        dataclasses.replace(TUNE, **wrong)  # type: ignore[arg-type]


def test_a_crossover_needs_an_unrelated_partner_of_the_better_half() -> None:
    growth = Growth()
    growth.root(3.0)
    a = growth.child(2.0)
    b = growth.child(2.1)
    poor = growth.child(9.0)
    below = growth.child(1.9, a)
    growth.child("crashed", b)
    tree, rng = growth.tree, np.random.default_rng(0)
    partners = {RankPartner().partner(tree, tree.index[a], rng) for _ in range(50)}
    assert partners == {tree.index[b]}
    partners = {RankPartner().partner(tree, tree.index[b], rng) for _ in range(100)}
    assert partners == {tree.index[a], tree.index[below]}
    assert tree.index[poor] not in partners


def test_partners_are_drawn_by_rank() -> None:
    growth = Growth()
    growth.root(9.0)
    nodes = [growth.child(float(score)) for score in range(1, 12)]
    tree, rng = growth.tree, np.random.default_rng(0)
    drawn = [RankPartner().partner(tree, 11, rng) for _ in range(600)]
    counts = [drawn.count(tree.index[node_id]) for node_id in nodes[:5]]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 2 * counts[4] > 0


def test_crossover_alone_on_a_line_ends_with_a_reason_not_a_crash() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.child(2.0)
    assert isinstance(choose(UCB, growth, {"crossover": CROSSOVER}), Stop)
    growth.child(None)
    assert isinstance(choose(UCB, growth, {"crossover": CROSSOVER}), Wait)
    assert isinstance(choose(UCB, growth, {}), Wait)


def test_related_sees_through_a_crossover() -> None:
    growth = Growth()
    growth.root(3.0)
    a, b, c = growth.child(2.0), growth.child(2.1), growth.child(2.2)
    merged = growth.child(1.9, a, b, operator="crossover")
    at = growth.tree.index
    assert related(growth.tree, at[merged], at[b])
    assert related(growth.tree, 0, at[merged])
    assert not related(growth.tree, at[c], at[merged])


def test_a_suspect_node_is_not_improved() -> None:
    policy = Composition(Rank(), Argmax(), opening=BaselineRuns(1))
    growth = Growth()
    growth.root(3.0)
    honest, cheat = growth.child(2.0), growth.child(0.1)
    growth.land(growth.choose(Replicate(cheat)), "invalid")
    assert growth.tree.suspect(cheat)
    assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (honest,))
    growth.land(growth.choose(Replicate(growth.tree.root)), "invalid")
    assert not growth.tree.suspect(growth.tree.root)


# ---------------------------------------------------------------- widening


def test_refusals_widen_the_search() -> None:
    policy = Composition(Rank(), Argmax(), opening=BaselineRuns(1), widening=StagnationHandling(3, 6))
    growth = Growth()
    root = growth.root(3.0)
    best, other = growth.child(1.0), growth.child(2.0)
    for _ in range(3):
        assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (best,))
        growth.refuse(Propose("tune", (best,)))
    parents = {choose(policy, growth, ONLY_TUNE, seed).parents[0] for seed in range(40)}  # type: ignore[union-attr]
    assert parents == {root, best, other}
    drawn = [choose(policy, growth, ALL, seed).operator for seed in range(400)]  # type: ignore[union-attr]
    assert drawn.count("draft") > 150
    assert drawn.count("crossover") > drawn.count("tune"), "the operator that was refused is set back"
    growth.child(5.0)
    assert choose(policy, growth, ONLY_TUNE) == Propose("tune", (best,)), "a candidate ends it"


def test_refusals_stop_the_search_with_a_reason() -> None:
    policy = dataclasses.replace(UCB, widening=StagnationHandling(2, 4))
    growth = Growth()
    root = growth.root(3.0)
    for operator in ("tune", "tune", "crossover", "tune"):
        assert isinstance(choose(policy, growth, ONLY_TUNE), Propose)
        growth.refuse(Propose(operator, (root,)))
    stop = choose(policy, growth, ONLY_TUNE)
    assert isinstance(stop, Stop)
    assert "4 proposals in a row" in stop.reason
    assert "crossover (1), tune (3)" in stop.reason
    with pytest.raises(ValueError, match="widen_after <= stop_after"):
        StagnationHandling(5, 4)


# ---------------------------------------------------------------- does it search at all


def test_ucb_beats_random_on_a_random_walk() -> None:
    """Children differ from their parent by a normal step: choosing good parents must pay."""

    def best(policy: Composition, seed: int) -> float:
        growth, rng, heights = Growth(), np.random.default_rng(seed), {}
        heights[growth.root(0.0)] = 0.0

        def result(node_id: str) -> float:
            parents = growth.tree[node_id].parents
            heights.setdefault(node_id, (heights[parents[0]] if parents else 0.0) + rng.normal())
            return heights[node_id]

        play(growth, policy, ONLY_TUNE, 60, result, seed)
        return min(heights.values())

    random = Composition(Equal(), Uniform(), opening=BaselineRuns(1))
    gains = [best(random, seed) - best(UCB, seed) for seed in range(12)]
    assert np.mean(gains) > 3


def test_ranks_are_scipys() -> None:
    """The tree's incremental ranks against scipy's, with ties, failures and replicates, at every step."""
    for direction in ("minimise", "maximise"):
        growth, rng = Growth(direction), np.random.default_rng(1)  # type: ignore[arg-type]
        growth.root(3.0)
        for _ in range(80):
            parent = growth.tree.nodes[rng.integers(len(growth.tree))].node_id
            if rng.random() < 0.2:
                growth.land(growth.choose(Replicate(parent)), float(rng.integers(6)))
            else:
                growth.child("crashed" if rng.random() < 0.2 else float(rng.integers(6)), parent)
            tree = growth.tree
            means = tree.means[tree.eligible()]
            places = rankdata(-means if direction == "minimise" else means) - 1
            assert tree.ranks()[tree.eligible()] == pytest.approx(
                places / max(len(means) - 1, 1) if places.any() else 1
            )
            assert np.isnan(tree.ranks()[~tree.eligible()]).all()
    assert growth.tree.conditions == CONDITIONS
