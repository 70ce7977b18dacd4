"""Crossover: a three-way merge, parameters by name, conflicts drawn."""

from __future__ import annotations

import pytest
from garden import Garden

from archive.records import Candidate
from operators.base import NoCandidate
from operators.languages.parameters import read_parameters
from operators.recombine.crossover import Crossover

BASE = """\
RATE = 0.001
WIDTH = 64
BATCH = 16


def first():
    return 1


def second():
    return 2
"""


def offspring(garden: Garden, a: str, b: str, base: str = BASE, seed: int = 0) -> Candidate | NoCandidate:
    root = garden.plant(base, 1.0)
    left = garden.grow(a, (root.node_id,), score=0.9)
    right = garden.grow(b, (root.node_id,), score=0.8)
    return garden.ask(Crossover(), left.node_id, right.node_id, seed=seed)


def test_changes_of_both_sides_are_joined_and_unchanged_text_is_kept(garden: Garden) -> None:
    a = BASE.replace("return 1", "return 10")
    b = BASE.replace("return 2", "return 20")
    child = offspring(garden, a, b)
    assert isinstance(child, Candidate)
    assert child.files["train.py"] == BASE.replace("return 1", "return 10").replace("return 2", "return 20")
    a_id, b_id = child.parents
    assert child.idea == f"merge of {a_id[:8]} and {b_id[:8]}: 1 block of code of the one, 1 block of code of the other"


def test_what_one_side_deleted_stays_deleted(garden: Garden) -> None:
    """A two-way merge could not know that."""
    a = BASE.replace("\n\ndef second():\n    return 2\n", "")
    b = BASE.replace("first", "primary")
    child = offspring(garden, a, b)
    assert isinstance(child, Candidate)
    assert "second" not in child.files["train.py"]
    assert "primary" in child.files["train.py"]


def test_constants_on_neighbouring_lines_merge_by_name(garden: Garden) -> None:
    a = BASE.replace("0.001", "0.003")
    b = BASE.replace("= 64", "= 128")
    child = offspring(garden, a, b)
    assert isinstance(child, Candidate)
    assert read_parameters(child.files["train.py"]) == {"RATE": 0.003, "WIDTH": 128, "BATCH": 16}
    assert "RATE 0.003 of the one, WIDTH 128 of the other" in child.idea


def test_a_constant_that_both_changed_is_drawn_from_either() -> None:
    a = BASE.replace("0.001", "0.003").replace("= 64", "= 96")
    b = BASE.replace("0.001", "0.009").replace("= 16", "= 8")
    rates = set()
    for seed in range(12):
        child = offspring(Garden(), a, b, seed=seed)
        assert isinstance(child, Candidate)
        values = read_parameters(child.files["train.py"])
        assert (values["WIDTH"], values["BATCH"]) == (96, 8)
        rates.add(values["RATE"])
    assert rates == {0.003, 0.009}


HEADS = "HEADS = 2  # tune: 1..8\n\n\ndef same():\n    return HEADS\n\n\n" + BASE.partition("\n\n\n")[2]


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ("2  # tune: 1|2|4|8", "6  # tune: 1..8", {"2  # tune: 1|2|4|8"}),
        ("6  # tune: 1..8", "4  # tune: 1|2|4|8", {"4  # tune: 1|2|4|8"}),
        ("12  # tune: 10..20", "6  # tune: 1..8", {"12  # tune: 10..20", "6  # tune: 1..8"}),
        ("4.0  # tune: 1..8", "6  # tune: 1..8", {"4.0  # tune: 1..8", "6  # tune: 1..8"}),
    ],
)
def test_no_constant_gets_a_value_that_its_comment_does_not_allow(a: str, b: str, found: set[str]) -> None:
    left = HEADS.replace("2  # tune: 1..8", a).replace("return 1", "return 10")
    right = HEADS.replace("2  # tune: 1..8", b).replace("return 2", "return 20")
    values = set()
    for seed in range(12):
        child = offspring(Garden(), left, right, HEADS, seed)
        assert isinstance(child, Candidate)
        values.add(child.files["train.py"].partition("\n")[0].removeprefix("HEADS = "))
    assert values == found


