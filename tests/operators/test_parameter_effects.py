"""Effects of a program's parameters, estimated from all scores of programs with the same code."""

from __future__ import annotations

import numpy as np
import pytest
from garden import Garden

from archive.records import Direction
from operators.languages.parameters import read_parameters, set_parameters
from operators.numeric.parameter_effects import explain_parameters

SOURCE = "RATE = 0.001  # tune: 1e-4..1e-1 log\nIDLE = 0.5  # tune: 0..1\n\n\ndef train(x):\n    return x\n"
BLOCK = "\n\ndef block(x):\n    return x\n"


def loss(text: str) -> float:
    """RATE is best at 0.01, and IDLE does nothing."""
    return float(3.0 + 0.5 * np.log10(float(read_parameters(text)["RATE"]) / 0.01) ** 2)


def grown(direction: Direction, count: int, source: str = SOURCE, seed: int = 0) -> Garden:
    """A root and its children with random parameters, all of one code."""
    garden, rng = Garden(direction), np.random.default_rng(seed)
    sign = 1 if direction == "minimise" else -1
    root = garden.plant(SOURCE, sign * loss(SOURCE))
    parent = root if source == SOURCE else garden.grow(source, (root.node_id,), "improve", score=sign * 2.9)
    while len(garden.tree) < count:
        values = {"RATE": float(f"{10 ** rng.uniform(-4, -1):.3g}"), "IDLE": float(f"{rng.random():.2g}")}
        text = set_parameters(source, values)
        garden.grow(text, (parent.node_id,), score=sign * (loss(text) + 0.02 * float(rng.normal())))
    return garden


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_the_most_helpful_comes_first_and_what_does_nothing_is_not_clear(direction: Direction) -> None:
    garden = grown(direction, 40)
    text = set_parameters(SOURCE, {"RATE": 0.01, "IDLE": 0.6})
    best = garden.grow(text, (garden.tree.root,), score=loss(text) * (1 if direction == "minimise" else -1))
    found = explain_parameters(garden.tree, best.node_id)
    assert found is not None
    assert (found.programs, found.code_changed) == (41, False)
    rate, idle = found.effects
    assert (rate.name, rate.seed_value, rate.value, rate.verdict) == ("RATE", 0.001, 0.01, "helps")
    assert (idle.name, idle.verdict) == ("IDLE", "not clear")
    assert rate.gain > idle.gain
    worse = next(node for node in garden.tree.nodes if read_parameters(node.candidate.files["train.py"])["RATE"] < 2e-4)
    found = explain_parameters(garden.tree, worse.node_id)
    assert found is not None
    assert found.effects[-1].verdict == "does harm"


def test_the_seed_program_has_no_effects_and_too_few_programs_give_no_explanation() -> None:
    garden = grown("minimise", 12)
    found = explain_parameters(garden.tree, garden.tree.root)
    assert found is not None
    assert found.effects == ()
    few = grown("minimise", 7)
    assert explain_parameters(few.tree, few.tree.root) is None


def test_only_programs_of_the_same_code_count() -> None:
    garden = grown("minimise", 30, SOURCE + BLOCK)
    found = explain_parameters(garden.tree, garden.tree.nodes[-1].node_id)
    assert found is not None
    assert (found.programs, found.code_changed) == (29, True)
    assert explain_parameters(garden.tree, garden.tree.root) is None, "no other program has the root's code"


def test_equal_scores_at_all_values_are_not_clear(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    for number in range(12):
        rate = 0.002 * (1 + number % 3)
        garden.grow(set_parameters(SOURCE, {"RATE": rate}), (root.node_id,), score=3.0 + (number * 7 % 11) / 100)
    found = explain_parameters(garden.tree, garden.tree.nodes[1].node_id)
    assert found is not None
    assert [effect.verdict for effect in found.effects] == ["not clear"]
