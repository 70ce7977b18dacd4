"""``kill -9`` of a whole search at random instants, many times, and a last session that finishes it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from launching import begin, environment, search, toy_conf
from ledger import evaluations, family, finished, gone, rows, settled

pytestmark = pytest.mark.slow

SLOTS = 2


@pytest.mark.parametrize(("delay", "budget"), [(0.05, 300), (0.2, 120)])
def test_kill_at_any_instant_loses_nothing_and_repeats_nothing(tmp_path: Path, delay: float, budget: int) -> None:
    """Twelve kills each, from the first imports on to the middle of a batch of results."""
    archive, diary = tmp_path / "treewright.duckdb", tmp_path / "diary"
    rng = random.Random(f"{delay}")
    words = ("run=night", f"budget.evaluations={budget}", f"executor.slots={SLOTS}", "operators=numeric")
    words = (*words, f"evaluator.delay={delay}", f"evaluator.diary={diary}")
    known: set[tuple[str, int, str]] = set()
    for kill in range(12):
        process = begin(tmp_path, *words)
        assert process.stdout is not None
        while kill % 3 and not process.stdout.readline().startswith("["):
            pass  # a third of them hit the start, the others a search that runs
        time.sleep(rng.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed: the budget is too small"
        if not archive.exists():
            continue
        found = evaluations(archive)
        ended = set(finished(diary))
        assert known <= found, "a row of an earlier session is gone"
        assert found <= ended
        assert len(ended - found) <= SLOTS, "more is missing than was in flight"
        known = found
    assert len(known) >= 8, "each session that ran got at least one training done"
    done = search(tmp_path, *words, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(evaluations(archive)) == budget
    settled(archive)
    trained = finished(diary)
    assert len(trained) - len(set(trained)) <= 12 * SLOTS, "trained again only what was in flight"
    assert len(set(trained)) == budget, "what was in flight was trained again, not given up"


def test_killed_with_sandboxes_at_work_leaves_no_process(tmp_path: Path) -> None:
    conf = toy_conf(tmp_path)
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "run=night", "executor.slots=2")
    words = (*words, "budget.evaluations=8")
    variables = {"TREEWRIGHT_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    archive, rng = tmp_path / "treewright.duckdb", random.Random(4)
    known: set[tuple[str, int, str]] = set()
    for _ in range(4):
        process = begin(tmp_path, *words, stub=False, **variables)
        until = time.monotonic() + 30
        while len(family(process.pid)) < 3 and time.monotonic() < until:
            time.sleep(0.01)  # until there are sandboxes
        time.sleep(rng.uniform(0.0, 2.0))
        processes = family(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        gone(processes)
        if archive.exists():
            found = evaluations(archive)
            assert known <= found
            known = found
    done = search(tmp_path, *words, stub=False, timeout=120, **variables)
    assert done.returncode == 0, done.stderr
    outcomes = rows(archive, "SELECT DISTINCT outcome FROM evaluations")
    assert outcomes == [("scored",)]
    assert len(evaluations(archive)) <= 8
    settled(archive)


def test_sql_while_the_search_runs_and_while_it_dies(tmp_path: Path) -> None:
    archive = tmp_path / "treewright.duckdb"
    process = begin(tmp_path, "run=night", "budget.evaluations=500", "evaluator.delay=0.05")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("["):
        pass
    counts = [rows(archive, "SELECT count(*) FROM evaluations")[0][0] for _ in range(20) if not time.sleep(0.02)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
    asked = subprocess.Popen(
        [sys.executable, "-m", "archive", slow, "--archive", str(archive), "--timeout", "50"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    searching = psutil.Process(process.pid)
    until = time.monotonic() + 20
    while not any(c.raddr or c.status == "NONE" for c in psutil.Process(asked.pid).net_connections("unix")):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    assert asked.poll() is None, asked.communicate()
    searching.kill()
    process.communicate()
    _, errors = asked.communicate(timeout=20)
    assert asked.returncode == 1
    assert errors.startswith("error: the search that has ")
    assert "gave no answer" in errors
    assert "try again" in errors
    assert "Traceback" not in errors
    assert rows(archive, "SELECT count(*) FROM evaluations")[0][0] >= counts[-1]
    evaluations(archive)
