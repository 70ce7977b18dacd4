"""Transactions: rows that are joined into one statement, and blocks that are committed later."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.errors import ArchiveError
from archive.records import Event
from archive.storage.database import FOR_ROWS
from archive.storage.store import Archive
from archive.storage.writer import Writer

COLUMNS = {"a": "BIGINT", "b": "DOUBLE", "c": "VARCHAR", "d": "VARCHAR[]", "e": "JSON"}
ROWS = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.integers(0, 3) | st.floats(allow_nan=False),
    st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.text("xy'")),
    st.none() | st.sampled_from(['{"x": [1, null]}', "[]", "0"]),
)


def in_memory() -> tuple[duckdb.DuckDBPyConnection, Writer]:
    raw = duckdb.connect(":memory:")
    raw.execute("ATTACH ':memory:' AS archive; USE archive")
    raw.execute(FOR_ROWS)
    for table in ("t", "u"):
        raw.execute(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
    return raw, Writer(Path("a"), raw)


def held(raw: duckdb.DuckDBPyConnection, table: str) -> list[tuple[Any, ...]]:
    return raw.execute(f"SELECT {', '.join(COLUMNS)} FROM {table} ORDER BY rowid").fetchall()


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from("tu"), ROWS), max_size=8), times=st.sampled_from([1, 40]))
def test_rows_of_one_transaction_are_those_of_one_insert_for_each(
    rows: list[tuple[str, tuple[Any, ...]]], times: int
) -> None:
    """Whatever the values, in the same order; a value is not cast to the type of its neighbours."""
    (raw, writer), (other, _) = in_memory(), in_memory()
    plain = other.cursor()  # which optimises
    plain.execute("USE archive")
    columns = ", ".join(COLUMNS)
    with writer.transaction():
        for table, row in rows * times:
            writer.insert(table, columns, row)
    for table, row in rows * times:
        plain.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", row)
    for table in ("t", "u"):
        assert held(raw, table) == held(plain, table)


def note(archive: Archive, message: str) -> None:
    archive.note(Event("night", "kind", message, 0.0))


def in_file(path: Path, folder: Path) -> list[str]:
    """The messages that a process would find which opens the archive after a kill at this moment."""
    folder.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        if each.is_file():
            shutil.copy(each, folder / each.name)
    with duckdb.connect(str(folder / path.name)) as copy:
        return [message for (message,) in copy.execute("SELECT message FROM events ORDER BY rowid").fetchall()]


def test_what_is_committed_later_is_lost_by_a_kill_only_as_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        note(archive, "1")
        with archive.transaction(later=True):
            note(archive, "2")
        assert in_file(path, tmp_path / "first") == ["1"]
        assert not archive.is_flushed
        with archive.transaction(later=True):
            note(archive, "3")
        note(archive, "4")
        assert archive.is_flushed
        assert in_file(path, tmp_path / "second") == ["1", "2", "3", "4"]
        with archive.transaction(later=True):
            note(archive, "5")
        archive.flush()
        assert in_file(path, tmp_path / "third") == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("way", ["query", "reading", "checkpoint", "close"])
def test_readers_and_the_end_find_what_was_to_be_committed_later(tmp_path: Path, way: str) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        with archive.transaction(later=True):
            note(archive, "1")
        if way == "query":
            assert archive.query("SELECT message FROM events") == [("1",)]
        elif way == "reading":
            with archive.reading() as cursor:
                assert cursor.execute("SELECT message FROM events").fetchall() == [("1",)]
        elif way == "checkpoint":
            assert archive.checkpoint()
        else:
            archive.close()
        assert in_file(path, tmp_path / "copy") == ["1"]


def test_a_block_that_raises_takes_nothing_of_earlier_blocks_with_it(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        with archive.transaction(later=True):
            note(archive, "1")
        with suppress(KeyError), archive.transaction(later=True):
            note(archive, "2")
            raise KeyError
        with pytest.raises(ValueError, match="refuses"), archive.transaction():
            archive.note(Event("night", None, "2", 0.0))  # type: ignore[arg-type]
        note(archive, "3")
        assert archive.query("SELECT message FROM events ORDER BY rowid") == [("1",), ("3",)]


def test_a_block_within_a_block_is_committed_with_it(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        with archive.transaction():
            with archive.transaction(later=True):
                note(archive, "1")
            archive.flush()
            assert archive.query("SELECT message FROM events") == []
        assert archive.is_flushed
        archive.close()
        with pytest.raises(ArchiveError, match="closed"), archive.transaction(later=True):
            note(archive, "2")


def test_a_query_of_the_search_waits_for_another_thread_s_block(tmp_path: Path) -> None:
    """A model's credit at a move is read in a thread: without the moves before it, it would be another one."""
    with Archive.open(tmp_path / "a.duckdb") as archive, ThreadPoolExecutor(2) as pool:
        with archive.transaction(later=True):
            note(archive, "first")
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with archive.transaction():
                note(archive, "second")
                entered.set()
                leave.wait(10)

        holding = pool.submit(hold)
        entered.wait(10)
        asked = pool.submit(archive.query, "SELECT message FROM events ORDER BY arrival")
        wait([asked], 0.3)
        leave.set()
        holding.result()
        assert asked.result() == [("first",), ("second",)]


def test_rows_are_inserted_without_the_optimizer_and_questions_are_asked_with_it(tmp_path: Path) -> None:
    question = "EXPLAIN SELECT count(*) FROM nodes a, nodes b WHERE a.node_id = b.node_id"
    with Archive.open(tmp_path / "a.duckdb") as archive:
        asked = archive.query(question)
        rows = archive._writer._connection.execute(question).fetchall()
    assert "Cross Product" in str(rows)
    assert "Cross Product" not in str(asked)
