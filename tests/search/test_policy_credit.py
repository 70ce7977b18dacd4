"""Credit: operators are drawn by what they have gained, and none is ever forgotten."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from growing import ALL, CROSSOVER, DEBUG, TUNE, Growth, play

from archive.records import Propose
from search.policies import Composition, OperatorView
from search.policies.credit import AsymmetricUcb, FixedWeights
from search.policies.phases.baseline import BaselineRuns
from search.policies.selection.samplers import Argmax
from search.policies.selection.scores import FlatUcb

TWO = {"tune": TUNE, "leap": OperatorView("leap", 1, 1.0, lambda tree, node_id: True)}


def by_hand(n: dict[str, float], g: dict[str, float], c: float, floor: float = 0.1) -> dict[str, float]:
    """The formula of the docstring, from decayed numbers and mean gains."""
    best = max(g.values())
    total = sum(n.values())
    index = {o: (g[o] / best if best else 0.0) + c * math.sqrt(2 * math.log(1 + total) / (1 + n[o])) for o in n}
    return {o: max(floor, index[o] / max(index.values())) for o in n}


def test_fixed_weights_are_those_of_the_yaml_file() -> None:
    growth = Growth()
    growth.root(3.0)
    operators = {"tune": dataclasses.replace(TUNE, weight=0.7), "crossover": CROSSOVER}
    assert FixedWeights().weights(growth.tree, operators) == {"tune": 0.7, "crossover": 1.0}


def test_before_anything_was_tried_the_priors_stand() -> None:
    growth = Growth()
    growth.root(3.0)
    operators = {"tune": dataclasses.replace(TUNE, weight=0.7), "crossover": CROSSOVER}
    assert AsymmetricUcb().weights(growth.tree, operators) == {"tune": 0.7, "crossover": 1.0}


def test_credit_is_its_formula() -> None:
    """Ranks at the end: root 0.25, a 0.5, b 1.0, worse 0.0, late 0.75; six attempts, a pending one."""
    growth = Growth()
    root = growth.root(3.0)
    a = growth.child(2.0, root, operator="tune")  # gains 0.25
    growth.child(1.0, a, operator="leap")  # gains 0.5
    growth.child(4.0, a, operator="tune")  # is worse: 0, and no less
    growth.refuse(Propose("leap", (root,)))
    growth.child("crashed", root, operator="tune")
    growth.child(1.5, root, operator="tune")  # gains 0.5
    growth.child(None, root, operator="leap")
    assert growth.tree.ranks() == pytest.approx([0.25, 0.5, 1.0, 0.0, math.nan, 0.75, math.nan], nan_ok=True)
    d = 0.9
    age = {"a": 6, "b": 5, "worse": 4, "refused": 3, "crashed": 2, "late": 1, "pending": 0}
    w = {name: d**years for name, years in age.items()}
    n = {"tune": w["a"] + w["worse"] + w["crashed"] + w["late"], "leap": w["b"] + w["refused"] + w["pending"]}
    gained = {"tune": 0.25 * w["a"] + 0.5 * w["late"], "leap": 0.5 * w["b"]}
    landed = {"tune": n["tune"], "leap": w["b"] + w["refused"]}
    expected = by_hand(n, {o: gained[o] / landed[o] for o in n}, c=0.3)
    assert AsymmetricUcb(0.3, d).weights(growth.tree, TWO) == pytest.approx(expected)
    # Per evaluation, a refused proposal costs nothing.
    expected = by_hand(n, {"tune": gained["tune"] / n["tune"], "leap": gained["leap"] / w["b"]}, c=0.3)
    assert AsymmetricUcb(0.3, d, "evaluation").weights(growth.tree, TWO) == pytest.approx(expected)


def test_per_second_a_cheap_operator_is_worth_more() -> None:
    growth = Growth()
    growth.seconds = lambda number: 1.0 if number % 2 else 9.0
    growth.root(9.0)
    for number in range(1, 9):
        growth.child(9.0 - number, growth.tree.nodes[-1].node_id, operator="tune" if number % 2 else "leap")
    even, dear = (AsymmetricUcb(0.0, per=per).weights(growth.tree, TWO) for per in ("evaluation", "second"))  # type: ignore[arg-type]
    assert even["tune"] == pytest.approx(even["leap"], rel=0.06)
    assert dear["leap"] == pytest.approx(dear["tune"] / 9, rel=0.06)


def test_a_crossover_must_beat_its_better_parent() -> None:
    growth = Growth()
    growth.root(9.0)
    good, poor = growth.child(1.0), growth.child(8.0)
    growth.child(2.0, poor, good, operator="crossover")
    growth.child(0.5, poor, operator="tune")
    weights = AsymmetricUcb(c=0.0).weights(growth.tree, {"tune": TUNE, "crossover": CROSSOVER})
    assert weights == {"tune": 1.0, "crossover": pytest.approx(0.1)}


def test_old_gains_fade() -> None:
    growth = Growth()
    growth.root(100.0)
    for number in range(40):  # first leap gains, then tune does
        parent = growth.tree.nodes[-1].node_id
        growth.child(99.0 - number, parent, operator="leap" if number < 20 else "tune")
        growth.child(200.0 + number, growth.tree.root, operator="tune" if number < 20 else "leap")
        growth.child(98.99 - number, growth.tree.nodes[-2].node_id, operator="other")
    weights = AsymmetricUcb(c=0.0, decay=0.9).weights(growth.tree, TWO)
    assert weights["tune"] == 1.0
    assert weights["leap"] < 0.2


def test_no_operator_is_ever_starved() -> None:
    """One operator never gains anything; it is still drawn, at least by the floor's share of its prior."""
    growth = Growth()
    growth.root(1000.0)
    policy = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(1), credit=AsymmetricUcb(c=0.05, floor=0.1))
    rng = np.random.default_rng(0)

    def result(node_id: str) -> float:
        node, tree = growth.tree[node_id], growth.tree
        best = tree.means[tree.eligible()].min()
        return float(best - rng.random()) if node.candidate.operator == "tune" else 1000.0 + float(rng.random())

    made = play(growth, policy, TWO, 400, result, slots=4)
    drawn = [move.operator for move in made[200:] if isinstance(move, Propose)]
    assert 0.04 < drawn.count("leap") / len(drawn) < 0.2
    weights = AsymmetricUcb(c=0.05, floor=0.1).weights(growth.tree, TWO)
    assert weights["tune"] == 1.0
    assert weights["leap"] >= 0.1


