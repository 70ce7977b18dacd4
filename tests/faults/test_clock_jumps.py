"""The wall clock is set while a search runs: budgets are kept by a clock that nobody can set, and records stay sane."""

from __future__ import annotations

from pathlib import Path

import pytest
from launching import PATHS, search, toy_conf
from ledger import evaluations, rows, settled

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clock")]

JUMPS = """
# Imported by the interpreter when it starts: each look at the wall clock is off by another amount.
import itertools, time
really, jumps = time.time, itertools.cycle([0.0, -86_400.0, 3_600.0, -7.0, 400_000_000.0, -0.5])
time.time = lambda: really() + next(jumps)
"""


@pytest.fixture
def jumping(tmp_path: Path) -> dict[str, str]:
    """Variables for a process whose wall clock jumps by hours and years, back and forth, at every look."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPS)
    return {"PYTHONPATH": f"{tmp_path / 'clock'}:{PATHS}"}


def sane(archive: Path) -> None:
    assert rows(archive, "SELECT count(*) FROM evaluations WHERE finished_at < started_at") == [(0,)]
    assert rows(archive, "SELECT count(*) FROM evaluations WHERE seconds < 0 OR seconds > 100") == [(0,)]


def test_a_whole_search_is_none_the_worse(tmp_path: Path, jumping: dict[str, str]) -> None:
    words = ("run=night", "budget.evaluations=29", "budget.hours=0.5", "evaluator.delay=0.02", "claim.looks=1")
    done = search(tmp_path, *words, timeout=120, **jumping)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Champion" in done.stdout or "No improvement" in done.stdout, done.stdout
    assert len(evaluations(tmp_path / "treewright.duckdb")) == 29
    settled(tmp_path / "treewright.duckdb")


@pytest.mark.nightly
def test_real_trainings_get_their_seconds_by_another_clock(tmp_path: Path, jumping: dict[str, str]) -> None:
    conf = toy_conf(tmp_path)
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "budget.evaluations=4", "executor.slots=1")
    variables = {**jumping, "TREEWRIGHT_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    done = search(tmp_path, *words, stub=False, timeout=240, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    archive = tmp_path / "treewright.duckdb"
    assert rows(archive, "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
    sane(archive)


def test_hours_of_a_budget_are_counted_by_it_too(tmp_path: Path, jumping: dict[str, str]) -> None:
    """Two seconds of a budget by the hour, with a wall clock that is years off at every look."""
    words = ("run=night", "budget.evaluations=null", f"budget.hours={4 / 3600}", "evaluator.delay=0.05")
    done = search(tmp_path, *words, timeout=120, **jumping)
    assert done.returncode == 0, done.stdout + done.stderr
    trained = len(evaluations(tmp_path / "treewright.duckdb"))
    assert trained > 3, "a jump forward does not end it at once"
