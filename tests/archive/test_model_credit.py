"""What the archive says of each model's moves when another move is chosen: only what was known then, and for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive_sample import HERE, Diary, a_call, a_run, failed, request_for, scored

from archive.records import Node, Propose
from archive.storage.store import Archive
from operators.llm.credit import credits_at
from operators.llm.several import ModelCredit


class Book(Diary):
    """A run in which models make children of the root."""

    def __init__(self, archive: Archive, direction: str = "minimise") -> None:
        super().__init__(archive, replace(a_run(), direction=direction))  # type: ignore[arg-type]
        self.root = self.screened(self.child(operator="seed"), 3.0)

    def asked(self, model: str, dollars: float | None = 0.1, **more: Any) -> int:
        record = self.choose(Propose("improve", (self.root.node_id,)))
        self.archive.record_call(a_call(move=record.number, asked=model, charged_dollars=dollars, **more))
        return record.number

    def made(self, model: str, dollars: float | None = 0.1) -> Node:
        number = self.asked(model, dollars)
        return self.add(self.tree.moves[number], f"NODE = {number}\n")

    def credits(self, move: int | None = None) -> dict[str, ModelCredit]:
        at = self.choose(Propose("improve", (self.root.node_id,))).number if move is None else move
        return dict(credits_at(self.archive.query, self.run.run, at))


@pytest.fixture
def book(tmp_path: Path) -> Any:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        yield Book(archive)


def test_gains_costs_failures_and_refusals(book: Book) -> None:
    book.screened(book.made("a"), 2.5)
    book.screened(book.made("a"), 3.5)  # worse than its parent: nothing, and not less
    book.screened(book.made("a", 0.3), None)
    book.refuse(book.tree.moves[book.asked("b", 0.05)])
    book.screened(book.made("b", 0.05), 2.9)
    book.made("b", 9.0)  # not trained yet
    book.asked("b", 9.0)  # not answered yet
    found = book.credits()
    assert set(found) == {"a", "b"}
    assert (found["a"].moves, found["a"].gain, found["a"].best) == (3, pytest.approx(0.5), pytest.approx(0.5))
    assert found["a"].dollars == pytest.approx(0.5)
    assert (found["b"].moves, found["b"].gain, found["b"].dollars) == (2, pytest.approx(0.1), pytest.approx(0.1))


def test_what_comes_later_changes_nothing(book: Book) -> None:
    first, second = book.made("a"), book.made("b")
    book.screened(first, 2.5)
    at = book.choose(Propose("improve", (book.root.node_id,))).number
    before = book.credits(at)
    assert set(before) == {"a"}
    book.screened(second, 1.0)
    book.screened(first, 9.9)  # run again
    book.screened(book.root, 1.0)
    book.record(failed(request_for(first, 77), "invalid", violation=True))
    assert book.credits(at) == before
    assert set(book.credits()) == {"a", "b"}


def test_repairs_count_for_one_move_and_all_their_cost(book: Book) -> None:
    number = book.asked("a", 0.1)
    book.archive.record_call(a_call(move=number, turn=1, asked="a", charged_dollars=0.2))
    book.screened(book.add(book.tree.moves[number], "X = 1\n"), 2.0)
    assert book.credits() == {"a": ModelCredit(1, 1.0, 1.0, pytest.approx(0.3))}


def test_an_unknown_price_makes_the_cost_unknown(book: Book) -> None:
    book.screened(book.made("a", None), 2.5)
    book.screened(book.made("a", 0.1), 2.5)
    assert book.credits()["a"].dollars is None


def test_who_was_found_cheating_gained_nothing(book: Book) -> None:
    node = book.made("a")
    book.screened(node, 1.0)
    book.record(failed(request_for(node, 77), "invalid", violation=True))
    assert book.credits()["a"].gain == 0.0


def test_scores_of_other_hardware_are_not_compared(book: Book) -> None:
    node = book.made("a")
    elsewhere = replace(HERE, hardware="another machine")
    book.screened(node, 0.5, conditions=elsewhere)
    assert book.credits()["a"] == ModelCredit(1, 0.0, 0.0, 0.1)
    book.screened(node, 2.9)
    assert book.credits()["a"].gain == pytest.approx(0.1)
    assert book.credits()["a"].moves == 1


def test_claims_do_not_count(book: Book) -> None:
    node = book.screened(book.made("a"), 2.9)
    book.record(scored(request_for(node, 50, "report"), 0.5))
    assert book.credits()["a"].gain == pytest.approx(0.1)


def test_a_metric_that_is_maximised(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        book = Book(archive, "maximise")
        book.screened(book.made("a"), 3.5)
        book.screened(book.made("a"), 2.0)
        assert book.credits()["a"].gain == pytest.approx(0.5)
