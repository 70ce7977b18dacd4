"""Comments that have no effect are said; those that have one are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.numeric.tune_comments import unused_comments

SEEDS = Path(__file__).resolve().parents[2] / "train" / "seeds"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("BETAS = (0.9, 0.99)  # tune: 0..1", "line 1: `tune: 0..1` has no effect: the value of BETAS is no number"),
        ("RATE = x  # tune: 0..1", "the value of RATE is no number"),
        ("RATE = 0.1  # tune: 0..1\nfrom math import e as RATE", "RATE is bound more than once"),
        ("def f():\n    RATE = 0.1  # tune: 0..1", "line 2: `tune: 0..1` has no effect: it does not stand behind"),
        ("# tune: 0..1\nRATE = 0.1", "it does not stand behind"),
        ("A = B = 4  # tune: 1..9", "it does not stand behind"),
        ("SEED = 4  # tune: 1..9", "SEED is never searched"),
        ("RATE = 0.1  # tune: about 3", "is not understood: expected `low..high`"),
        ("RATE = 0.1  # tune: about 3", "`0.01..1 log` is searched instead"),
        ("HEADS = 4  # tune: 1, 2, 4", "`1..16 log` is searched instead"),
        ("OFFSET = -1  # tune: any", "it is not searched"),
    ],
)
def test_a_comment_without_effect_is_named_with_the_reason(source: str, words: str) -> None:
    (said,) = unused_comments({"train.py": source + "\n"})
    assert said.startswith("train.py line ")
    assert words in said


@pytest.mark.parametrize(
    "source",
    [
        "A = 4  # tune: 1..9",
        "a = 2**4  # tune: 1..99",
        "A = 4; B = 5  # tune: 1..9",
        "A = (\n    4\n)  # tune: 1..9",
        "A = (\n    4  # tune: 1..9\n)",
        "A: int = 4  # tune: no, for a reason",
        "SEED = 4  # tune: no",
        "TEXT = 'A = 1  # tune: x'",
        "A = = 4  # tune: 1..9",
    ],
)
def test_a_comment_with_effect_is_not(source: str) -> None:
    assert unused_comments({"train.py": source + "\n", "notes.md": "# tune: x"}) == []


@pytest.mark.parametrize("name", ["gpt.py", "shakespeare.py"])
def test_those_of_the_seed_programs_all_have_one(name: str) -> None:
    assert unused_comments({"train.py": (SEEDS / name).read_text(encoding="utf-8")}) == []


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("a.c", "int a = 1; // tune: 1..9\n", None),
        ("a.c", "\nint a = b; // tune: 1..9\n", "a.c line 2: `tune: 1..9` has no effect: it does not stand behind"),
        ("a.c", "int a = 1; // tune: 1..9\nint a = 2; // tune: no\n", "a is marked more than once"),
        ("a.yaml", "a: 1  # tune: big\n", "a.yaml line 1: `tune: big` is not understood"),
        ("a.sh", "SEED=1  # tune: 1..9\n", "SEED is never searched"),
    ],
)
def test_comments_in_other_languages(path: str, text: str, reason: str | None) -> None:
    said = unused_comments({path: text})
    assert said == [] if reason is None else said and reason in said[0]


def test_numbers_that_a_task_declares() -> None:
    files = {"c.json": '{"a": {"b": 1}, "s": "1"}'}
    assert unused_comments(files, {"c.json:a.b": "1..9"}) == []
    assert "is not understood" in unused_comments(files, {"c.json:a.b": "big"})[0]
    for key in ("c.json:a", "c.json:s", "c.json:x", "d.json:a.b", "c.json"):
        assert "names no number" in unused_comments(files, {key: "1..9"})[0]