def test_credit_pays_where_one_operator_is_better() -> None:
    def leaps(policy: Composition, seed: int) -> int:
        growth, rng = Growth(), np.random.default_rng(seed)
        growth.root(0.0)

        def result(node_id: str) -> float:
            node = growth.tree[node_id]
            parent = growth.tree.means[growth.tree.index[node.parents[0]]]
            return float(parent + rng.normal(0.0 if node.candidate.operator == "tune" else -1.0, 0.5))

        made = play(growth, policy, TWO, 60, result, seed)
        return sum(isinstance(move, Propose) and move.operator == "leap" for move in made)

    fixed = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(1))
    learning = dataclasses.replace(fixed, credit=AsymmetricUcb(c=0.1))
    assert np.mean([leaps(learning, seed) - leaps(fixed, seed) for seed in range(6)]) > 8


def test_an_operator_without_weight_stays_out_and_debugging_is_left_to_repair() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.child("crashed")
    operators = {**ALL, "tune": dataclasses.replace(TUNE, weight=0.0), "debug": dataclasses.replace(DEBUG, weight=5.0)}
    weights = AsymmetricUcb().weights(growth.tree, operators)
    assert weights["tune"] == 0.0
    assert all(weights[name] > 0 for name in operators if name != "tune")


def test_it_is_a_function_of_the_tree_alone() -> None:
    growth = Growth()
    growth.root(3.0)
    policy = Composition(FlatUcb(), Argmax(), opening=BaselineRuns(1), credit=AsymmetricUcb())
    rng = np.random.default_rng(0)
    play(growth, policy, ALL, 60, lambda node_id: float(rng.random()), slots=3)
    growth.child(None)
    growth.refuse(Propose("tune", (growth.tree.root,)))
    for per in ("proposal", "evaluation", "second"):
        credit = AsymmetricUcb(per=per)  # type: ignore[arg-type]
        assert credit.weights(growth.tree, ALL) == credit.weights(growth.rebuilt(), ALL)
