"""What a program's differences from the seed program are worth, told from all scores."""

from __future__ import annotations

import pytest
from garden import Garden
from test_worth import BAD, GOOD, SOURCE, loss, planted

from archive.records import Direction
from operators.analysis.explain import explained
from operators.languages.parameters import set_constants


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_each_constant_and_each_change_is_told_what_helps_most_first(direction: Direction) -> None:
    garden = planted(direction, count=60)
    text = set_constants(SOURCE + GOOD + BAD, {"RATE": 0.01})
    both = garden.grow(text, (garden.tree.nodes[4].node_id,), score=loss(text) * (1 if direction == "minimise" else -1))
    found = explained(garden.tree, both.node_id)
    assert found is not None
    assert found.programs == 61
    verdicts = {gene.words: gene.verdict for gene in found.genes}
    rate, good, bad = "RATE 0.001 -> 0.01", GOOD[-12:], (SOURCE + GOOD + BAD)[-12:]
    assert good == bad, "the ideas are the texts' ends here"
    assert verdicts.keys() == {rate, good}
    assert len(found.genes) == 3
    assert [gene.gain for gene in found.genes] == sorted((gene.gain for gene in found.genes), reverse=True)
    assert found.genes[-1].verdict == "does harm"
    assert found.genes[-1].node_id == garden.tree.nodes[4].node_id
    assert found.genes[0].verdict == "helps"
    assert {gene.node_id for gene in found.genes} == {None, *(garden.tree.nodes[i].node_id for i in (1, 4))}


def test_of_the_seed_program_and_of_few_programs_nothing_is_told() -> None:
    garden = planted()
    found = explained(garden.tree, garden.tree.root)
    assert found is not None
    assert found.genes == ()
    assert explained(planted(count=7).tree, planted(count=7).tree.root) is None


def test_what_nobody_can_tell_is_said_to_be_unclear(garden: Garden) -> None:
    root = garden.plant(SOURCE, 3.0)
    for number in range(12):
        rate = 0.002 * (1 + number % 3)
        garden.grow(set_constants(SOURCE, {"RATE": rate}), (root.node_id,), score=3.0 + (number * 7 % 11) / 100)
    found = explained(garden.tree, garden.tree.nodes[1].node_id)
    assert found is not None
    assert [gene.verdict for gene in found.genes] == ["not clear"]
