"""A small numeric space is tried in full, once, and then left to other operators."""

from __future__ import annotations

import numpy as np
from garden import Garden
from growing import Growth

from archive.records import Candidate, Propose, Stop
from operators.numeric.exhaustion import MOST
from operators.numeric.proposer.ranges import ParameterRange
from operators.numeric.tune import Tune
from operators.recombine.crossover import Crossover
from search.policies.base import OperatorView
from search.policies.composition import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.selection.samplers import Argmax
from search.policies.selection.scores import Equal

SMALL = "A = 1  # tune: 0|1|2\nB = 0  # tune: 0..4 step 2\nNAME = 'x'\n"


def fill(garden: Garden, tune: Tune, root: str) -> int:
    """Score everything that ``tune`` proposes for the root; return how many settings that were."""
    made = 0
    while tune.applies(garden.tree, root):
        found = garden.ask(tune, root, seed=made)
        assert isinstance(found, Candidate), "no refusal while something is left"
        garden.grow(dict(found.files), (root,), score=1.0 + made)
        made += 1
    return made


def test_every_setting_is_tried_once_without_a_refusal(garden: Garden) -> None:
    tune, crossover = Tune(), Crossover()
    root = garden.plant(SMALL, 1.0).node_id
    assert (tune.spent(), crossover.applies(garden.tree, root)) == ("", True)
    assert fill(garden, tune, root) == 8
    assert not any(tune.applies(garden.tree, node.node_id) for node in garden.tree.nodes)
    assert not crossover.applies(garden.tree, root), "a merge of these is one of them"
    assert tune.spent().startswith("tune: all 9 settings of A, B have been tried. For more, widen")
    other = garden.grow(SMALL + "print(A)\n", (root,), "improve", score=0.5).node_id
    assert tune.applies(garden.tree, other), "other code is another space"
    assert crossover.applies(garden.tree, root)
    assert not tune.applies(garden.tree, root)


def test_the_search_ends_with_what_was_tried() -> None:
    tune = Tune()
    view = OperatorView("tune", 1, 1.0, tune.applies, tune.spent)
    growth = Growth(source=lambda number: f"A = {number}  # tune: 0|1|2\n")
    growth.tree.deterministic = True
    growth.root(1.0)
    growth.child(2.0)
    policy = Composition(Equal(), Argmax(), opening=BaselineRuns(root_runs=1))
    assert policy.choose(growth.tree, np.random.default_rng(0), {"tune": view}) == Propose("tune", (growth.tree.root,))
    growth.child(3.0)
    choice = policy.choose(growth.tree, np.random.default_rng(0), {"tune": view})
    assert isinstance(choice, Stop)
    assert choice.reason.startswith("nothing is left to try. tune: all 3 settings of A have been tried.")


def test_values_of_ranges() -> None:
    assert ParameterRange(0, 4, integer=True, step=2).values(MOST) == (0, 2, 4)
    assert ParameterRange(16, 64, "log", integer=True, step=16).values(MOST) == (16, 32, 48, 64)
    assert ParameterRange(0.0, 0.5, step=0.25).values(MOST) == (0.0, 0.25, 0.5)
    assert ParameterRange(0, 1, choices=(False, True)).values(MOST) == (False, True)
    assert ParameterRange(0.0, 0.5).values(MOST) is None
    assert ParameterRange(1, 4096, "log", integer=True).values(MOST) is None
