"""The archive as its writer sees it: what is kept, what is refused, and what a person is told."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archive_sample import (
    HERE,
    HOUSE,
    START,
    Diary,
    a_call,
    a_curve,
    a_family,
    a_run,
    failed,
    request_for,
    scored,
)

from archive.errors import ArchiveError, ArchiveLocked, NotAnArchive
from archive.llm_calls import Spending
from archive.records import Candidate, CurvePoint, Decision, Event, MoveRecord, Node, Propose, Resources
from archive.storage.schema import SCHEMA_VERSION
from archive.storage.sources import Sources
from archive.storage.store import Archive
from archive.storage.writer import Writer


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.open(tmp_path / "a.duckdb") as opened:
        yield opened


@contextmanager
def another_process(code: str, *arguments: Path | str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs ``code``; the block begins when it has printed a line."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=HOUSE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


HOLD = (
    "import sys; from archive.storage.store import Archive; "
    "a = Archive.open(sys.argv[1]); print('open', flush=True); input()"
)
LOOK = (
    "import sys, duckdb, time; c = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); time.sleep(0.4)"
)

# ---------------------------------------------------------------- opening


def test_opening_makes_folders_file_and_schema_and_finds_them_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.duckdb"
    with Archive.open(path) as archive:
        archive.start_run(a_run())
    with Archive.open(str(path)) as archive:
        assert archive.runs() == (a_run(),)
        assert archive.run("night") == a_run()
        assert archive.run("day") is None
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.duckdb"]


def test_an_empty_file_becomes_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "made-by-mktemp"
    path.touch()
    with Archive.open(path) as archive:
        assert archive.runs() == ()


def test_a_newer_schema_is_refused_with_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Archive.open(path).close()
    with duckdb.connect(str(path)) as raw:
        raw.execute("UPDATE meta SET schema_version = 99")
    with pytest.raises(NotAnArchive, match=rf"version 99.*up to {SCHEMA_VERSION}.*Upgrade"):
        Archive.open(path)
    with duckdb.connect(str(path)) as raw:  # the refused one has let go of it
        raw.execute("SELECT 1")


@pytest.mark.parametrize("kind", ["text", "folder", "other database"])
def test_what_is_no_archive_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "text":
        path.write_text("dear diary\n" * 1000)
    elif kind == "folder":
        path.mkdir()
    else:
        with duckdb.connect(str(path)) as raw:
            raw.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(NotAnArchive, match="archive"):
        Archive.open(path)
    if kind == "text":
        assert path.read_text() == "dear diary\n" * 1000


def test_a_log_without_its_archive_is_not_replayed_into_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb.wal").write_bytes(b"what was not written yet")
    with pytest.raises(ArchiveError, match=r"left over.*move it away"):
        Archive.open(tmp_path / "a.duckdb")


def test_a_locked_archive_names_the_process_and_its_command(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with another_process(HOLD, path) as holder:
        with pytest.raises(ArchiveLocked) as caught:
            Archive.open(path, patience=0.1)
        assert caught.value.pid == holder.pid
        for word in (str(holder.pid), "archive.storage.store", "archive=OTHER.duckdb", "kill -INT"):
            assert word in str(caught.value)


def test_opening_twice_in_a_process_is_refused_and_does_not_break_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        with pytest.raises(ArchiveLocked, match="in this process already"):
            Archive.open(path, patience=0)
        code = "import sys, duckdb\ntry: duckdb.connect(sys.argv[1])\nexcept duckdb.IOException: print('locked')"
        tried = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert tried.stdout == "locked\n"
        archive.start_run(a_run())


def test_opening_waits_for_a_reader_that_is_about_to_finish(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Archive.open(path).close()
    with another_process(LOOK, path):
        with pytest.raises(ArchiveLocked):
            Archive.open(path, patience=0)
        Archive.open(path, patience=30).close()


def test_a_closed_archive_says_so(tmp_path: Path) -> None:
    archive = Archive.open(tmp_path / "a.duckdb")
    archive.close()
    archive.close()
    for use in (lambda: archive.start_run(a_run()), archive.runs):
        with pytest.raises(ArchiveError, match="is closed"):
            use()


def test_the_settings_keep_sql_inside_the_archive(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    secret = [1, 2, 3]
    for sql in (f"SELECT * FROM '{tmp_path}/secret.csv'", "SELECT * FROM secret", "SET threads = 9", "INSTALL httpfs"):
        with pytest.raises(duckdb.Error):
            archive.query(sql)
    assert archive.query("SELECT current_setting('TimeZone'), current_setting('threads')") == [("UTC", 1)]
    assert secret


# ---------------------------------------------------------------- what is kept


def test_everything_written_is_read_back(archive: Archive) -> None:
    diary = Diary(archive)
    root = diary.child(operator="seed", text="A = 1\n", idea="the seed program")
    kept = diary.record(scored(request_for(root, 1), 3.25, curve=a_curve(5), log="a long log"))
    crash = diary.record(failed(request_for(root, 2), "out_of_memory", curve=a_curve(2)))
    call = a_call()
    archive.record_call(call)
    detail = {"low": 0.1, "scores": [1.0, 2.0]}
    decision = Decision("night", "champion", root.node_id, "why", detail, START, "improvement")
    archive.decide(decision)
    archive.note(Event("night", "lost", "a message", START, root.node_id))
    again = archive.tree(diary.run, HERE).evaluations[root.node_id]
    assert again == [kept, crash]
    assert [tuple(e.curve) for e in again] == [a_curve(5), a_curve(2)]
    assert (kept.log, crash.log) == ("", "Traceback: boom\n")  # the log of a scored one stays in the file
    assert archive.query("SELECT log FROM evaluations WHERE outcome = 'scored'") == [("a long log",)]
    assert archive.answer("night", 1, 0) == call
    assert archive.decisions("night") == (decision,)
    assert archive.last_verdict("night") == decision
    assert archive.query("SELECT kind, message, node_id FROM events") == [("lost", "a message", root.node_id)]


def test_equal_texts_are_stored_once_also_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive)
        root = diary.child(operator="seed", text="A = 1\n")
        diary.child(root, text="A = 1\n")
    with Archive.open(path) as archive:
        archive.record_call(a_call(prompt="A = 1\n", answer="A = 2\n"))
        assert archive.query("SELECT text FROM sources ORDER BY 1") == [("A = 1\n",), ("A = 2\n",)]
        assert archive.query("SELECT count(*) FROM files") == [(2,)]


def test_texts_that_left_the_memory_are_read_again(archive: Archive) -> None:
    diary = Diary(archive)
    with archive.transaction():
        for number in range(300):
            diary.child(*diary.tree.nodes[:1], text=f"A = {number}\n" * 20)
    sources = Sources(archive.path, archive._writer, archive.query, cache_bytes=2000)
    shas = [sha for (sha,) in archive.query("SELECT sha FROM sources ORDER BY rowid")]
    for number in (*range(300), 7, 250, 3):
        assert sources.text(shas[number]) == f"A = {number}\n" * 20
    with pytest.raises(KeyError, match="no source"):
        sources.text("00" * 32)


def test_untrusted_text_and_numbers_cannot_stop_a_search(archive: Archive) -> None:
    diary = Diary(archive)
    root = diary.child(operator="seed", text="A = '\ud800'  # \x00\n", idea="\udfff\x1b[31m")
    curve = (CurvePoint(2**90, math.inf, math.nan), CurvePoint(-(2**90), 0.0, -math.inf))
    strange = Resources(1.0, {"train": math.nan}, steps=2**80)
    diary.record(
        scored(request_for(root, 1), 3.0, curve=curve, log="\ud800", resources=strange, metrics={"x": math.inf})
    )
    diary.record(failed(request_for(root, 2), log="\udc80\x00", reason="\ud800"))
    archive.record_call(a_call(prompt="\ud800", answer="\x00\udfff"))
    tree = archive.tree(diary.run, HERE)
    assert tree.nodes[0].candidate.files["train.py"] == "A = '\N{REPLACEMENT CHARACTER}'  # \x00\n"
    assert tree.nodes[0].candidate.files == root.candidate.files
    good, bad = tree.evaluations[root.node_id]
    assert [point.step for point in good.curve] == [2**63 - 1, -(2**63 - 1)]
    assert math.isnan(good.curve[0].loss)
    assert math.isnan(good.resources.phases["train"])
    assert bad.log == "\N{REPLACEMENT CHARACTER}\x00"


def test_names_and_evaluations_are_unique(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive)
        root = diary.child(operator="seed")
        archive.record(failed(request_for(root, 1), "lost"))
        archive.record(failed(request_for(root, 1), "lost"))
        archive.record(scored(request_for(root, 1), 3.0))
        archive.record(scored(request_for(root, 1, "confirm"), 3.0))
    for _ in range(2):
        with Archive.open(path) as archive:
            with pytest.raises(ValueError, match=r"'night' is in .* already"):
                archive.start_run(replace(a_run(), run_id="other"))
            with pytest.raises(ValueError, match=r"is in .* already"):
                archive.add(replace(root, run="other"))
            with pytest.raises(ValueError, match="seed 1 for screen already"):
                archive.record(failed(request_for(root, 1)))
            assert archive.query("SELECT count(*) FROM evaluations") == [(4,)]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(archive: Archive, score: float) -> None:
    root = Diary(archive).child(operator="seed")
    with pytest.raises(ValueError, match="recorded as Failed"):
        archive.record(scored(request_for(root, 1), score))
    archive.record(scored(request_for(root, 1), 3.0))  # its seed is still free


def test_calls_are_answered_and_counted_once(archive: Archive) -> None:
    assert archive.spending("night") == Spending()
    assert archive.spent("night") is None
    archive.record_call(a_call(move=3, turn=1, answer="first"))
    archive.record_call(a_call(move=4, outcome="failed", dollars=None, tokens_in=0, tokens_out=0))
    archive.record_call(a_call(move=5, outcome="refused", dollars=None, reason="no"))
    archive.record_call(a_call(run="other", dollars=9.0))
    assert archive.answer("night", 3, 0) is None
    assert archive.answer("night", 3, 1) == a_call(move=3, turn=1, answer="first")
    assert archive.answer("night", 4, 0) is None  # it failed, so nothing was paid for
    assert archive.answer("night", 5, 0) == a_call(move=5, outcome="refused", dollars=None, reason="no")
    assert archive.spending("night") == Spending(
        calls=3, tokens=30, dollars=0.25, unpriced=2, charged_tokens=30, charged_dollars=0.25
    )
    assert archive.spent("night") == 0.25


def test_seconds_used_leaves_out_the_time_between_sessions(tmp_path: Path) -> None:
    now = START
    with Archive.open(tmp_path / "a.duckdb", clock=lambda: now) as archive:
        assert archive.seconds_used("night") == 0.0
        for began, length in ((START, 100.0), (START + 5000, 30.0)):
            now = began
            archive.note(Event("night", "session", "started", now))
            now = began + length
            archive.choose(MoveRecord("night", int(began - START), Propose("tune", ()), 1))
        assert archive.seconds_used("night") == pytest.approx(130.0)


# ---------------------------------------------------------------- transactions


def test_a_transaction_is_all_or_nothing(archive: Archive) -> None:
    diary = Diary(archive)
    root = diary.child(operator="seed")
    node = Node("ab", "night", 1, 1, Candidate({"train.py": "NEW\n"}, (root.node_id,), "tune", "x"), START)

    def write() -> None:
        archive.choose(MoveRecord("night", 1, Propose("tune", (root.node_id,)), 5))
        archive.add(node)
        archive.record(scored(request_for(node, 5), 3.0, curve=a_curve(4)))

    def count() -> list[tuple[Any, ...]]:
        return archive.query(
            "SELECT (SELECT count(*) FROM moves), (SELECT count(*) FROM nodes), (SELECT count(*) FROM sources), "
            "(SELECT count(*) FROM evaluations), (SELECT count(*) FROM curves)"
        )

    def write_and_fail() -> None:
        with archive.transaction():
            write()
            raise RuntimeError("change of mind")

    with pytest.raises(RuntimeError, match="change of mind"):
        write_and_fail()
    assert count() == [(1, 1, 1, 0, 0)]
    with archive.transaction():
        write()
        assert count() == [(1, 1, 1, 0, 0)]
    assert count() == [(2, 2, 2, 1, 4)]
    assert tuple(archive.tree(diary.run, HERE).evaluations["ab"][0].curve) == a_curve(4)
    assert archive.source(archive.query("SELECT sha FROM sources WHERE text = 'NEW\n'")[0][0]) == "NEW\n"


def test_an_inner_block_that_fails_takes_back_its_own_rows_alone(archive: Archive) -> None:
    def inside() -> None:
        with archive.transaction():
            archive.note(Event("night", "inside", "", START))
            raise RuntimeError("change of mind")

    with archive.transaction():
        archive.note(Event("night", "before", "", START))
        with pytest.raises(RuntimeError, match="change of mind"):
            inside()
        archive.note(Event("night", "after", "", START))
    assert archive.query("SELECT kind FROM events ORDER BY rowid") == [("before",), ("after",)]


def test_many_threads_write_and_read(archive: Archive) -> None:
    diary, nodes = a_family(archive)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for seed in range(20):
                archive.record(scored(request_for(nodes[0], 1000 * number + seed), 3.0, curve=a_curve(2)))
                assert archive.query("SELECT count(*) FROM evaluations")[0][0] > 0
        except BaseException as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    tree = archive.tree(diary.run, HERE)
    assert tree.runs[0] == 82
    assert all(tuple(e.curve) == a_curve(2) for e in tree.evaluations[nodes[0].node_id][2:])
    assert archive.query("SELECT count(DISTINCT arrival) = count(*) FROM evaluations") == [(True,)]


class _Stubborn:
    """A connection that finds no memory for its first few transactions."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, times: int) -> None:
        self._connection, self._times = connection, times

    def execute(self, sql: str | duckdb.Statement, parameters: Any = None) -> object:
        if getattr(sql, "query", sql) == "COMMIT" and self._times:
            self._times -= 1
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block")
        return self._connection.execute(sql, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _short_of_memory(folder: Path, times: int) -> tuple[duckdb.DuckDBPyConnection, Writer]:
    raw = duckdb.connect(":memory:")
    raw.execute("ATTACH ':memory:' AS archive; USE archive; CREATE TABLE t (a INTEGER)")
    return raw, Writer(folder / "a", _Stubborn(raw, times))  # type: ignore[arg-type]


@pytest.mark.parametrize("times", [3, 99])
def test_without_memory_the_readers_are_stopped_and_the_transaction_repeated(tmp_path: Path, times: int) -> None:
    raw, writer = _short_of_memory(tmp_path, times)
    stopped = []
    with writer.reading() as reader:
        thread = threading.Thread(target=lambda: stopped.append(_is_interrupted(reader)))
        thread.start()
        time.sleep(0.1)
        with pytest.raises(ArchiveError, match="no memory") if times == 99 else nullcontext(), writer.transaction():
            writer.write("INSERT INTO t VALUES (?)", (1,))
        thread.join(10)
    assert stopped == [True]
    assert raw.execute("SELECT count(*) FROM t").fetchall() == [(1 if times == 3 else 0,)]


@pytest.mark.slow
def test_a_question_of_the_search_itself_is_not_stopped_for_the_writers_memory(tmp_path: Path) -> None:
    _, writer = _short_of_memory(tmp_path, 3)
    answers = []
    with writer.reading(ours=True) as reader:
        long = "SELECT count(*) FROM range(15000) a, range(15000) b WHERE a.range + b.range = 7"
        thread = threading.Thread(target=lambda: answers.append(reader.execute(long).fetchall()))
        thread.start()
        with writer.transaction():
            writer.write("INSERT INTO t VALUES (?)", (1,))
        thread.join(60)
    assert answers == [[(8,)]]


def _is_interrupted(cursor: duckdb.DuckDBPyConnection) -> bool:
    with suppress(duckdb.InterruptException):
        return not cursor.execute("SELECT count(*) FROM range(1000000000000)").fetchall()
    return True


def _variants(count: int) -> Iterator[str]:
    """Programs of 20 KB, each a few lines from its parent, in words that no compressor knows beforehand."""
    import random

    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(2, 9))) for _ in range(3000)]
    lines = [" ".join(rng.choices(words, k=rng.randint(2, 8))) for _ in range(600)]
    for _ in range(count):
        for _ in range(3):
            lines[rng.randrange(len(lines))] = " ".join(rng.choices(words, k=6))
        yield "\n".join(lines)


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_program_of_20_kb_takes_less_than_4_kb(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        diary = Diary(archive)
        for text in _variants(count):
            parents = diary.tree.nodes[-1:]
            diary.screened(diary.child(*parents, text=text), 3.0)
        assert len(text) > 19_000
    assert path.stat().st_size / count < 4096
    assert not Path(f"{path}.wal").exists()


# ---------------------------------------------------------------- accidents

WRITE = """
import itertools, sys
sys.path.insert(0, sys.argv[2])
from archive_sample import Diary
from archive.storage.store import Archive
with Archive.open(sys.argv[1]) as archive:
    diary = Diary(archive)
    node = diary.child(operator="seed")
    for number in itertools.count():
        node = diary.screened(diary.child(node, text=f"{number} " * 4000), 3.0)
        print(node.node_id, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kept_alive", [0.02, 0.3, 1.5])
def test_a_kill_in_the_middle_loses_no_committed_row(tmp_path: Path, kept_alive: float) -> None:
    path, said = tmp_path / "a.duckdb", tmp_path / "said"
    with said.open("w") as out:
        command = [sys.executable, "-c", WRITE, str(path), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=out, cwd=HOUSE)
        while not said.stat().st_size:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(kept_alive)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    promised = [line for line in said.read_text().split("\n")[:-1] if line]
    with Archive.open(path) as archive:
        tree = archive.tree(a_run(), HERE)
        assert set(promised) <= {node.node_id for node in tree.nodes if tree.runs[tree.index[node.node_id]]}
        assert all(node.candidate.files["train.py"] for node in tree.nodes)
        archive.record(scored(request_for(tree.nodes[0], 99), 3.0))  # and the search goes on
