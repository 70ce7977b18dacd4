"""Archives of several machines in one; and the check that everything in an archive fits together."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from archive_sample import (
    HERE,
    START,
    Diary,
    a_call,
    a_curve,
    a_family,
    a_request,
    a_run,
    failed,
    request_for,
    scored,
)

from archive.__main__ import main
from archive.errors import ArchiveError, ArchiveLocked, ArchiveMissing
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Decision, Event, Propose, Run
from archive.storage.merge import merge
from archive.storage.store import Archive

OLD = Path(__file__).with_name("data") / "schema_1.duckdb.gz"
TABLES = ("runs", "nodes", "parents", "files", "sources", "moves", "refusals", "evaluations", "curves",
          "window_scores", "trainings", "judgements", "stage_answers", "llm_requests", "llm_calls",
          "decisions", "events")  # fmt: skip


def make(path: Path, name: str = "night", run_id: str | None = None) -> Path:
    with Archive.open(path, clock=lambda: START) as archive:
        run = a_run(name)
        run = Run(**{**vars(run), "run_id": run_id or run.run_id})
        diary = Diary(archive, run)
        root = diary.screened(diary.child(operator="seed"), 3.0)
        good = diary.child(root)
        diary.record(scored(request_for(good, 5), 2.5, curve=a_curve(4)))
        diary.record(failed(request_for(root, 6), "lost"))
        diary.record(failed(request_for(root, 6), "lost", started_at=START + 1))
        diary.refuse(diary.choose(Propose("tune", (good.node_id,))))
        archive.record_request(a_request(name, request=f"of {run.run_id}"))
        archive.record_call(a_call(name))
        archive.decide(Decision(name, "leader", good.node_id, "why", {}, START))
        archive.note(Event(name, "note", "hello", START))
    return path


def counts(path: Path) -> dict[str, int]:
    counted = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in TABLES)
    return dict(open_reader(path).query(counted).rows)


def sound(path: Path) -> bool:
    return not verify(open_reader(path)).rows


@pytest.mark.slow
def test_runs_of_several_machines_come_together_once(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb"), make(tmp_path / "b.duckdb", "day")
    target = tmp_path / "all.duckdb"
    lines = list(map(str, merge(target, [a, b])))
    assert lines == [
        "a.duckdb: night: 2 new nodes, 4 new evaluations", "b.duckdb: day: 2 new nodes, 4 new evaluations",
    ]  # fmt: skip
    first, second, both = counts(a), counts(b), counts(target)
    assert both == {table: first[table] + second[table] for table in TABLES} | {"sources": first["sources"]}
    assert sound(target)
    assert "the rest was here" in str(list(merge(target, [a, b, a]))[2])
    assert counts(target) == both
    with Archive.open(a) as old, Archive.open(target) as new:
        assert [n.node_id for n in new.tree(a_run(), HERE).nodes] == [n.node_id for n in old.tree(a_run(), HERE).nodes]
        assert list(new.tree(a_run(), HERE).means) == list(old.tree(a_run(), HERE).means)
        (evaluation,) = [e for es in new.tree(a_run("day"), HERE).evaluations.values() for e in es if len(e.curve)]
        assert tuple(evaluation.curve) == a_curve(4)


@pytest.mark.slow
def test_a_run_of_the_same_name_but_another_id_gets_a_name_of_its_own(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb"), make(tmp_path / "b.duckdb", run_id="feedbeef")
    assert list(map(str, merge(a, [b]))) == ["b.duckdb: night (here night@feedbe): 2 new nodes, 4 new evaluations"]
    assert open_reader(a).query("SELECT run, nodes FROM run_summary ORDER BY run").rows == [
        ("night", 2),
        ("night@feedbe", 2),
    ]
    assert sound(a)
    before = counts(a)
    assert list(merge(a, [b]))
    assert counts(a) == before


@pytest.mark.slow
def test_a_run_that_has_gone_on_brings_what_is_new(tmp_path: Path) -> None:
    a = make(tmp_path / "a.duckdb")
    target = make(tmp_path / "all.duckdb", "day")  # so that what comes has other places in the order of arrival here
    list(merge(target, [a]))
    with Archive.open(a) as archive:
        diary = object.__new__(Diary)
        diary.archive, diary.run, diary.tree = archive, a_run(), archive.tree(a_run(), HERE)
        diary.screened(diary.child(diary.tree.nodes[1]), 2.25)
        expected = [n.node_id for n in diary.tree.nodes]
    assert list(map(str, merge(target, [a]))) == ["a.duckdb: night: 1 new nodes, 1 new evaluations, the rest was here"]
    assert sound(target)
    with Archive.open(target) as archive:
        tree = archive.tree(a_run(), HERE)
        assert [n.node_id for n in tree.nodes] == expected
        assert tree.leader() == expected[-1]
        order = "SELECT node_id FROM nodes WHERE run = 'night' ORDER BY arrival"
        assert [node_id for (node_id,) in archive.query(order)] == expected
    assert any("0 new nodes, 0 new evaluations" in str(each) for each in merge(a, [target]))
    assert sound(a)


@pytest.mark.slow
def test_two_copies_that_trained_different_nodes_come_together(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb"), tmp_path / "b.duckdb"
    shutil.copy(a, b)
    for place, path in enumerate((a, b)):
        with Archive.open(path) as archive:
            node = archive.tree(a_run(), HERE).nodes[place]
            archive.record(scored(request_for(node, 70 + place), 2.0))
    assert list(map(str, merge(a, [b]))) == ["b.duckdb: night: 0 new nodes, 1 new evaluations, the rest was here"]
    assert sound(a)  # each has its own place in the order of arrival


def test_a_run_that_went_on_separately_is_refused_as_a_whole(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a.duckdb"), tmp_path / "b.duckdb"
    shutil.copy(a, b)
    for path, operator in ((a, "tune"), (b, "improve")):
        with Archive.open(path) as archive:
            diary = object.__new__(Diary)
            diary.archive, diary.run, diary.tree = archive, a_run(), archive.tree(a_run(), HERE)
            diary.child(diary.tree.nodes[0], operator=operator)
    before = counts(a)
    with pytest.raises(ArchiveError, match="was continued in both archives"):
        list(merge(a, [b]))
    assert counts(a) == before


@pytest.mark.slow
def test_an_older_file_is_merged_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.duckdb"
    old.write_bytes(gzip.decompress(OLD.read_bytes()))
    content = old.read_bytes()
    target = tmp_path / "new.duckdb"
    assert len(list(merge(target, [old]))) == 2
    assert old.read_bytes() == content
    assert counts(target) == counts(old)
    assert sound(target)


@pytest.mark.slow
def test_merge_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = make(tmp_path / "a.duckdb")
    with pytest.raises(ArchiveMissing, match="nothing was merged"):
        list(merge(tmp_path / "new.duckdb", [tmp_path / "no.duckdb"]))
    with pytest.raises(ArchiveError, match="with itself"):
        list(merge(a, [a]))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ArchiveError, match="not a Treewright archive"):
        list(merge(a, [tmp_path / "text"]))
    with Archive.open(a), pytest.raises(ArchiveLocked):
        list(merge(a, [make(tmp_path / "b.duckdb", "day")]))
    assert main(["merge", str(tmp_path / "b.duckdb"), "--archive", str(a)]) == 0
    assert "day: 2 new nodes" in capsys.readouterr().out


# ---------------------------------------------------------------- check

DAMAGE: list[tuple[str, str]] = [
    (
        "UPDATE sources SET text = 'another' WHERE sha = (SELECT min(sha) FROM files)",
        "source whose text has another hash",
    ),
    ("INSERT INTO sources FROM sources LIMIT 1", "source stored twice"),
    ("INSERT INTO sources VALUES (sha256('x'), 'x')", "source that nothing names"),
    ("DELETE FROM sources WHERE sha = (SELECT min(sha) FROM files)", "file without its source"),
    (
        "DELETE FROM sources WHERE sha = (SELECT prompt_sha FROM llm_calls)",
        "call without its prompt, answer or templates",
    ),
    ("DELETE FROM runs", "node of an unknown run"),
    ("DELETE FROM files WHERE node_id = (SELECT node_id FROM nodes WHERE number = 1)", "node without files"),
    ("INSERT INTO nodes FROM nodes WHERE number = 1", "node stored twice"),
    ("DELETE FROM parents", "node without a parent"),
    ("DELETE FROM nodes WHERE number = 1", "evaluation of an unknown node"),
    ("DELETE FROM nodes WHERE number = 0", "parent link to an unknown node"),
    ("UPDATE nodes SET number = 9 WHERE number = 0", "parent that is no elder of the same run"),
    ("DELETE FROM moves WHERE move = 1", "node without its move"),
    ("DELETE FROM moves WHERE move = 2", "refusal without its move"),
    ("INSERT INTO evaluations FROM evaluations WHERE outcome = 'scored' LIMIT 1", "evaluation stored twice"),
    ("UPDATE evaluations SET score = 'nan' WHERE outcome = 'scored'", "evaluation scored without a finite score"),
    ("UPDATE evaluations SET score = 1 WHERE outcome = 'lost'", "failed evaluation with a score"),
    ("DELETE FROM evaluations WHERE seed = 5", "curve without its evaluation"),
    ("UPDATE events SET run = 'x'", "event of an unknown run"),
    ("UPDATE decisions SET node_id = 'x'", "decision about an unknown node"),
    ("UPDATE moves SET arrival = 2", "place in the order of arrival used twice"),
]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("check") / "a.duckdb")


@pytest.mark.slow
@pytest.mark.parametrize(("statement", "wrong"), DAMAGE, ids=[wrong for _, wrong in DAMAGE])
def test_check_finds_the_damage(healthy: Path, tmp_path: Path, statement: str, wrong: str) -> None:
    path = tmp_path / "a.duckdb"
    shutil.copy(healthy, path)
    with duckdb.connect(str(path)) as raw:
        raw.execute(statement)
    assert wrong in {row[0] for row in verify(open_reader(path)).rows}


@pytest.mark.slow
def test_check_has_an_exit_status(healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def status(*words: Any) -> int:
        return main(["check", "--archive", *map(str, words)])

    assert status(healthy) == 0
    assert "everything fits together" in capsys.readouterr().out
    path = tmp_path / "a.duckdb"
    shutil.copy(healthy, path)
    with duckdb.connect(str(path)) as raw:
        raw.execute("DELETE FROM parents")
    assert status(path) == 1
    assert "node without a parent" in capsys.readouterr().out
    with Archive.open(tmp_path / "family.duckdb") as archive:
        a_family(archive)
    assert status(tmp_path / "family.duckdb") == 0
