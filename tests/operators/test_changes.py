"""Which changes of the code a program carries: by content, so that branches can be compared."""

from __future__ import annotations

from garden import Garden

from archive.records import Node
from operators.languages.code_changes import Changes
from operators.languages.parameters import set_constants

SOURCE = "RATE = 0.001\n\n\ndef model(x):\n    return x\n\n\ndef train(x):\n    return model(x)\n"
BLOCK = "\n\ndef block(x):\n    return GAIN * x\n\n\nGAIN = 0.5\n"
START = "import math\n"


def grown(garden: Garden, text: str, *parents: Node) -> Node:
    return garden.grow(text, tuple(parent.node_id for parent in parents), "improve", score=1.0)


def test_the_same_change_in_two_branches_is_one_and_constants_are_none() -> None:
    garden, changes = Garden(), Changes()
    root = garden.plant(SOURCE, 1.0)
    one = grown(garden, SOURCE + BLOCK, root)
    tuned = grown(garden, set_constants(SOURCE, {"RATE": 0.1}), root)
    other = grown(garden, set_constants(SOURCE, {"RATE": 0.1}) + BLOCK.replace("0.5", "0.9"), tuned)
    different = grown(garden, SOURCE + BLOCK.replace("GAIN * x", "GAIN + x"), root)
    assert changes.of(garden.tree, root.node_id) == changes.of(garden.tree, tuned.node_id) == set()
    assert len(changes.of(garden.tree, one.node_id)) == 1
    assert changes.of(garden.tree, other.node_id) == changes.of(garden.tree, one.node_id)
    assert not changes.of(garden.tree, different.node_id) & changes.of(garden.tree, one.node_id)


def test_comments_and_blank_lines_are_no_change() -> None:
    garden, changes = Garden(), Changes()
    root = garden.plant(SOURCE, 1.0)
    commented = grown(garden, "# a comment\n" + SOURCE.replace("    return x\n", "\n    return x\n"), root)
    assert changes.of(garden.tree, commented.node_id) == set()


def test_what_is_undone_is_carried_no_more() -> None:
    garden, changes = Garden(), Changes()
    root = garden.plant(SOURCE, 1.0)
    block = grown(garden, SOURCE + BLOCK, root)
    both = grown(garden, START + SOURCE + BLOCK, block)
    undone = grown(garden, START + SOURCE, both)
    again = grown(garden, START + SOURCE + BLOCK, undone)
    assert len(changes.of(garden.tree, both.node_id)) == 2
    assert changes.of(garden.tree, undone.node_id) == changes.of(garden.tree, both.node_id) - changes.of(
        garden.tree, block.node_id
    )
    assert changes.of(garden.tree, again.node_id) == changes.of(garden.tree, both.node_id)


def test_a_merge_carries_what_is_new_on_either_side_and_not_what_either_took_out() -> None:
    garden, changes = Garden(), Changes()
    root = garden.plant(SOURCE, 1.0)
    block = grown(garden, SOURCE + BLOCK, root)
    imported = grown(garden, START + SOURCE + BLOCK, block)
    without = grown(garden, SOURCE, block)
    renamed = grown(garden, SOURCE.replace("model(x)\n", "model(x) + 1\n"), without)
    merged = grown(garden, START + SOURCE.replace("model(x)\n", "model(x) + 1\n"), imported, renamed)
    assert changes.of(garden.tree, merged.node_id) == (
        (changes.of(garden.tree, imported.node_id) | changes.of(garden.tree, renamed.node_id))
        - changes.of(garden.tree, block.node_id)
    )
    assert len(changes.of(garden.tree, merged.node_id)) == 2


def test_the_maker_is_the_first_of_the_lineage_with_that_step() -> None:
    garden, changes = Garden(), Changes()
    root = garden.plant(SOURCE, 1.0)
    first = grown(garden, SOURCE + BLOCK, root)
    tuned = grown(garden, set_constants(SOURCE, {"RATE": 0.1}), root)
    second = grown(garden, set_constants(SOURCE, {"RATE": 0.1}) + BLOCK, tuned)
    (name,) = changes.of(garden.tree, second.node_id)
    assert changes.maker(garden.tree, first.node_id, name) is first
    assert changes.maker(garden.tree, second.node_id, name) is second
    assert changes.maker(garden.tree, tuned.node_id, name) is None


def test_other_files_count_by_their_lines() -> None:
    garden, changes = Garden(), Changes()
    root = garden.grow({"train.py": SOURCE, "notes.txt": "a\nb\n"}, (), "seed", score=1.0)
    noted = garden.grow({"train.py": SOURCE, "notes.txt": "a\nc\n"}, (root.node_id,), "improve", score=1.0)
    gone = garden.grow({"train.py": SOURCE}, (root.node_id,), "improve", score=1.0)
    assert len(changes.of(garden.tree, noted.node_id)) == 1
    assert len(changes.of(garden.tree, gone.node_id)) == 1
    broken = garden.grow({"train.py": SOURCE + "def (:\n", "notes.txt": "a\nb\n"}, (root.node_id,), "improve")
    assert len(changes.of(garden.tree, broken.node_id)) == 1, "what does not parse counts by its lines, too"
