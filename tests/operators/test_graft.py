"""graft takes over one change of another branch, the most promising one, and knows when there is none."""

from __future__ import annotations

import pytest
from garden import Garden
from test_worth import BAD, GATED, GOOD, SOURCE, loss, planted

from archive.records import Candidate, Node
from operators.base import NoCandidate
from operators.languages.parameters import read_constants, set_constants
from operators.recombine.graft import Graft


def grown(garden: Garden, text: str, *parents: Node, idea: str = "an idea") -> Node:
    return garden.grow(text, tuple(p.node_id for p in parents), "improve", idea, score=loss(text))


def test_the_change_that_helps_most_comes_over_and_the_programs_own_constants_stay() -> None:
    garden = planted()
    own = set_constants(SOURCE, {"RATE": 0.013}).replace("    return x\n\n\ndef last", "    return 2 * x\n\n\ndef last")
    program = grown(garden, own, garden.tree.nodes[0])
    assert Graft().applies(garden.tree, program.node_id)
    child = garden.ask(Graft(), program.node_id)
    assert isinstance(child, Candidate)
    text = child.files["train.py"]
    assert "def good" in text or "def gated" in text
    assert "def bad" not in text
    assert "return 2 * x" in text
    assert read_constants(text)["RATE"] == 0.013
    assert child.parents == (program.node_id,)
    assert child.idea.startswith("takes over ")


def test_new_constants_come_at_the_values_of_the_best_program_that_has_them() -> None:
    garden = planted()
    root = garden.tree.nodes[0]
    best = set_constants(SOURCE + GATED, {"RATE": 0.01, "GATE": 0.03})
    garden.grow(best, (garden.tree.nodes[3].node_id,), score=0.5)
    for block in (GOOD, BAD):  # tried already on top of the root's code
        assert any(node.candidate.files["train.py"] == SOURCE + block for node in garden.tree.nodes)
    other = grown(garden, SOURCE.replace("    return x\n\n\ndef last", "    return 2 * x\n\n\ndef last"), root)
    taken = []
    for seed in range(3):
        child = garden.ask(Graft(), other.node_id, seed=seed)
        assert isinstance(child, Candidate)
        taken.append(child.files["train.py"])
        garden.grow(dict(child.files), child.parents, "graft", child.idea, score=loss(taken[-1]))
        if "GATE" in taken[-1]:
            break
    assert read_constants(taken[-1])["GATE"] == 0.03


def test_what_was_tried_together_is_not_tried_again_with_other_constants() -> None:
    garden, graft = planted(), Graft()
    root = garden.tree.nodes[0]
    assert not graft.applies(garden.tree, root.node_id), "each block was tried on the root's code"
    tuned = grown(garden, set_constants(SOURCE, {"RATE": 0.02}), root)
    assert not graft.applies(garden.tree, tuned.node_id)
    refused = garden.ask(graft, tuned.node_id)
    assert isinstance(refused, NoCandidate)
    assert "lacks no change" in refused.reason
    bad = garden.tree.nodes[2]
    assert graft.applies(garden.tree, bad.node_id), "bad and gated were never together"


def test_what_is_on_its_way_is_not_tried_a_second_time() -> None:
    garden, graft = planted(), Graft()
    bad = garden.tree.nodes[2]
    asked = 0
    while graft.applies(garden.tree, bad.node_id):
        child = garden.ask(graft, bad.node_id)
        assert isinstance(child, Candidate)
        garden.grow(dict(child.files), child.parents, "graft", child.idea)
        asked += 1
    assert asked == 1, "good is there already, and bad and gated were never together"


def test_what_surely_does_harm_is_left() -> None:
    garden = planted()
    both = garden.tree.nodes[5]
    assert "def gated" in both.candidate.files["train.py"]
    assert not Graft().applies(garden.tree, both.node_id), "all that it lacks is bad"


def test_a_step_whose_lines_are_others_here_is_left() -> None:
    garden = planted()
    text = SOURCE.replace("def last(x):\n    return x\n", "def last(y):\n    return y\n")
    program = grown(garden, text, garden.tree.nodes[0])
    assert not Graft().applies(garden.tree, program.node_id)
    refused = garden.ask(Graft(), program.node_id)
    assert isinstance(refused, NoCandidate)
    assert "lacks no change that fits" in refused.reason


def test_a_change_that_stands_on_another_one_is_left_until_that_is_there() -> None:
    garden = planted()
    gated = garden.tree.nodes[3]
    text = gated.candidate.files["train.py"].replace(
        "def train(x):\n    return x", "def train(x):\n    return gated(x)"
    )
    using = garden.grow(text, (gated.node_id,), "improve", score=1.0)
    garden.grow(set_constants(text, {"GATE": 0.1}), (using.node_id,), score=1.0)
    bad = garden.tree.nodes[2]
    for _ in range(4):
        child = garden.ask(Graft(), bad.node_id)
        if isinstance(child, NoCandidate):
            break
        assert "gated(x)" not in child.files["train.py"] or "def gated" in child.files["train.py"]
        garden.grow(dict(child.files), child.parents, "graft", child.idea, score=3.0)
    good = garden.tree.nodes[5]
    assert "def gated" in good.candidate.files["train.py"]
    child = garden.ask(Graft(), good.node_id)
    assert isinstance(child, Candidate)
    assert "return gated(x)" in child.files["train.py"]


def test_a_change_keeps_its_name_on_the_way() -> None:
    """What was taken over twice is told as what it was."""
    garden = planted()
    other = grown(
        garden, SOURCE.replace("    return x\n\n\ndef last", "    return 2 * x\n\n\ndef last"), garden.tree.nodes[0]
    )
    first = garden.ask(Graft(), other.node_id)
    assert isinstance(first, Candidate)
    garden.grow(dict(first.files), first.parents, "graft", first.idea, score=0.1)
    third = grown(
        garden, SOURCE.replace("    return x\n\n\ndef last", "    return 3 * x\n\n\ndef last"), garden.tree.nodes[0]
    )
    second = garden.ask(Graft(), third.node_id)
    assert isinstance(second, Candidate)
    assert second.idea.count("takes over") == 1


def test_without_changes_of_the_code_there_is_nothing_to_do(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    for number in range(20):
        garden.grow(set_constants(SOURCE, {"RATE": 0.001 + number / 1000}), (root.node_id,), score=3.0 - number)
    assert not Graft().applies(garden.tree, root.node_id)
    pending = garden.grow(SOURCE + GOOD, (root.node_id,), "improve")
    assert not Graft().applies(garden.tree, pending.node_id)
    assert not Graft().applies(garden.tree, root.node_id), "nobody knows yet whether it runs"


@pytest.mark.parametrize("order", [1, -1])
def test_what_was_asked_before_makes_no_difference(order: int) -> None:
    garden, graft = planted(), Graft()
    answers = {node.node_id: graft.applies(garden.tree, node.node_id) for node in garden.tree.nodes[::order]}
    assert answers == {node.node_id: Graft().applies(garden.tree, node.node_id) for node in garden.tree.nodes}
