"""The kind of change that was asked for, and the templates behind a prompt: kept, read back, counted by SQL."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from archive_sample import HERE, Diary, a_call, a_run

from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Node, Propose, node_id_for, sha256
from archive.storage.store import Archive


def test_an_aim_and_a_template_are_kept_and_read_back(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive)
        root = diary.screened(diary.child(), 3.0)
        child = _child(diary, root, "schedule")
        archive.record_call(a_call(move=child.move, aim="schedule", template="the templates"))
        archive.record_call(a_call(move=child.move, turn=1, aim="schedule", template="the templates"))
        archive.record_call(a_call(move=7))
        found = archive.query("SELECT aim, template_sha FROM llm_calls ORDER BY turn DESC, move")
        assert found == [("schedule", sha256("the templates"))] * 2 + [(None, None)]
        assert archive.query("SELECT count(*) FROM sources WHERE text = 'the templates'") == [(1,)]
        call = archive.answer("night", child.move, 1)
        assert call is not None
        assert call.aim == "schedule"
        tree = archive.tree(a_run(), HERE)
        assert [node.candidate.aim for node in tree.nodes] == [None, "schedule"]
    wrong = {row[0] for row in verify(open_reader(tmp_path / "a.duckdb")).rows}
    assert "source that nothing names" not in wrong
    assert "call without its prompt, answer or templates" not in wrong


def test_kinds_counts_what_was_trained_and_what_gained(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        diary = Diary(archive)
        root = diary.screened(diary.child(), 3.0)
        for aim, score in (("schedule", 2.9), ("schedule", 3.1), ("schedule", None), ("numerics", 2.5), (None, 2.8)):
            diary.screened(_child(diary, root, aim), score)
        _child(diary, root, "speed")  # not trained yet
        found = archive.query(
            "SELECT aim, tried, scored, failed, improved, round(best_gain, 6) FROM change_kind_stats "
            "WHERE operator = 'improve'"
        )
    assert sorted(found, key=str) == [
        ("numerics", 1, 1, 0, 1, 0.5), ("schedule", 3, 2, 1, 1, 0.1), (None, 1, 1, 0, 1, 0.2),
    ]  # fmt: skip


def _child(diary: Diary, parent: Node, aim: str | None) -> Node:
    record = diary.choose(Propose("improve", (parent.node_id,)))
    number = len(diary.tree)
    candidate = replace(
        parent.candidate, files={"train.py": f"X = {number}\n"}, parents=(parent.node_id,), operator="improve", aim=aim
    )
    node = diary.archive.add(
        Node(node_id_for(diary.run.run_id, number), diary.run.run, number, record.number, candidate, 0.0)
    )
    diary.tree.add(node)
    return node
