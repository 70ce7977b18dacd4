"""Two searches on one machine at the same time: neither ends, sweeps or waits for anything of the other's."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest
from launching import begin, one, search, toy_conf
from ledger import evaluations, family, gone, rows, settled, stages, stages_left

pytestmark = pytest.mark.slow


CLAIM = ("claim.candidates=1", "claim.confirm_seeds=1", "claim.report_seeds=2")
"""The smallest claim."""


def words_for(folder: Path, archive: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """A search with real sandboxes; both use one temporary folder, as they do in /tmp."""
    words = (
        "--config-dir",
        str(folder / "conf"),
        "task=toy",
        "operators=tune",
        "executor.slots=2",
        f"archive={archive}",
    )
    return words, {"TREEWRIGHT_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}


def until_both_train(folder: Path, *processes: psutil.Process) -> None:
    end = time.monotonic() + 120
    while not all(stages(folder, process.pid) and len(process.children(recursive=True)) > 2 for process in processes):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.nightly
def test_both_work_side_by_side(tmp_path: Path) -> None:
    toy_conf(tmp_path)
    archives, running = ("one.duckdb", "two.duckdb"), []
    for archive in archives:
        words, variables = words_for(tmp_path, archive)
        running.append(begin(tmp_path, *words, "run=night", "budget.evaluations=5", stub=False, **variables))
    for process in running:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, said + errors
    for archive in archives:
        assert rows(tmp_path / archive, "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
        assert len(evaluations(tmp_path / archive)) == 5
        settled(tmp_path / archive)
    assert not stages_left(tmp_path)


def test_the_end_of_one_does_not_touch_the_other(tmp_path: Path) -> None:
    """One is killed in the middle, a third starts and sweeps what it left; the second goes on undisturbed."""
    toy_conf(tmp_path)
    words, variables = words_for(tmp_path, "killed.duckdb")
    killed = begin(tmp_path, *words, "run=night", "budget.evaluations=100", stub=False, **variables)
    words, _ = words_for(tmp_path, "kept.duckdb")
    kept = begin(tmp_path, *words, "run=night", "claim=off", "budget.evaluations=4", stub=False, **variables)
    until_both_train(tmp_path, psutil.Process(killed.pid), psutil.Process(kept.pid))
    processes = family(killed.pid)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    gone(processes)
    assert stages(tmp_path, killed.pid), "a killed search cannot clean up after itself"
    words, _ = words_for(tmp_path, "third.duckdb")
    done = search(tmp_path, *words, "claim=off", "budget.evaluations=1", stub=False, timeout=240, **variables)
    assert done.returncode == 0, done.stderr
    assert not stages(tmp_path, killed.pid), "the next one does"
    said, errors = kept.communicate(timeout=300)
    assert kept.returncode == 0, said + errors
    assert rows(tmp_path / "kept.duckdb", "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
    assert len(evaluations(tmp_path / "kept.duckdb")) == 4
    settled(tmp_path / "kept.duckdb")


def test_one_archive_is_for_one_search_at_a_time(tmp_path: Path) -> None:
    first = begin(tmp_path, "run=night", "budget.evaluations=4000", "evaluator.delay=0.1")
    assert first.stdout is not None
    while not first.stdout.readline().startswith("["):
        pass
    for run in ("night", "another"):
        refused = search(tmp_path, f"run={run}", "budget.evaluations=10")
        assert refused.returncode == 1
        assert f"process {first.pid}" in refused.stderr
        assert "archive=" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert first.poll() is None
    before = one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations")
    time.sleep(1.0)
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") > before, "the first goes on"
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=250)
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM runs") == 1
