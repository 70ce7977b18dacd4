"""The tree that the live tests start from, and the reader of their records: no model is asked here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from grown import STEPS, edited, grown
from judging import class_of, reached, refused_at, summary
from proposals import ROUND, Book, Maker, figures, judged, numbers, settings

from archive.llm_calls import LlmCall
from operators.rewrite.answers.search_replace import InvalidAnswer, apply, read_answer
from prepare.load import find_file, task_from
from search import factory

EDIT = "IDEA: it\n<<<<<<< SEARCH\nBATCH = 8\n=======\nBATCH = {}\n>>>>>>> REPLACE\n"


class Bench:
    """One without an evaluator: nothing is refused."""

    def __init__(self, task: Any) -> None:
        self.full = self
        self.task = task

    def gate(self, files: object) -> None:
        return None


@pytest.fixture(scope="module")
def config() -> Any:
    return settings("http://127.0.0.1:9/v1", "nobody", 5000, 800)


def test_the_tree_fits_the_seed_program(config: Any) -> None:
    task = task_from(config.task)
    garden, names = grown(task, factory.seed_files(task))
    assert len(garden.tree) == len(STEPS) + 1 == len(garden.known)
    assert {name for _, parents in ROUND for name in parents} <= names.keys()
    with pytest.raises(ValueError, match="the seed program holds 0 times"):
        edited("x = 1\n", (("y", "z"),))


@pytest.mark.parametrize(
    ("answer", "stage", "kind"),
    [
        ("nonsense", "read", "no block and no file"),
        ("IDEA: x\n", "read", "no block and no file"),
        (EDIT.replace("BATCH = 8", "nowhere").format(1), "applied", "the search text is not there"),
        (EDIT.partition(">>>>>>>")[0], "read", "a block without an end"),
        (EDIT.partition("=======")[0], "read", "a block without an end"),
        ("```\nx = 1\n```\n```\nx = 2\n```\n", "read", "several files in one"),
    ],
)
def test_refusals_are_sorted_by_what_the_reader_says(answer: str, stage: str, kind: str) -> None:
    with pytest.raises(InvalidAnswer) as refused:
        apply(read_answer(answer, ("train.py",)), {"train.py": "BATCH = 8\n"})
    assert refused_at(str(refused.value)) == stage
    assert class_of(str(refused.value)) == kind


def test_stages_are_passed_in_order() -> None:
    assert reached(None) == ("read", "applied", "parsed", "accepted")
    assert reached("the changed file does not parse: line 3") == ("read", "applied")
    assert reached("nothing changed but comments, layout or seeds") == ("read", "applied", "parsed")


def test_answers_are_paid_for_once_and_can_be_read_again(config: Any, tmp_path: Path) -> None:
    task = task_from(config.task)
    book = Book.open(tmp_path / "live.jsonl")
    number = next(i for i, (name, parents) in enumerate(ROUND) if (name, parents) == ("improve", ("tuned",)))
    for turn, answer in enumerate(("nonsense", EDIT.format(16))):
        call = LlmCall(
            run="old", move=number, turn=turn, operator="improve", model="m", outcome="answered", prompt="please",
            answer=answer, tokens_in=100, tokens_out=20, tokens_cached=None, seconds=1.0, dollars=None, at=0.0,
        )  # fmt: skip
        book.add("call", "old", call=call.__dict__)
    bench: Any = Bench(task)
    program = find_file(task.program).read_text()
    maker = Maker(config, book, "new", bench, program, factory.seed_files(task), paid="old")
    maker.propose(number)
    maker.propose(number + 1)  # nobody has answered this one, and nobody is asked
    (row,) = judged(Book.open(book.path), "new", paid="old")
    assert (row["first"], row["last"], row["turns"]) == ((), ("read", "applied", "parsed", "accepted"), 2)
    found = summary([row], figures)
    assert (found["first_read"], found["accepted"], found["repairs_that_helped"]) == (0.0, 1.0, 1)
    assert found["tokens_in"] == 200
    assert "was not recorded" in book.rows[-1]["refused"]


def test_which_proposals() -> None:
    assert list(numbers("3")) == [0, 1, 2]
    assert numbers("8-10,20") == [8, 9, 10, 20]
