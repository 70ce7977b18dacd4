"""Node scores, backups, samplers and descents of the published policies, held against their formulas."""

from __future__ import annotations

import math
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
from growing import NUMERIC, TUNE, Growth, play
from scipy.special import expit

from archive.records import Propose, Replicate
from archive.tree import Floats
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.selection.backups import backed_up, subtree_visits
from search.policies.selection.samplers import Argmax, Proportional, RankSoftmax, Sampler
from search.policies.selection.scores import (
    Equal,
    FlatUcb,
    KeptLine,
    MadSigmoid,
    NodeScore,
    NoveltyWeighted,
    Puct,
    Rank,
    Value,
)
from search.policies.selection.thompson import Sums, Thompson
from search.policies.selection.uct import Descent

NAN = math.nan
SCORES: list[NodeScore] = [
    FlatUcb(), FlatUcb(norm="minmax"), Puct(), Value(), Value(norm="minmax"), Rank(), Equal(), MadSigmoid(),
    NoveltyWeighted(), KeptLine(),
]  # fmt: skip


def family() -> Growth:
    """0 the root 3.0; its children 1 (2.0), 2 (4.0), 3 crashed; 4 (1.0) below 1; 5 pending below 4; 6 (2.5) below 3."""
    growth = Growth()
    growth.root(3.0)
    one, _, broken = growth.child(2.0), growth.child(4.0), growth.child("crashed")
    four = growth.child(1.0, one)
    growth.child(None, four)
    growth.child(2.5, broken, operator="debug")
    return growth


RANKS = np.array([0.25, 0.75, 0.0, NAN, 1.0, NAN, 0.5])
CHARGES = np.array([3, 1, 0, 1, 1, 0, 0])


def test_ranks_and_charges_of_the_family_are_what_the_tests_below_reckon_with() -> None:
    tree = family().tree
    np.testing.assert_array_equal(tree.ranks(), RANKS)
    np.testing.assert_array_equal(tree.visits, CHARGES)


# ---------------------------------------------------------------- node scores


