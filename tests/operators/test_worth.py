"""What changes of the code are worth: told where many programs agree, and not where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from garden import Garden

from archive.records import Direction, Node
from operators.analysis.edit_effects import Worth, Worths
from operators.languages.parameters import read_constants, set_constants

SOURCE = "RATE = 0.001  # tune: 1e-4..1e-1 log\n\n\ndef train(x):\n    return x\n\n\ndef last(x):\n    return x\n"
GOOD = "\n\ndef good(x):\n    return x\n"
BAD = "\n\ndef bad(x):\n    return x\n"
GATED = "\n\nGATE = 0.5  # tune: 0..1\n\n\ndef gated(x):\n    return GATE * x\n"
EDITABLE = ("train.py",)


def loss(text: str) -> float:
    """``good`` gains 0.2 and ``bad`` loses 0.2, ``gated`` gains 0.2 where GATE is small; RATE is best at 0.01."""
    values = read_constants(text)
    gate = 0.4 * float(values["GATE"]) - 0.2 if "GATE" in values else 0.0
    rate = 0.1 * np.log10(float(values["RATE"]) / 0.01) ** 2
    return float(3.0 - 0.2 * ("def good" in text) + 0.2 * ("def bad" in text) + gate + rate)


def planted(direction: Direction = "minimise", seed: int = 0, noise: float = 0.02, count: int = 40) -> Garden:
    """Branches with each block, and several of them; each program has children with other rates."""
    garden, rng = Garden(direction), np.random.default_rng(seed)
    sign = 1 if direction == "minimise" else -1

    def grown(text: str, *parents: Node) -> Node:
        score = sign * (loss(text) + noise * float(rng.normal()))
        return garden.grow(text, tuple(p.node_id for p in parents), "improve", text[-12:], score=score)

    root = grown(SOURCE)
    good, bad, gated = (grown(SOURCE + block, root) for block in (GOOD, BAD, GATED))
    nodes = [root, good, bad, gated, grown(SOURCE + GOOD + BAD, good), grown(SOURCE + GOOD + GATED, good)]
    while len(garden.tree) < count:
        parent = nodes[int(rng.integers(len(nodes)))]
        text = set_constants(parent.candidate.files["train.py"], {"RATE": float(f"{10 ** rng.uniform(-4, -1):.3g}")})
        if "GATE" in text:
            text = set_constants(text, {"GATE": float(f"{rng.uniform(0, 0.3):.2g}")})
        grown(text, parent)
    return garden


def told(garden: Garden, place: int) -> dict[str, Worth]:
    """By the last line of the block."""
    tree = garden.tree
    found = Worths().of(tree, tree.nodes[place].node_id, EDITABLE)
    return {_block(tree[worth.node_id]): worth for worth in found}


def _block(node: Node) -> str:
    return node.candidate.files["train.py"].split("def ")[-1].split("(")[0]


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_what_helps_and_what_does_harm_is_told_of_what_is_there_and_of_what_is_not(direction: Direction) -> None:
    for seed in range(4):
        garden = planted(direction, seed)
        at_root, at_both = told(garden, 0), told(garden, 4)
        for found, carried in ((at_root, False), (at_both, True)):
            assert found["good"].gain > 0 > found["bad"].gain
            assert found["good"].carried is found["bad"].carried is carried
        assert at_root["good"].words.startswith("helps, by ")
        assert at_root["bad"].words.startswith("does harm, by ")
        assert at_root["gated"].gain > 0, "at the values that it was tuned to"
        codes = ["def good" in node.candidate.files["train.py"] for node in garden.tree.nodes]
        assert (at_root["good"].having, at_root["good"].lacking) == (sum(codes), len(codes) - sum(codes))


def test_of_what_drowns_in_noise_nothing_is_said() -> None:
    said = [worth for seed in range(12) for worth in told(planted(seed=seed, noise=2.0), 0).values()]
    assert len(said) <= 3, "of 36"


def test_the_most_certain_comes_first_and_the_order_is_the_same_each_time() -> None:
    garden = planted()
    tree = garden.tree
    found = Worths().of(tree, tree.root, EDITABLE)
    sure = [abs(worth.gain) / worth.deviation for worth in found]
    assert sure == sorted(sure, reverse=True)
    assert found == Worths().of(tree, tree.root, EDITABLE)
    asked = Worths()
    for node in tree.nodes:
        asked.of(tree, node.node_id, EDITABLE)
    assert found == asked.of(tree, tree.root, EDITABLE), "what was asked before makes no difference"


def test_nothing_is_said_of_few_programs_nor_of_equal_code() -> None:
    assert Worths().all(planted(count=7).tree, planted(count=7).tree.root, EDITABLE) == []
    garden = Garden()
    root = garden.plant(SOURCE, 3.0)
    for number in range(20):
        garden.grow(set_constants(SOURCE, {"RATE": 0.001 + number / 1000}), (root.node_id,), score=3.0 - number)
    assert Worths().all(garden.tree, root.node_id, EDITABLE) == []


def test_one_program_with_a_change_is_not_enough() -> None:
    garden = planted()
    lucky = garden.grow(SOURCE + "\n\ndef lucky(x):\n    return 1\n", (garden.tree.root,), "improve", score=0.1)
    found = {worth.node_id: worth for worth in Worths().all(garden.tree, garden.tree.root, EDITABLE)}
    assert found[lucky.node_id].gain > 0
    assert not found[lucky.node_id].clear
