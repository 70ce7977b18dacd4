"""Damaged, torn and copied archives: nothing finished is lost without a word, and no archive is overwritten."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_sample import HERE, Diary, a_curve, request_for, scored

from archive.__main__ import main
from archive.errors import ArchiveDamaged, ArchiveError, ForeignLog
from archive.query.query import open_reader
from archive.query.verify import verify
from archive.storage import wal
from archive.storage.backup import copied
from archive.storage.checkpoints import Checkpoints
from archive.storage.store import Archive

NODES = 12


def write(archive: Archive, nodes: int = NODES, later: Callable[[], object] = lambda: None) -> None:
    """Record a run; ``later`` is called in the middle of it."""
    diary = Diary(archive)
    root = diary.screened(diary.child(), 3.0)
    for number in range(1, nodes):
        if number == nodes // 2:
            later()
        child = diary.child(root, text=f"x = {number}\n" * 40)
        archive.record(scored(request_for(child, number), 3.0 - 0.01 * number, curve=a_curve(9)))


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """What a kill leaves: all rows are in the log."""
    with Archive.open(tmp_path / "live.duckdb") as archive:
        write(archive)
        for suffix in ("", ".wal"):
            shutil.copy(tmp_path / f"live.duckdb{suffix}", tmp_path / f"killed.duckdb{suffix}")
    return tmp_path / "killed.duckdb"


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    with Archive.open(tmp_path / "closed.duckdb") as archive:
        write(archive)
    return tmp_path / "closed.duckdb"


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def scores(path: Path) -> int:
    return int(open_reader(path).query("SELECT count(*) FROM evaluations").rows[0][0])


# ---------------------------------------------------------------- the log


@pytest.mark.slow
def test_every_changed_byte_of_a_log_is_seen_and_no_cut_is_taken_for_one(killed: Path) -> None:
    data = log_of(killed).read_bytes()
    assert wal.examine(data) == wal.Log(len(data), len(data), None)
    places = [*range(60), *range(60, len(data), 61), *range(len(data) - 60, len(data))]
    for place in places:
        changed = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
        assert wal.examine(changed).damaged_at is not None, f"byte {place} of {len(data)}"
    assert all(wal.examine(data[:size]).damaged_at is None for size in places), "a torn end is no damage"


@pytest.mark.slow
@pytest.mark.parametrize("place", [9, 12, 300, 2000, -30, -20, -1], ids=lambda place: f"byte {place}")
def test_a_damaged_log_is_refused_and_kept(killed: Path, place: int) -> None:
    log, file = log_of(killed), killed.read_bytes()
    flip(log, place)
    damaged = log.read_bytes()
    for use in (Archive.open, scores):
        with pytest.raises(ArchiveDamaged, match=r"the log .*killed\.duckdb\.wal is damaged at byte .*archive repair"):
            use(killed)
    assert main(["check", "--archive", str(killed)]) == 1
    assert main(["backup", str(killed.with_name("b.duckdb")), "--archive", str(killed)]) == 1
    assert not killed.with_name("b.duckdb").exists()
    assert (log.read_bytes(), killed.read_bytes()) == (damaged, file)


def test_a_repair_keeps_what_is_readable_and_the_damaged_log(killed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(log_of(killed), log_of(killed).stat().st_size * 2 // 3)
    damaged = log_of(killed).read_bytes()
    assert main(["repair", "--archive", str(killed)]) == 0
    assert "the damaged log is kept as" in capsys.readouterr().out
    assert killed.with_name("killed.duckdb.wal.damaged-1").read_bytes() == damaged
    assert NODES // 2 <= scores(killed) < NODES
    assert not verify(open_reader(killed)).rows
    assert main(["repair", "--archive", str(killed)]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_a_repair_of_the_log_s_first_bytes_loses_nothing(killed: Path) -> None:
    flip(log_of(killed), 5)
    assert main(["repair", "--archive", str(killed)]) == 0
    assert scores(killed) == NODES


@pytest.mark.slow
def test_a_torn_end_loses_only_what_was_not_committed(killed: Path) -> None:
    data = log_of(killed).read_bytes()
    for cut in (3, 40, len(data) // 2):
        for path in (killed, log_of(killed)):
            shutil.copy(path, path.with_name(path.name.replace("killed", "torn")))
        torn = killed.with_name("torn.duckdb")
        log_of(torn).write_bytes(data[:-cut])
        with Archive.open(torn) as archive:
            found = int(archive.query("SELECT count(*) FROM evaluations")[0][0])
        assert found == NODES - 1 if cut < 100 else found < NODES
        assert not verify(open_reader(torn)).rows


@pytest.mark.slow
def test_a_log_of_another_state_of_the_file_is_refused_and_kept(tmp_path: Path) -> None:
    """DuckDB would replay it: copies of file and log on both sides of a checkpoint double rows, or leave some out."""
    live, copies = tmp_path / "live.duckdb", {}
    with Archive.open(live) as archive:

        def later() -> None:
            copies["before"] = live.read_bytes(), log_of(live).read_bytes()
            archive.checkpoint()

        write(archive, 6, later)
        copies["after"] = live.read_bytes(), log_of(live).read_bytes()
    for file, log, words in (("after", "before", "stored twice"), ("before", "after", "moves are missing")):
        mixed = tmp_path / file / "mixed.duckdb"
        mixed.parent.mkdir()
        mixed.write_bytes(copies[file][0])
        log_of(mixed).write_bytes(copies[log][1])
        for use in (Archive.open, scores):
            with pytest.raises(ForeignLog, match=words):
                use(mixed)
        assert (mixed.read_bytes(), log_of(mixed).read_bytes()) == (copies[file][0], copies[log][1])
        with pytest.raises(ForeignLog, match=r"mixed\.duckdb\.wal"), copied(mixed, tmp_path / "backup.duckdb"):
            pass
        assert main(["repair", "--archive", str(mixed)]) == 0
        assert log_of(mixed).with_name("mixed.duckdb.wal.damaged-1").read_bytes() == copies[log][1]
        assert not verify(open_reader(mixed)).rows


@pytest.mark.parametrize("name", ["a?b.duckdb", "what?/x.duckdb", "a\\b.duckdb", "n" * 300, "n" * 250, "\udcff.duckdb"])
def test_a_name_that_duckdb_reads_otherwise_is_refused(closed: Path, name: str) -> None:
    """Behind ``?`` it looks for options, so that the log of each file in such a folder had one name."""
    for use in (Archive.open, scores):
        with pytest.raises(ArchiveError, match="is no name of an archive"):
            use(closed.parent / name)
    assert main(["runs", "--archive", str(closed.parent / name)]) == 1


def test_odd_names_are_names(closed: Path) -> None:
    for name in ("a b'c\";%s.duckdb", "#x", "[a]*{b}.duckdb", "$HOME~", "é李", "n" * 240):
        shutil.copy(closed, closed.parent / name)
        assert scores(closed.parent / name) == NODES


def test_a_log_without_its_file_is_no_new_archive(killed: Path) -> None:
    killed.unlink()
    with pytest.raises(ArchiveError, match=r"killed\.duckdb\.wal is left over"):
        Archive.open(killed)
    assert log_of(killed).stat().st_size > 0


# ---------------------------------------------------------------- the file


def everything(path: Path) -> None:
    with Archive.open(path) as archive:
        run = archive.run("night")
        assert run is not None
        tree = archive.tree(run, HERE)
        assert all(dict(node.candidate.files) for node in tree.nodes)
        assert all(list(e.curve) is not None for evaluations in tree.evaluations.values() for e in evaluations)


def questions(path: Path) -> None:
    reader = open_reader(path)
    verify(reader)
    reader.query("FROM leaderboard")
    reader.query("SELECT sum(loss) FROM curves")


@pytest.mark.slow
@pytest.mark.parametrize("step", [31_013, pytest.param(7919, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("use", [everything, questions])
def test_a_changed_byte_of_the_file_is_said(closed: Path, use: Callable[[Path], None], step: int) -> None:
    data, seen = closed.read_bytes(), 0
    for place in range(5000, len(data), step):
        closed.write_bytes(data)
        flip(closed, place)
        try:
            use(closed)
        except ArchiveDamaged as error:
            seen += "bytes on the disk are not those that were written" in str(error)
    assert seen >= 3, "most blocks hold something"


@pytest.mark.parametrize("size", [200, 6000, 100_000])
def test_the_start_of_a_file_is_said_to_be_damaged(closed: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    closed.write_bytes(closed.read_bytes()[:size])
    assert main(["summary", "--archive", str(closed)]) == 1
    assert "is damaged" in capsys.readouterr().err


# ---------------------------------------------------------------- copies


def test_rows_are_in_the_file_a_while_after_their_commit(tmp_path: Path) -> None:
    """The checkpoint's thread is awaited by its effect: the log is empty or gone."""
    path = tmp_path / "live.duckdb"
    with Archive.open(path, checkpoint_seconds=0.01) as archive:
        write(archive)
        while log_of(path).exists() and log_of(path).stat().st_size:
            time.sleep(0.005)
        shutil.copy(path, tmp_path / "copy.duckdb")
        write_more = archive.query("SELECT count(*) FROM evaluations")
        assert scores(tmp_path / "copy.duckdb") == NODES == write_more[0][0]


