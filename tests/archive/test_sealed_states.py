"""Sealed trainings in an archive: the state is a file beside it, what was measured and the file's hash are a row."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from archive_sample import HERE, Diary, a_curve, a_run, answered, request_for, trained

from archive.errors import ArchiveError
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import CurvePoint, Replicate, Request, Trained
from archive.storage.merge import merge
from archive.storage.store import Archive

STATE = bytes(range(256)) * 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def a_request(archive: Archive, run: str = "night") -> Request:
    """The first move of a claim on the root of a new run."""
    diary = Diary(archive, a_run(run))
    root = diary.screened(diary.child(operator="seed"), 3.0)
    record = diary.choose(Replicate(root.node_id, "report"))
    return request_for(root, record.seed, "report", record.number)


def files(path: Path) -> list[Path]:
    return sorted(Path(f"{path}.states").glob("*"))


def test_a_sealed_training_comes_back_as_it_was_in_another_session(path: Path) -> None:
    log = "a line\n\x00\x1b[2J \ud800 of anything"
    curve = (*a_curve(3), CurvePoint(2**60, 4.0, math.inf))
    with Archive.open(path) as archive:
        request = a_request(archive)
        archive.seal(trained(request, STATE, log=log, curve=curve))
    with Archive.open(path) as archive:
        assert archive.sealed(request) == trained(request, STATE, log=log.replace("\ud800", "�"), curve=curve)
        tree = archive.tree(a_run(), HERE)
        assert (tree.trained, tree.judging) == ({request.move}, set())
        archive.begin_judgement(request.run, request.move)
        assert archive.tree(a_run(), HERE).judging == {request.move}
        for stage in range(2):
            archive.keep_answers(answered(request, stage))
        assert archive.tree(a_run(), HERE).answered == {request.move: 2}
        again = archive.sealed(request)
        assert again is not None
        assert again.answers == (answered(request, 0).answers, answered(request, 1).answers)
    assert not verify(open_reader(path)).rows


def test_text_is_shown_by_any_claim_but_the_present_one(path: Path) -> None:
    with Archive.open(path) as archive:
        first, second = a_request(archive), a_request(archive, "other")
        for request in (first, second):
            archive.seal(trained(request, STATE))
            assert not archive.text_shown("report", request.run, request.move), "nothing was judged yet"
        archive.begin_judgement(first.run, first.move)
        assert not archive.text_shown("report", first.run, first.move)
        assert archive.text_shown("report", first.run, first.move + 1), "to a later claim of the run"
        assert archive.text_shown("report", second.run, second.move)
        assert not archive.text_shown("confirm", second.run, second.move), "another split"


def test_nobody_else_can_read_the_states(path: Path) -> None:
    with Archive.open(path) as archive:
        archive.seal(trained(a_request(archive), STATE))
    (file,) = files(path)
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.parametrize("content", [None, b"", STATE[:-1], STATE + b"x", b"x" + STATE[1:]])
def test_a_state_that_is_not_as_it_was_is_not_used(path: Path, content: bytes | None) -> None:
    with Archive.open(path) as archive:
        request = a_request(archive)
        archive.seal(trained(request, STATE))
        (file,) = files(path)
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        assert archive.sealed(request) is None
        file.write_bytes(STATE)
        assert archive.sealed(request) == trained(request, STATE)
        assert archive.sealed(replace(request, move=99)) is None


def test_states_are_removed_by_run_and_move(path: Path) -> None:
    """Run names are anything; the files of one run are not those of another."""
    with Archive.open(path) as archive:
        first, second = a_request(archive, "../a b"), a_request(archive, "../a b-1")
        for request in (first, replace(first, move=99), second):
            archive.seal(trained(request, STATE))
        assert len(files(path)) == 3
        archive.drop_states(first.run, kept={first.move})
        assert archive.sealed(first) is not None
        assert len(files(path)) == 2
        archive.drop_states(first.run)
        assert (archive.sealed(first), archive.sealed(second)) == (None, trained(second, STATE))
        archive.drop_states(second.run)
        archive.drop_states("no such run")
    assert list(path.parent.iterdir()) == [path], "the folder is gone with its last file"


def test_a_state_that_cannot_be_written_says_what_to_do(path: Path) -> None:
    with Archive.open(path) as archive:
        request = a_request(archive)
        Path(f"{path}.states").write_text("in the way")
        with pytest.raises(ArchiveError, match=r"cannot keep the state of a training .*resume the search"):
            archive.seal(trained(request, STATE))
        assert archive.query("SELECT count(*) FROM trainings") == [(0,)]


def test_an_archive_in_memory_keeps_states_too() -> None:
    with Archive.in_memory() as archive:
        request = a_request(archive)
        archive.seal(trained(request, STATE))
        assert isinstance(archive.sealed(request), Trained)
        folder = archive._states._folder
    assert not folder.exists()


def test_merged_archives_have_the_rows_and_not_the_files(tmp_path: Path) -> None:
    """There the training is made again, or left out: its state is where it was made."""
    with Archive.open(tmp_path / "b.duckdb") as archive:
        request = a_request(archive)
        archive.seal(trained(request, STATE))
        archive.begin_judgement(request.run, request.move)
        archive.keep_answers(answered(request, 0))
    list(merge(tmp_path / "a.duckdb", [tmp_path / "b.duckdb"]))
    with Archive.open(tmp_path / "a.duckdb") as archive:
        tree = archive.tree(a_run(), HERE)
        assert (tree.trained, tree.judging, tree.answered) == ({request.move}, {request.move}, {request.move: 1})
        assert archive.sealed(request) is None
    assert not verify(open_reader(tmp_path / "a.duckdb")).rows
