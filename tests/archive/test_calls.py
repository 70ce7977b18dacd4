"""Calls to language models as rows: what is about to be sent, what is unknown, and what counts against a cap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_sample import Diary, a_call, a_request

from archive.llm_calls import Spending
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Propose
from archive.storage.store import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        yield archive


def test_what_was_cut_off_with_its_process_counts_at_the_most_that_it_can_have_cost(archive: Archive) -> None:
    for number, (tokens, dollars) in enumerate([(100, 1.0), (200, 2.0), (400, None)]):
        archive.record_request(a_request(move=number, tokens_at_most=tokens, dollars_at_most=dollars))
    archive.record_request(a_request("other", 9, tokens_at_most=9999, dollars_at_most=99.0))
    assert archive.spending("night") == Spending(charged_tokens=700, charged_dollars=3.0)
    known = {"request": "r0", "tokens_in": 5, "tokens_out": 6, "dollars": 0.1, "charged_tokens": 11}
    archive.record_call(a_call(move=0, **known, charged_dollars=0.1))
    assert archive.spending("night") == Spending(1, 11, 0.1, 0, 0, 611, pytest.approx(2.1))
    lost = {"request": "r1", "tokens_in": None, "tokens_out": None, "tokens_cached": None, "dollars": None}
    archive.record_call(a_call(move=1, outcome="failed", **lost, charged_tokens=200, charged_dollars=2.0))
    assert archive.spending("night") == Spending(2, 11, 0.1, 1, 1, 611, pytest.approx(2.1))


def test_calls_of_older_versions_count_as_far_as_they_are_known(archive: Archive) -> None:
    archive.record_call(a_call(tokens_in=10, tokens_out=5, dollars=0.25))
    archive.record_call(a_call(move=2, tokens_in=10, tokens_out=5, dollars=None))
    assert archive.spending("night") == Spending(2, 30, 0.25, 1, 0, 30, 0.25)


def test_tokens_that_are_unknown_are_null_and_come_back_as_none(archive: Archive) -> None:
    call = a_call(tokens_in=None, tokens_out=None, tokens_cached=None, dollars=None, request="r", asked="strong")
    archive.record_call(call)
    assert archive.answer("night", 1, 0) == call
    rows = archive.query("SELECT tokens_in, tokens_out, tokens_cached, dollars, request, asked FROM llm_calls")
    assert rows == [(None, None, None, None, "r", "strong")]
    (totals,) = archive.query("SELECT tokens_in, tokens_out, dollars, unpriced_calls FROM spending")
    assert totals == (0, 0, None, 1)


def test_calls_have_their_node_and_purpose(archive: Archive) -> None:
    diary = Diary(archive)
    root = diary.screened(diary.child(operator="seed"), 3.0)
    record = diary.choose(Propose("improve", (root.node_id,)))
    archive.record_call(a_call(move=record.number, turn=1))
    archive.record_call(a_call(move=record.number, outcome="failed"))
    node = diary.add(record, "X = 1\n")
    refused = diary.choose(Propose("draft", (root.node_id,)))
    archive.record_call(a_call(move=refused.number, operator="draft"))
    diary.refuse(refused)
    found = archive.query("SELECT node_id, purpose, turn, outcome FROM calls")
    assert found == [
        (node.node_id, "improve", 0, "failed"),
        (node.node_id, "improve", 1, "answered"),
        (None, "draft", 0, "answered"),
    ]


def test_the_check_finds_calls_without_requests(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        Diary(archive)
        archive.record_request(a_request())
        archive.record_call(a_call(request="r1"))
        archive.record_call(a_call(move=2))  # of an older version
    assert {row[0] for row in verify(open_reader(path)).rows} == set()
    with Archive.open(path) as archive:
        archive.record_call(a_call(move=3, request="nobody"))
        archive.record_request(a_request())
    assert {row[0] for row in verify(open_reader(path)).rows} == {"call without its request", "request stored twice"}
