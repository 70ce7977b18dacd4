"""``kill -9`` of a whole search at random instants, many times, and a last session that finishes it.

CI kills at named points instead: see ``test_fault_points.py``.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from launching import HOUSE, begin, environment, search, toy_conf
from ledger import evaluations, family, finished, gone, memory_groups, rows, settled, stages, stages_left

SLOTS = 2


@pytest.mark.nightly
@pytest.mark.timeout(600)
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


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(5))
def test_killed_with_sandboxes_at_work_leaves_nothing(tmp_path: Path, part: int) -> None:
    """Ten kills in each of five searches with real sandboxes: fifty instants, from launching to auditing.

    No finished evaluation is lost or doubled, no process is left at once, and no folder and no memory group after the
    next start.
    """
    conf, diary = toy_conf(tmp_path), tmp_path / "diary"
    shutil.copytree(HOUSE / "tests" / "conf" / "evaluator", conf / "evaluator")
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "run=night", f"executor.slots={SLOTS}")
    words = (*words, "evaluator=diary", f"evaluator.diary={diary}")
    variables = {"TREEWRIGHT_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    archive, rng = tmp_path / "treewright.duckdb", random.Random(part)
    known: set[tuple[str, int, str]] = set()
    left: list[Path] = memory_groups()
    for _ in range(10):
        process = begin(tmp_path, *words, "budget.evaluations=500", stub=False, **variables)
        wait_for_a_stage(process, tmp_path)
        assert [folder for folder in left if folder.exists()] == [], "the last one's folders and groups are swept"
        time.sleep(rng.uniform(0.0, 6.0))
        processes = family(process.pid)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        gone(processes)
        left = [*stages_left(tmp_path), *memory_groups()]
        found, ended = evaluations(archive), set(finished(diary))
        assert known <= found, "a row of an earlier session is gone"
        assert found <= ended
        assert len(ended - found) <= SLOTS, "more is missing than was in flight"
        known = found
    # Room for a small claim, for what was in flight, and for a little more: then every move comes to something.
    budget = len(known) + 4 + SLOTS + 4
    small = ("claim.candidates=1", "claim.report_seeds=2", f"budget.evaluations={budget}")
    done = search(tmp_path, *words, *small, stub=False, timeout=240, **variables)
    assert done.returncode == 0, done.stderr
    assert [folder for folder in left if folder.exists()] == []
    assert rows(archive, "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
    assert known <= evaluations(archive)
    assert len(evaluations(archive)) <= budget
    settled(archive)
    trained = finished(diary)
    assert len(trained) - len(set(trained)) <= 10 * SLOTS, "trained again only what was in flight"


def wait_for_a_stage(process: subprocess.Popen[str], folder: Path) -> None:
    """Until its first evaluation has begun: the sandbox has been tried before, and is gone again."""
    until = time.monotonic() + 90
    while not stages(folder, process.pid):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
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
    until = time.monotonic() + 200
    while not any(c.raddr or c.status == "NONE" for c in psutil.Process(asked.pid).net_connections("unix")):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.5)
    assert asked.poll() is None, asked.communicate()
    searching.kill()
    process.communicate()
    _, errors = asked.communicate(timeout=250)
    assert asked.returncode == 1
    assert errors.startswith("error: the search that has ")
    assert "gave no answer" in errors
    assert "try again" in errors
    assert "Traceback" not in errors
    assert rows(archive, "SELECT count(*) FROM evaluations")[0][0] >= counts[-1]
    evaluations(archive)
