"""Pareto parents by case: who is on the frontier, how often each is drawn, and what holds without cases."""

from __future__ import annotations

from collections import Counter

import numpy as np
from growing import Growth

from archive.records import Propose
from search.policies.population.pareto import ParetoFront


def grown(*nodes: tuple[float, ...]) -> Growth:
    """A maximising tree whose nodes have these values on the cases a, b, c ..."""
    growth = Growth("maximise")
    for values in nodes:
        record = growth.choose(Propose("tune", () if not len(growth.tree) else (growth.tree.root,)))
        growth.add(record)
        growth.land(record, float(np.mean(values)), cases=dict(zip("abcd", values, strict=False)))
    return growth


def test_parents_are_drawn_in_proportion_to_the_cases_on_which_they_are_best() -> None:
    """The third has the best mean and is best nowhere; the last ties on one case and is dominated."""
    tree = grown((0, 0, 0, 1), (9, 9, 0, 0), (8, 8, 8, 0), (0, 0, 9, 0), (0, 0, 9, -1)).tree
    front = ParetoFront()
    assert front.cases_won(tree).tolist() == [1, 2, 0, 1, 0]
    drawn = Counter(int(np.flatnonzero(front.pool(tree, np.random.default_rng(i)).parents)[0]) for i in range(2000))
    assert set(drawn) == {0, 1, 3}
    assert abs(drawn[1] / 2000 - 0.5) < 0.05
    assert front.pool(tree, np.random.default_rng(0)).partners.tolist() == [True, True, False, True, False]


def test_suspects_are_not_on_the_frontier() -> None:
    growth = grown((1, 1), (9, 0), (0, 8))
    growth.cheats(growth.tree.nodes[1].node_id)
    assert ParetoFront().cases_won(growth.tree).tolist() == [1, 0, 1]


def test_without_cases_every_scored_node_may_be_a_parent() -> None:
    growth = Growth()
    growth.root(3.0)
    growth.child(2.0)
    growth.child("crashed")
    assert ParetoFront().pool(growth.tree, np.random.default_rng(0)).parents.tolist() == [True, True, False]