def test_without_a_checkpoint_a_copy_of_the_file_is_said_to_be_suspicious(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Archive.open(tmp_path / "live.duckdb") as archive:
        write(archive)
        shutil.copy(tmp_path / "live.duckdb", tmp_path / "copy.duckdb")
    assert main(["check", "--archive", str(tmp_path / "copy.duckdb")]) == 1
    assert "no run, as in a copy of the file alone while its search ran" in capsys.readouterr().out


def test_a_run_without_evaluations_is_said_to_be_suspicious(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        Diary(archive)
    assert main(["check", "--archive", str(tmp_path / "a.duckdb")]) == 1
    assert "run without an evaluation" in capsys.readouterr().out


def test_an_unfinished_run_is_said_to_be_one(closed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--archive", str(closed)]) == 0
    said = capsys.readouterr()
    assert "everything fits together" in said.out
    assert f"run night has not come to its end: {NODES} evaluations" in said.err


def test_a_backup_of_an_open_archive_holds_every_commit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "new" / "copy.duckdb"
    with Archive.open(tmp_path / "live.duckdb") as archive:
        write(archive)
        assert main(["backup", str(copy), "--archive", str(tmp_path / "live.duckdb")]) == 0
    assert f"1 run, {NODES} evaluations" in capsys.readouterr().out
    assert scores(copy) == NODES
    assert [path.name for path in copy.parent.iterdir()] == ["copy.duckdb"]


def test_a_backup_that_a_checkpoint_disturbs_is_made_again(tmp_path: Path) -> None:
    """Each of the first three copies is disturbed: more rows are written, and a checkpoint moves them into the file."""
    copies, real = [], shutil.copyfile

    with Archive.open(tmp_path / "live.duckdb") as archive, pytest.MonkeyPatch.context() as patch:
        write(archive)

        def disturbed(source: Path, target: Path) -> None:
            real(source, target)
            copies.append(target)
            if len(copies) <= 3:
                archive.secret(f"{len(copies)}")
                archive.checkpoint()

        patch.setattr(shutil, "copyfile", disturbed)
        with copied(archive.path, tmp_path / "copy.duckdb", pause=lambda seconds: None):
            pass
    assert len(copies) > 3
    assert open_reader(tmp_path / "copy.duckdb").query("SELECT count(*) FROM secrets").rows == [(3,)]
    assert scores(tmp_path / "copy.duckdb") == NODES


def test_a_backup_of_an_archive_that_never_rests_is_given_up(tmp_path: Path) -> None:
    pauses: list[float] = []
    with Archive.open(tmp_path / "live.duckdb") as archive, pytest.MonkeyPatch.context() as patch:
        write(archive)
        patch.setattr("archive.storage.backup._state", lambda path: object())
        with (
            pytest.raises(ArchiveError, match="changed while it was copied"),
            copied(archive.path, tmp_path / "copy.duckdb", pause=pauses.append),
        ):
            pass
    assert pauses == sorted(pauses)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["live.duckdb"]


def test_a_checkpoint_that_was_not_possible_is_tried_again() -> None:
    results, done = iter([False, False, True]), threading.Event()

    def checkpoint() -> bool:
        if found := next(results):
            done.set()
        return found

    checkpoints = Checkpoints(checkpoint, seconds=0.001)
    checkpoints.committed()
    assert done.wait(60)
    checkpoints.close()
    assert next(results, None) is None
    Checkpoints(checkpoint, seconds=60).close()


# ---------------------------------------------------------------- paths that are written to


@pytest.mark.slow
@pytest.mark.parametrize("command", ["report --out {}", "runs --parquet {}", "backup {}"])
def test_no_command_writes_over_an_archive(
    closed: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = closed.parent
    monkeypatch.chdir(folder)
    (folder / "link.html").symlink_to(closed)
    (folder / "chain").symlink_to("link.html")
    os.link(closed, folder / "hard.parquet")
    shutil.copy(closed, folder / "other.bin")
    (folder / "sub").mkdir()
    before = closed.read_bytes()
    spellings = [
        closed, "closed.duckdb", "./sub/../closed.duckdb", "link.html", "chain", "hard.parquet", "other.bin",
        "closed.duckdb.wal", "link.html.wal", "sub/../closed.duckdb.wal.checkpoint",
    ]  # fmt: skip
    for spelling in spellings:
        words = command.format(spelling).split()
        assert main([*words, "--archive", str(closed)]) == 1, spelling
        assert "would be overwritten; nothing was written" in capsys.readouterr().err, spelling
    assert closed.read_bytes() == before == (folder / "other.bin").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "chain", "closed.duckdb", "hard.parquet", "link.html", "other.bin", "sub",
    ]  # fmt: skip


def test_no_command_writes_over_the_archive_of_a_running_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "live.duckdb"
    with Archive.open(path) as archive:
        write(archive)
        log = log_of(path).read_bytes()
        for target in (path, log_of(path)):
            assert main(["backup", str(target), "--archive", str(path)]) == 1
        assert log_of(path).read_bytes() == log
    assert "is the log of the archive" in capsys.readouterr().err
    assert scores(path) == NODES


@pytest.mark.slow
def test_plots_do_not_follow_a_link_to_an_archive(closed: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plots, before = tmp_path / "plots", closed.read_bytes()
    plots.mkdir()
    (plots / "tree.png").symlink_to(closed)
    words = ["report", "--out", str(tmp_path / "r.html"), "--plots", str(plots), "--archive", str(closed)]
    assert main(words) == 1
    assert closed.read_bytes() == before


@pytest.mark.slow
def test_other_files_are_replaced(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("not a DUCK")
    assert main(["report", "--out", str(tmp_path / "page.html"), "--archive", str(closed)]) == 0
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html")
