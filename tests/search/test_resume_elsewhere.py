"""Resume with other settings, on other hardware, or with another seed program; the evaluator is a stub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archive.storage.store import Archive
from prepare.load import find_file
from search.run.resume import RunChanged

Start = Callable[..., Any]


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with Archive.open(folder / "archive.duckdb") as archive:
        return archive.query(sql)


def test_changed_settings_are_refused_with_the_difference(start: Start) -> None:
    start("run=night", stop_after=4)
    with pytest.raises(RunChanged) as caught:
        start("run=night", "policy.score.c=0.5", "task.seconds=3")
    assert "policy.score.c: 0.1 -> 0.5" in str(caught.value)
    assert "task.seconds: 10.0 -> 3" in str(caught.value)


@pytest.mark.slow
def test_on_other_hardware_the_root_and_the_leaders_are_run_again_first(start: Start) -> None:
    start("run=night", stop_after=12)
    bench = start("run=night", "budget.evaluations=60", stub={"hardware": "another"})
    again = [e.request.node_id for e in bench.display.landings[:6]]
    root = bench.search.tree.root
    assert root in again
    assert len(set(again)) >= 5
    scored = [n for n in bench.search.tree.nodes if bench.search.tree.runs[bench.search.tree.index[n.node_id]]]
    assert len(scored) >= 6
    assert bench.result.verdict is not None


@pytest.mark.slow
def test_a_run_begun_by_wall_seconds_is_resumed_by_them_or_says_why_not(start: Start, tmp_path: Path) -> None:
    start("run=night", stop_after=6)
    start("run=night", "task.clock=wall", "budget.evaluations=50", stop_after=2)
    note = "SELECT message FROM events WHERE kind = 'hardware'"
    assert rows(tmp_path, note) == []
    start("run=night", "budget.evaluations=60", stub={"hardware": "stub / CPU time"}, stop_after=2)
    (said,) = rows(tmp_path, note)[0]
    assert said.startswith("earlier scores had a budget of wall seconds and are not compared with new ones")
    assert "task.clock=wall resumes the run as it was begun" in said


@pytest.mark.slow
def test_a_root_that_failed_once_elsewhere_does_not_end_a_resume(start: Start) -> None:
    start("run=night", slots=1, stop_after=4, stub={"fail_every": 2})  # move 2 is a replicate of the root
    bench = start("run=night", "budget.evaluations=40", stub={"hardware": "another"})
    assert bench.result.verdict is not None


@pytest.mark.slow
def test_catching_up_is_asked_for_once(start: Start, tmp_path: Path) -> None:
    start("run=night", stop_after=12)
    for _ in range(3):
        start("run=night", "budget.evaluations=60", stub={"hardware": "another", "delay": 0.3}, stop_at_once=True)
    again = rows(tmp_path, "SELECT count(*) FROM moves WHERE reason = 'run again on other hardware'")
    assert again[0][0] <= 6


def test_an_edited_seed_program_is_another_task(start: Start, tmp_path: Path) -> None:
    seed = tmp_path / "seed.py"
    seed.write_text(find_file("train/seeds/shakespeare.py").read_text())
    start("run=night", f"task.seed_file={seed}", stop_after=3)
    seed.write_text(seed.read_text().replace("DEPTH = 4", "DEPTH = 3"))
    with pytest.raises(RunChanged, match=r"contents\.seed_file"):
        start("run=night", f"task.seed_file={seed}")
