"""Parents of self-improving agents, held against their formulas: score_child_prop, sica_interval, clade."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import hydra.utils
import numpy as np
import pytest
from growing import TUNE, Growth
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from archive.records import CaseScore, Direction, Propose, Replicate, Scored
from search.policies import Composition
from search.policies.selection.clade import Clade, outcomes
from search.policies.selection.samplers import Proportional
from search.policies.selection.scores import NewestWithinInterval, NoveltyWeighted, Value, standard_error
from search.policies.selection.values import shares
from search.settings import config_for

CONF = Path(__file__).parents[2] / "conf" / "policy"
Family = list[tuple[int, float | None]]
"""By node after the root: the place of its parent, and its score; None for one that crashed."""


@st.composite
def families(draw: st.DrawFn) -> Family:
    count = draw(st.integers(1, 8))
    score = st.one_of(st.none(), st.floats(0, 1))
    return [(draw(st.integers(0, place)), draw(score)) for place in range(count)]


def grown(family: Family, direction: Direction = "maximise", root: float = 0.5) -> Growth:
    """The parent of a node may be one that crashed: it then hangs below by debugging."""
    growth = Growth(direction)
    ids = [growth.root(root) or growth.tree.root]
    for parent, score in family:
        ids.append(growth.child("crashed" if score is None else score, ids[parent]))
    return growth


def load(name: str) -> Composition:
    made: Composition = hydra.utils.instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    return made


# ---------------------------------------------------------------- sigmoid(10 (s - 0.5)) / (1 + children)


@pytest.mark.slow
@given(families())
def test_score_child_prop_draws_with_the_probabilities_of_its_formula(family: Family) -> None:
    """Zhang et al. 2025, "Darwin Goedel Machine": weights of the archive's agents, normalised to a sum of 1."""
    tree = grown(family).tree
    children = Counter(parent for parent, _ in family)
    scores = [0.5, *(score for _, score in family)]
    wanted = np.array(
        [0.0 if s is None else 1 / (1 + math.exp(-10 * (s - 0.5))) / (1 + children[i]) for i, s in enumerate(scores)]
    )
    policy = load("score_child_prop")
    weights = np.nan_to_num(policy.score(tree))
    np.testing.assert_allclose(weights / weights.sum(), wanted / wanted.sum(), rtol=0, atol=1e-12)
    assert policy.sampler == Proportional()


def test_score_child_prop_of_a_minimised_share_is_that_of_its_complement() -> None:
    family: Family = [(0, 0.2), (0, 0.9), (1, None)]
    mirrored: Family = [(parent, None if score is None else 1 - score) for parent, score in family]
    there = NoveltyWeighted(norm="share")(grown(family).tree)
    np.testing.assert_allclose(NoveltyWeighted(norm="share")(grown(mirrored, "minimise").tree), there, atol=1e-15)


def test_shares_beyond_the_unit_interval_are_its_ends() -> None:
    assert shares(grown([(0, -3.0), (0, 7.0)]).tree).tolist() == [0.5, 0.0, 1.0]


# ---------------------------------------------------------------- the newest within the best's interval


def with_cases(growth: Growth, place: int, values: list[float]) -> None:
    """Give a node's evaluation scores by case."""
    evaluations = growth.tree.evaluations[growth.tree.nodes[place].node_id]
    assert isinstance(evaluations[0], Scored)
    cases = tuple(CaseScore(str(i), value) for i, value in enumerate(values))
    evaluations[0] = replace(evaluations[0], cases=cases)


def test_sica_interval_walks_back_to_the_first_above_the_bests_lower_bound() -> None:
    """Cases 0, 1, 1, 1 of the best: mean 0.75, s = 0.5, s / sqrt(4) = 0.25, so the bound is 0.75 - 0.49 = 0.26."""
    growth = grown([(0, 0.75), (1, 0.27), (1, 0.25)], root=0.2)
    by_case: list[list[float]] = [[0, 0, 0, 0.8], [0, 1, 1, 1], [0.27] * 4, [0.25] * 4]
    for place, values in enumerate(by_case):
        with_cases(growth, place, values)
    tree = growth.tree
    assert standard_error(tree, 1) == pytest.approx(0.25, abs=1e-12)
    assert int(np.nanargmax(NewestWithinInterval()(tree))) == 2, "0.27 is within, and newer than the best"
    assert int(np.nanargmax(NewestWithinInterval(z=2.1)(tree))) == 3, "a wider interval holds 0.25, too"
    assert int(np.nanargmax(NewestWithinInterval(z=0)(tree))) == 1, "without an interval it is the best"


@given(families(), st.floats(0, 4))
def test_sica_interval_prefers_the_newest_and_never_one_that_is_clearly_worse(family: Family, z: float) -> None:
    tree = grown(family).tree
    means = tree.means
    best = int(np.nanargmax(means))
    bound = means[best] - z * standard_error(tree, best)
    within = [place for place in range(len(tree)) if means[place] >= bound]
    scores = NewestWithinInterval(z)(tree)
    assert int(np.nanargmax(scores)) == max(within)
    outside = [scores[place] for place in range(len(tree)) if means[place] < bound]
    assert not outside or max(outside) <= 0 < min(scores[within])


