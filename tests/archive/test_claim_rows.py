"""What an archive keeps for claims: the secret of their positions, and scores by window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from archive_sample import HERE, Diary, a_run, request_for, scored

from archive.query.query import open_reader
from archive.query.verify import verify
from archive.records import Replicate, WindowScores
from archive.storage.merge import merge
from archive.storage.store import Archive


def test_the_secret_of_an_archive_is_its_own_and_stays(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        secret = archive.secret("positions")
        assert (len(secret), archive.secret("positions")) == (32, secret)
    with Archive.open(tmp_path / "a.duckdb") as archive:
        assert archive.secret("positions") == secret
    with Archive.open(tmp_path / "b.duckdb") as archive:
        assert archive.secret("positions") != secret


def test_scores_by_window_come_back_with_their_evaluation(tmp_path: Path) -> None:
    archive = Archive.open(tmp_path / "a.duckdb")
    diary = Diary(archive, a_run())
    root = diary.screened(diary.child(operator="seed"), 3.0)
    windows = WindowScores.of("set-1", np.array([3.0, 2.25, 0.5]))
    diary.record(scored(request_for(root, 5, "report"), 1.9, windows=windows))
    screened, reported = archive.tree(a_run(), HERE).evaluations[root.node_id]
    assert (screened.windows, reported.windows) == (None, windows)
    assert reported.windows.scores.tolist() == [3.0, 2.25, 0.5]
    archive.close()
    assert not verify(open_reader(tmp_path / "a.duckdb")).rows


def test_each_archive_keeps_its_own_secret(tmp_path: Path) -> None:
    """Scores by window keep the name of their positions, so that those of two archives are not mixed up."""
    secrets = []
    for name in ("a", "b"):
        with Archive.open(tmp_path / f"{name}.duckdb") as archive:
            diary = Diary(archive, a_run(name))
            root = diary.screened(diary.child(operator="seed"), 3.0)
            windows = WindowScores.of(f"set-{name}", np.array([2.0, 3.0]))
            diary.record(scored(request_for(root, 7, "report"), 2.5, windows=windows))
            secrets.append(archive.secret("positions"))
    list(merge(tmp_path / "a.duckdb", [tmp_path / "b.duckdb"]))
    with Archive.open(tmp_path / "a.duckdb") as archive:
        assert archive.secret("positions") == secrets[0]
        assert archive.query("SELECT position_set FROM window_scores ORDER BY ALL") == [("set-a",), ("set-b",)]
        assert archive.query("SELECT count(*) FROM secrets") == [(1,)]


def test_runs_of_one_sweep_do_not_count_against_each_other() -> None:
    """They are compared: claims of one level and one size. A run outside of the sweep counts all of them."""
    with Archive.in_memory(clock=lambda: 0.0) as archive:
        for name, sweep in (("one", "s"), ("two", "s"), ("alone", None)):
            diary = Diary(archive, replace(a_run(name), config={"sweep": {"id": sweep}} if sweep else {}))
            root = diary.screened(diary.child(operator="seed"), 3.0)
            move = diary.choose(Replicate(root.node_id, "report")).number
            diary.record(scored(request_for(root, 5, "report", move), 3.0))
        counted = {name: archive.claims_elsewhere(name, HERE.fingerprint, 10**6) for name in ("one", "two", "alone")}
    assert counted == {"one": 1, "two": 1, "alone": 2}