def test_puct_is_its_formula() -> None:
    """Visits are backed up to ancestors: 6 proposals below the root, 2 below node 1, 1 below node 4."""
    visited = np.array([6, 2, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(subtree_visits(family().tree), visited)
    valid = ~np.isnan(RANKS)
    expected = RANKS + 2.0 * (1 / 5) * math.sqrt(visited[valid].sum()) / (1 + visited)
    assert Puct(c=2.0)(family().tree) == pytest.approx(expected, nan_ok=True)


def test_minmax_keeps_the_distances() -> None:
    expected = [1 / 3, 2 / 3, 0.0, NAN, 1.0, NAN, 0.5]
    assert Value(norm="minmax")(family().tree) == pytest.approx(np.array(expected), nan_ok=True)
    total = CHARGES[~np.isnan(RANKS)].sum()
    bonus = 0.1 * np.sqrt(math.log(1 + total) / (1 + CHARGES))
    assert FlatUcb(0.1, norm="minmax")(family().tree) == pytest.approx(expected + bonus, nan_ok=True)


def test_mad_sigmoid_is_its_formula() -> None:
    """Minimised means 3, 2, 4, 1, 2.5: median 2.5, deviations .5 .5 1.5 1.5 0, so MAD 0.5."""
    away = np.array([-0.5, 0.5, -1.5, NAN, 1.5, NAN, 0.0]) / 0.5
    assert MadSigmoid(2.0)(family().tree) == pytest.approx(expit(2.0 * away) / (1 + CHARGES), nan_ok=True)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_mad_sigmoid_knows_no_unit_where_most_are_equal(unit: float) -> None:
    growth = Growth()
    growth.root(2.0 * unit)
    for score in (2.0, 2.0, 1.999, 2.001):
        growth.child(score * unit)
    growth.child("crashed")
    expected = [0.5 / 6, 0.5, 0.5, 1.0, 0.0, NAN]
    assert MadSigmoid()(growth.tree) == pytest.approx(np.array(expected), nan_ok=True)


def test_novelty_weighted_is_its_formula() -> None:
    expected = expit(4.0 * (RANKS - 0.3)) / (1 + CHARGES)
    assert NoveltyWeighted(4.0, 0.3)(family().tree) == pytest.approx(expected, nan_ok=True)


def test_members_are_ranked_among_themselves() -> None:
    members = np.array([True, False, True, True, True, True, True])  # 3.0, 4.0, 1.0 and 2.5
    expected = [1 / 3, NAN, 0.0, NAN, 1.0, NAN, 2 / 3]
    assert Value()(family().tree, members) == pytest.approx(np.array(expected), nan_ok=True)
    assert Rank()(family().tree, members) == pytest.approx(np.array(expected), nan_ok=True)
    bonus = 0.1 * np.sqrt(math.log(1 + 4) / (1 + CHARGES))
    assert FlatUcb()(family().tree, members) == pytest.approx(expected + bonus, nan_ok=True)
    minmax = [1 / 3, NAN, 0.0, NAN, 1.0, NAN, 0.5]
    assert Value(norm="minmax")(family().tree, members) == pytest.approx(np.array(minmax), nan_ok=True)


@pytest.mark.parametrize("score", SCORES, ids=lambda score: f"{type(score).__name__}-{getattr(score, 'norm', '')}")
def test_scores_are_for_members_that_may_be_improved(score: NodeScore) -> None:
    """Failed, unscored and suspect nodes have none, whoever the members are; and nobody else than members has one."""
    growth = family()
    growth.land(growth.choose(Replicate(growth.tree.nodes[2].node_id)), "invalid")
    tree = growth.tree
    told = score(tree)
    assert np.isnan(told[[2, 3, 5]]).all()
    members = np.array([True, True, True, True, False, True, False])
    among = score(tree, members)
    assert np.isnan(among[[2, 3, 4, 5, 6]]).all()
    assert not np.isnan(among[:2]).all()
    before = told.copy()
    among[:] = 7.0  # a new array each time: the composition writes into it
    np.testing.assert_array_equal(score(tree), before)


def test_a_lone_node_and_equal_nodes_have_a_score() -> None:
    growth = Growth()
    growth.root(3.0)
    for score in SCORES:
        assert np.isfinite(score(growth.tree)).all()
    growth.child(3.0)
    assert Value(norm="minmax")(growth.tree).tolist() == [1.0, 1.0]
    assert Value()(growth.tree).tolist() == [0.5, 0.5]


# ---------------------------------------------------------------- backups


def test_backups_climb_through_failed_nodes_and_take_no_score_from_them() -> None:
    tree = family().tree
    best, mean = backed_up(tree, RANKS, "max"), backed_up(tree, RANKS, "mean")
    assert best.values == pytest.approx(np.array([1.0, 1.0, 0.0, 0.5, 1.0, NAN, 0.5]), nan_ok=True)
    assert mean.values == pytest.approx(np.array([0.5, 0.875, 0.0, 0.5, 1.0, NAN, 0.5]), nan_ok=True)
    assert best.subtree_visits.tolist() == [7, 3, 1, 2, 2, 1, 1]


def test_backups_are_a_walk_over_all_descendants() -> None:
    """On random trees with crossovers: levels of numpy against one node after the other."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        growth = Growth()
        growth.root(3.0)
        for _ in range(60):
            parents = rng.integers(len(growth.tree), size=2)
            ids = [growth.tree.nodes[place].node_id for place in dict.fromkeys(parents.tolist())]
            growth.child("crashed" if rng.random() < 0.3 else float(rng.random()), *ids)
        tree = growth.tree
        values = tree.ranks().copy()
        below: list[set[int]] = [{place} for place in range(len(tree))]
        for place in range(len(tree) - 1, 0, -1):
            below[tree.places[place]] |= below[place]
        inside = [[values[i] for i in sorted(members) if not math.isnan(values[i])] for members in below]
        best = [max(those, default=NAN) for those in inside]
        mean = [float(np.mean(those)) if those else NAN for those in inside]
        assert backed_up(tree, values, "max").values == pytest.approx(np.array(best), nan_ok=True)
        assert backed_up(tree, values, "mean").values == pytest.approx(np.array(mean), nan_ok=True)
        assert subtree_visits(tree).tolist() == [tree.visits[sorted(members)].sum() for members in below]


# ---------------------------------------------------------------- samplers


def shares(sampler: Sampler, scores: Floats, times: int = 4000) -> Floats:
    rng, tree = np.random.default_rng(0), Growth().tree
    drawn = Counter(sampler(tree, scores, rng) for _ in range(times))
    return np.array([drawn[place] / times for place in range(len(scores))])


@pytest.mark.slow
def test_rank_softmax_is_its_formula() -> None:
    weights = np.array([0.0, 3.0, 1.0, 2.0, 4.0]) ** (1 / 0.5)
    scores = np.array([NAN, 0.7, -2.0, 0.1, 0.9])
    assert shares(RankSoftmax(0.5), scores) == pytest.approx(weights / weights.sum(), abs=0.03)
    ties = shares(RankSoftmax(0.05), np.array([0.9, 0.9, 0.1]))
    assert ties == pytest.approx([0.5, 0.5, 0.0], abs=0.03)
    assert shares(RankSoftmax(1e-3), np.array([0.1, 0.2, NAN])).tolist() == [0.0, 1.0, 0.0], "no power overflows"


def test_proportional_draws_by_weight_and_evenly_when_all_are_zero() -> None:
    assert shares(Proportional(), np.array([1.0, NAN, 3.0, 0.0])) == pytest.approx([0.25, 0, 0.75, 0], abs=0.03)
    assert shares(Proportional(), np.array([0.0, NAN, 0.0])) == pytest.approx([0.5, 0, 0.5], abs=0.03)


@pytest.mark.parametrize("sampler", [RankSoftmax(), Proportional(), Descent(), Thompson()])
def test_nobody_is_drawn_where_all_are_out(sampler: Sampler) -> None:
    tree = family().tree
    assert sampler(tree, np.full(len(tree), NAN), np.random.default_rng(0)) is None


@pytest.mark.parametrize("sampler", [RankSoftmax(), Proportional(), Descent(), Descent(backup="mean"), Thompson()])
def test_whoever_may_be_improved_is_found_one_after_the_other(sampler: Sampler) -> None:
    """A node that no operator applies to is taken out, and the next one is looked for, also below it."""
    tree, rng = family().tree, np.random.default_rng(3)
    scores, found = RANKS.copy(), []
    while (place := sampler(tree, scores, rng)) is not None:
        found.append(place)
        scores[place] = NAN
    assert sorted(found) == [0, 1, 2, 4, 6]


# ---------------------------------------------------------------- the descent of UCT


def descend(growth: Growth, descent: Descent) -> int | None:
    return descent(growth.tree, Value()(growth.tree), np.random.default_rng(0))


def test_uct_fills_up_a_node_and_then_goes_down() -> None:
    growth = Growth()
    root = growth.root(3.0)
    descent = Descent(c=0.0, children=2)
    assert descend(growth, descent) == 0
    best, _ = growth.child(2.0, root), growth.child(2.5, root)
    assert descend(growth, descent) == growth.tree.index[best]
    growth.child("crashed", best)
    growth.refuse(Propose("tune", (best,)))
    # Both attempts of the best came to nothing: it has no child to go down to, and is asked again.
    assert descend(growth, descent) == growth.tree.index[best]


def test_uct_goes_where_its_formula_says() -> None:
    growth = family()
    scores = Value()(growth.tree)
    for c in (0.0, 0.3, 3.0):
        for backup in ("max", "mean"):
            backed = backed_up(growth.tree, scores, backup)  # type: ignore[arg-type]
            children = np.array([1, 2, 3])
            index = backed.values[children] + c * np.sqrt(np.log(7) / backed.subtree_visits[children])
            first = int(children[np.argmax(index)])
            place = descend(growth, Descent(c, backup, children=1))  # type: ignore[arg-type]
            assert place is not None
            line = [place]
            while line[-1]:
                line.append(int(growth.tree.places[line[-1]]))
            assert first in line
    assert descend(growth, Descent(3.0, children=1)) == 2, "the least visited child"
    assert descend(growth, Descent(0.0, children=1)) == 4, "the best node, which has a pending child alone"


def test_max_and_mean_backup_differ_where_a_good_node_has_bad_children() -> None:
    growth = Growth()
    growth.root(3.0)
    jewel, steady = growth.child(1.0), growth.child(2.0)
    for score in (5.0, 6.0, 7.0):
        growth.child(score, jewel)
    growth.child(2.1, steady)
    tree = growth.tree
    best, mean = (descend(growth, Descent(0.0, rule, children=2)) for rule in ("max", "mean"))  # type: ignore[arg-type]
    assert best is not None
    assert mean is not None
    assert jewel in tree.lineage(tree.nodes[best].node_id)
    assert steady in tree.lineage(tree.nodes[mean].node_id)


def test_progressive_widening_gives_more_children_to_what_is_visited_more() -> None:
    def grown(descent: Descent) -> Growth:
        growth = Growth()
        growth.root(3.0)
        policy = Composition(Value(), descent, opening=BaselineRuns(1))
        rng = np.random.default_rng(0)
        play(growth, policy, {"tune": TUNE}, 80, lambda node_id: float(rng.random()))
        return growth

    assert grown(Descent(children=3)).tree.visits.max() == 3
    tree = grown(Descent(children=1, growth=0.5)).tree
    assert tree.visits[0] == 9, "80 proposals, one visit more: fewer than 81^0.5"
    assert (tree.visits <= np.ceil(np.sqrt(1 + subtree_visits(tree)))).all()


# ---------------------------------------------------------------- the descent of AB-MCTS-A


def test_thompson_draws_from_its_posterior() -> None:
    """The mean of a normal-inverse-gamma posterior is Student's t around m' with nu' degrees of freedom."""
    values = np.array([0.2, 0.4, 0.9, 0.8])
    n, total, squares = 4.0, values.sum(), (values**2).sum()
    arms = Sums(np.full(40_000, n), np.full(40_000, total), np.full(40_000, squares))
    arm = Thompson(mean=0.1, weight=2.0, freedom=6.0, scale=0.1)
    drawn = arm._draw(arms, np.random.default_rng(0))
    centre = (2.0 * 0.1 + total) / 6.0
    scatter = ((values - values.mean()) ** 2).sum()
    scale = (6.0 * 0.1 + scatter + n * 2.0 * (0.1 - values.mean()) ** 2 / 6.0) / 10.0
    assert drawn.mean() == pytest.approx(centre, abs=0.005)
    assert drawn.var() == pytest.approx(scale / 6.0 * 10.0 / 8.0, rel=0.05)


class Spy(Thompson):
    """Keeps what its draws are given."""

    seen: ClassVar[list[Sums]] = []

    def _draw(self, seen: Sums, rng: np.random.Generator) -> Floats:
        self.seen.append(seen)
        return super()._draw(seen, rng)


def test_thompson_has_seen_what_belongs_to_each_arm() -> None:
    """At the root of the family: children of its own 0.75 and 0.0 and a failed one; further below 1.0 and 0.5."""
    tree = family().tree
    Spy.seen.clear()
    Spy()(tree, RANKS, np.random.default_rng(0))
    new, down = Spy.seen[0], Spy.seen[1]
    assert (new.count.tolist(), new.total.tolist(), new.squares.tolist()) == ([3], [0.75], [0.5625])
    assert (down.count.tolist(), down.total.tolist(), down.squares.tolist()) == ([2], [1.5], [1.25])


def test_thompson_goes_deeper_where_depth_paid_and_wider_where_it_did_not() -> None:
    def wider(near: float, far: float) -> float:
        growth = Growth("maximise")
        growth.root(0.5)
        for _ in range(6):
            child = growth.child(near)
            growth.child(far, child)
        scores, rng = growth.tree.means.copy(), np.random.default_rng(0)
        return float(np.mean([Thompson()(growth.tree, scores, rng) == 0 for _ in range(300)]))

    assert wider(near=0.9, far=0.2) > 0.9
    assert wider(near=0.2, far=0.9) < 0.1


def test_thompson_sees_attempts_without_a_score_above_them_alone() -> None:
    """Pending children make a further child of the same parent less likely, and nobody's score worse."""

    def wider(pending: int) -> float:
        growth = Growth("maximise")
        growth.root(0.5)
        child = growth.child(0.6)
        growth.child(0.6, child)
        for _ in range(pending):
            growth.child(None)
        scores, rng = growth.tree.means.copy(), np.random.default_rng(0)
        return float(np.mean([Thompson()(growth.tree, scores, rng) == 0 for _ in range(400)]))

    assert wider(0) > wider(4) + 0.15


# ---------------------------------------------------------------- what is claimed about order


@pytest.mark.parametrize(
    ("policy", "ordinal"),
    [
        (Composition(FlatUcb(), Argmax()), True),
        (Composition(FlatUcb(norm="minmax"), Argmax()), False),
        (Composition(Value(), Descent()), True),
        (Composition(Value(norm="minmax"), Descent()), False),
        (Composition(MadSigmoid(), Proportional()), False),
        (Composition(lambda tree, members=None: tree.ranks().copy(), Argmax()), False),
    ],
)
def test_a_policy_claims_to_follow_order_alone_only_if_all_its_parts_do(policy: Composition, ordinal: bool) -> None:
    assert policy.ordinal == ordinal


@pytest.mark.parametrize(
    "policy", [Composition(Value(norm="minmax"), Descent(c=0.1, backup="mean"), opening=BaselineRuns(1))]
)
def test_what_does_not_claim_it_does_follow_distances(policy: Composition) -> None:
    def moves(power: float) -> list[object]:
        growth, rng = Growth(), np.random.default_rng(4)
        growth.root(1.0)
        return list(play(growth, policy, NUMERIC, 60, lambda node_id: float(rng.random() ** power)))

    assert moves(1.0) == moves(1.0)
    assert moves(1.0) != moves(9.0)