def test_sica_interval_goes_on_where_no_operator_applies_to_the_newest() -> None:
    growth = grown([(0, 0.9), (1, 0.9)])
    newest = growth.tree.nodes[-1].node_id
    views = {"tune": replace(TUNE, applies=lambda tree, node: node != newest)}
    policy = replace(load("sica_interval"), opening=replace(load("sica_interval").opening, root_runs=1))
    choice = policy.choose(growth.tree, np.random.default_rng(0), views)
    assert choice == Propose("tune", (growth.tree.nodes[1].node_id,))


# ---------------------------------------------------------------- clades


@given(families())
def test_clade_counts_are_a_walk_over_all_descendants(family: Family) -> None:
    """Success and failure of each clade, one node after the other; a child without a score is a failure."""
    tree = grown(family).tree
    scores = [0.5, *(score for _, score in family)]
    succeeded, failed = outcomes(tree, Value(norm="share")(tree))
    for place, node in enumerate(tree.nodes):
        clade = [tree.index[member] for member in (node.node_id, *tree.descendants(node.node_id))]
        found = [scores[member] for member in clade]
        lost = sum(s is None for s, member in zip(found, clade, strict=True) if member != place)
        assert succeeded[place] == pytest.approx(sum(s for s in found if s is not None), abs=1e-9)
        assert failed[place] == pytest.approx(sum(1 - s for s in found if s is not None) + lost, abs=1e-9)


def test_clade_counts_a_crossover_once_as_a_child_of_both_parents() -> None:
    growth = grown([(0, 1.0), (0, 1.0)])
    growth.child(1.0, growth.tree.nodes[1].node_id, growth.tree.nodes[2].node_id, operator="crossover")
    _, failed = outcomes(growth.tree, Value(norm="share")(growth.tree))
    assert failed.tolist() == [0.5, 0.0, 0.0, 0.0]


@pytest.mark.slow
def test_clade_draws_with_the_probabilities_of_its_beta_distributions() -> None:
    """Two nodes: P(Beta(a, b) > Beta(c, d)) by numerical integration against 4,000 draws (three standard errors)."""
    from scipy.stats import beta

    growth = grown([(0, 0.9), (1, None), (1, 0.7)], root=0.2)
    scores = Value(norm="share")(growth.tree)
    scores[3] = np.nan  # leaves the root and node 1
    succeeded, failed = outcomes(growth.tree, scores)
    grid = np.linspace(0, 1, 4001)
    first, second = (beta(1 + succeeded[i], 1 + failed[i]) for i in (0, 1))
    wanted = float(np.trapezoid(first.pdf(grid) * second.sf(grid), grid))
    rng = np.random.default_rng(3)
    drawn = np.mean([Clade()(growth.tree, scores, rng) == 1 for _ in range(4000)])
    assert drawn == pytest.approx(wanted, abs=3 * math.sqrt(wanted * (1 - wanted) / 4000))


def test_a_clade_whose_changes_fail_loses_to_a_weaker_one_whose_changes_succeed() -> None:
    """Own scores say node 1, descendants say node 2."""
    growth = grown([(0, 0.8), (0, 0.6), *[(1, 0.1)] * 6, *[(2, 0.9)] * 6])
    scores = Value(norm="share")(growth.tree)
    scores[[0, *range(3, len(growth.tree))]] = np.nan
    outcomes_of = outcomes(growth.tree, Value(norm="share")(growth.tree))
    assert outcomes_of[0][2] / sum(column[2] for column in outcomes_of) > 0.8
    assert outcomes_of[0][1] / sum(column[1] for column in outcomes_of) < 0.3


def test_a_sharp_clade_is_the_one_with_the_best_share() -> None:
    growth = grown([(0, 0.9), (0, 0.6)], root=0.1)
    scores, rng = Value(norm="share")(growth.tree), np.random.default_rng(0)
    assert {Clade(sharpness=1e6)(growth.tree, scores, rng) for _ in range(50)} == {1}


@pytest.mark.parametrize("bad", [0, -1, True, math.inf])
def test_a_wrong_sharpness_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"policy\.sampler\.sharpness"):
        Clade(sharpness=bad)


# ---------------------------------------------------------------- the control without an archive


@pytest.mark.parametrize("name", ["score_child_prop", "ucb"])
def test_the_control_without_an_archive_has_the_root_as_every_parent(name: str) -> None:
    settings = config_for(["experiment=from_root", f"policy={name}", "operators=tune", "task=capset"], "cpu")
    policy: Composition = hydra.utils.instantiate(settings.policy)
    growth = Growth("maximise")
    growth.root(0.5, 0.5, 0.5)
    for number in range(12):
        move = policy.choose(growth.tree, np.random.default_rng(number), {"tune": TUNE})
        if isinstance(move, Propose):
            assert move.parents == (growth.tree.root,)
            growth.child(0.5 + number / 100, *move.parents)
        else:
            assert isinstance(move, Replicate)
            growth.land(growth.choose(move), 0.6)
    assert len(growth.tree) > 5
