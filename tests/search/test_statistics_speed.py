"""Machine speed as a covariate: found where it explains scores, and not where it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from growing import Growth
from scipy.stats import linregress

from archive.records import Conditions, Replicate
from search.claims.machine_speed import SpeedEffect, describe_speed, speed_effect

Pair = tuple[float, float | None]
"""(score, speed) of one run."""


def run(growth: Growth, node_id: str, score: float, speed: float | None, purpose: str = "screen") -> None:
    growth.land(growth.choose(Replicate(node_id, purpose)), score, speed=speed)  # type: ignore[arg-type]


def child(growth: Growth, score: float, speed: float | None) -> str:
    node_id = growth.child(None)
    growth.land(growth.tree.moves[growth.tree[node_id].move], score, speed=speed)
    return node_id


def simulated(slope: float, noise: float, seed: int, nodes: int = 6, runs: int = 3, purpose: str = "screen") -> Growth:
    """Nodes of different means, each run several times on a machine whose speed varies by a factor of e."""
    rng = np.random.default_rng(seed)
    growth = Growth()
    growth.root(3.4)
    for _ in range(nodes):
        mean = float(rng.normal(3.0, 1.0))
        node_id = child(growth, mean, None)
        for _ in range(runs):
            x = float(rng.uniform(2.0, 3.0))
            run(growth, node_id, mean + slope * x + float(rng.normal(0, noise)), math.exp(x), purpose)
    return growth


def test_speed_that_slows_a_training_is_found_with_its_slope() -> None:
    effect = speed_effect(simulated(-0.3, 0.05, seed=1).tree)
    assert effect is not None
    assert effect.explains
    assert effect.slope == pytest.approx(-0.3, abs=0.1)
    assert effect.sigma_at_equal_speed == pytest.approx(0.05, abs=0.02)
    assert effect.sigma > effect.sigma_at_equal_speed
    assert effect.dof == 6 * 2 - 1


def test_it_is_the_regression_of_a_textbook() -> None:
    """One group: scipy's simple regression. Several with different means: the slope does not see the means."""
    growth = simulated(-0.3, 0.2, seed=3, nodes=1, runs=12)
    effect = speed_effect(growth.tree)
    evaluations = growth.tree.evaluations[growth.tree.nodes[1].node_id][1:]
    theirs = linregress([math.log(e.resources.machine_speed or 0) for e in evaluations], [e.score for e in evaluations])  # type: ignore[union-attr]
    assert effect is not None
    assert (effect.slope, effect.p) == (pytest.approx(theirs.slope), pytest.approx(theirs.pvalue))
    assert effect.share == pytest.approx(theirs.rvalue**2)


def test_where_it_explains_nothing_it_is_hardly_ever_used() -> None:
    """The test holds its level: 5% of searches whose scores have nothing to do with speed."""
    found = [speed_effect(simulated(0.0, 0.1, seed=seed).tree) for seed in range(400)]
    explaining = sum(effect is not None and effect.explains for effect in found) / 400
    assert 0.05 - 3 * math.sqrt(0.05 * 0.95 / 400) <= explaining <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_every_purpose_is_compared_with_itself_alone() -> None:
    growth = simulated(-0.3, 0.05, seed=1, purpose="confirm")
    effect = speed_effect(growth.tree)
    assert effect is not None
    assert effect.slope == pytest.approx(-0.3, abs=0.1)


def test_too_little_is_no_effect() -> None:
    growth = Growth()
    root = growth.root(3.4)
    assert speed_effect(growth.tree) is None
    for score, speed in ((3.4, 10.0), (3.6, 5.0), (3.5, 7.0)):
        run(growth, root, score, speed)
    effect = speed_effect(growth.tree)
    assert effect is not None
    assert effect.dof == 1
    assert not effect.explains, "three runs on a line prove nothing"
    same = Growth()
    root = same.root(3.4)
    for score in (3.4, 3.5, 3.6):
        run(same, root, score, 10.0)
    assert speed_effect(same.tree) is None, "a machine of one speed"


def test_runs_under_other_conditions_and_suspects_say_nothing() -> None:
    growth = simulated(-0.3, 0.05, seed=1, nodes=2)
    first = speed_effect(growth.tree)
    elsewhere = Conditions("corpus", 10.0, "another machine")
    record = growth.choose(Replicate(growth.tree.nodes[1].node_id))
    growth.land(record, 99.0, elsewhere, speed=1.0)
    assert speed_effect(growth.tree) == first
    growth.cheats(growth.tree.nodes[2].node_id)
    assert speed_effect(growth.tree) != first


def test_what_is_said() -> None:
    strong = SpeedEffect(-0.26, 1e-5, 22, 0.57, 0.218, 0.146, 1.77, 17.3)
    assert describe_speed(strong, "bpb") == (
        "Machine speed (1.77 to 17.3 workloads a second) explains 57% of the variance between runs of one program "
        "(p = 1e-05):\n  at equal speed these runs would deviate by 0.15 bpb instead of 0.22; a quieter machine tells "
        "candidates apart sooner."
    )
    weak = SpeedEffect(-0.26, 0.4, 22, 0.07, 0.2, 0.19, 16.0, 17.3)
    assert describe_speed(weak, "bpb").endswith("is not seen to explain scores of one program (p = 0.4).")
    few = SpeedEffect(-0.26, 0.01, 1, 0.9, 0.2, 0.1, 16.0, 17.3)
    assert describe_speed(few, "bpb").endswith("(degrees of freedom: 1).")