def test_a_conflicting_hunk_is_taken_whole_from_either() -> None:
    a = BASE.replace("return 1", "x = 1\n    return x").replace("= 64", "= 96")
    b = BASE.replace("return 1", "y = 2\n    return y").replace("= 16", "= 8")
    bodies = set()
    for seed in range(12):
        child = offspring(Garden(), a, b, seed=seed)
        assert isinstance(child, Candidate)
        text = child.files["train.py"]
        assert ("x = 1\n    return x" in text) != ("y = 2\n    return y" in text)
        bodies.add("return x" in text)
    assert bodies == {True, False}


def test_the_base_is_the_lowest_common_ancestor(garden: Garden) -> None:
    root = garden.plant(BASE, 1.0)
    middle = garden.grow(BASE.replace("0.001", "0.5"), (root.node_id,), score=0.9)
    text = middle.candidate.files["train.py"]
    a = garden.grow(text.replace("0.5", "0.001"), (middle.node_id,), score=0.8)  # back to the root's value
    b = garden.grow(text.replace("64", "96"), (middle.node_id,), score=0.8)
    child = garden.ask(Crossover(), a.node_id, b.node_id)
    assert isinstance(child, Candidate)
    assert read_parameters(child.files["train.py"]) == {"RATE": 0.001, "WIDTH": 96, "BATCH": 16}


def test_refusals_say_why(garden: Garden) -> None:
    root = garden.plant(BASE, 1.0)
    a = garden.grow(BASE.replace("= 64", "= 96"), (root.node_id,), score=0.9)
    b = garden.grow(BASE.replace("= 64", "= 96") + "# a comment\n", (root.node_id,), score=0.9)
    c = garden.grow(BASE.replace("first", "third"), (root.node_id,), score=0.9)
    d = garden.grow(BASE.replace("first", "third").replace("= 64", "= 96"), (root.node_id,), score=0.9)
    crossover = Crossover()

    def reason(*parents: str) -> str:
        refused = garden.ask(crossover, *parents)
        assert isinstance(refused, NoCandidate)
        return refused.reason

    assert "is an ancestor of the other parent" in reason(root.node_id, a.node_id)
    assert "equals one of its parents" in reason(a.node_id, b.node_id)
    assert "two different parents" in reason(a.node_id, a.node_id)
    assert "known already" in reason(a.node_id, c.node_id), "d is that merge"
    assert d


def test_a_merge_that_does_not_parse_is_refused(garden: Garden) -> None:
    base = "x = [\n    1,\n]\ny = 1\n"
    a = "x = [1]\ny = 1\n"
    b = "x = [\n    1,\n] + [\n    2,\n]\ny = 1\n"
    child = offspring(garden, a, b, base)
    assert isinstance(child, NoCandidate)


def test_files_are_merged_one_by_one(garden: Garden) -> None:
    root = garden.plant(BASE, 1.0)
    a = garden.grow({"train.py": BASE.replace("return 1", "return 10"), "notes.txt": "a"}, (root.node_id,), score=0.9)
    b = garden.grow({"train.py": BASE.replace("return 2", "return 20")}, (root.node_id,), score=0.9)
    child = garden.ask(Crossover(), a.node_id, b.node_id)
    assert isinstance(child, Candidate)
    assert child.files["notes.txt"] == "a"
    assert "return 10" in child.files["train.py"]
    assert "return 20" in child.files["train.py"]


def test_the_same_generator_gives_the_same_child() -> None:
    a = BASE.replace("0.001", "0.003").replace("64", "96").replace("16", "4")
    b = BASE.replace("0.001", "0.009").replace("64", "32").replace("16", "8")
    assert offspring(Garden(), a, b, seed=5) == offspring(Garden(), a, b, seed=5)
