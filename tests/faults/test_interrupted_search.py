"""Ctrl-C and SIGTERM: the search stops cleanly, says how to go on, and what it says works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from launching import begin, run, search, toy_conf
from ledger import evaluations, family, finished, gone, rows, settled, stages_left
from messages_api import MessagesApi
from underway import until

pytestmark = pytest.mark.slow


def wait_for_landings(process: subprocess.Popen[str], landings: int) -> str:
    """Read what the search prints until that many trainings have landed."""
    assert process.stdout is not None
    text = ""
    while text.count("\n[") < landings:
        line = process.stdout.readline()
        assert line, f"the search ended: {text}"
        text += line
    return text


def stop(process: subprocess.Popen[str], number: signal.Signals, group: bool) -> tuple[str, str]:
    """Send a signal as a terminal would (to the group), or as ``kill`` would; what was printed after it."""
    processes = family(process.pid)
    (os.killpg if group else os.kill)(process.pid, number)
    said, errors = process.communicate(timeout=250)
    assert process.returncode == 130, said + errors
    assert "Traceback" not in said + errors
    gone(processes)
    return said, errors


def resumed(said: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command that was printed, run as printed."""
    found = re.search(r"Resume with:\n  (.*)\n", said)
    assert found is not None, said
    done = run(["bash", "-c", found[1]], folder, 120, **variables)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("number", "group"),
    [
        *((signal.SIGINT, True), (signal.SIGTERM, False)),
        *(pytest.param(*each, marks=pytest.mark.nightly) for each in ((signal.SIGINT, False), (signal.SIGTERM, True))),
    ],
)
def test_a_stop_says_how_to_go_on_and_that_works(tmp_path: Path, number: signal.Signals, group: bool) -> None:
    archive = tmp_path / "my archive.duckdb"
    words = (f"archive='{archive.name}'", "budget.evaluations=40", "seed=3", "policy=greedy", "evaluator.delay=0.1")
    words += ("claim.looks=1",)  # a claim that ends early leaves some of the budget
    diary = tmp_path / "diary"
    process = begin(tmp_path, *words, "evaluator.noise=0.02", "executor.slots=8", f"evaluator.diary={diary}")
    wait_for_landings(process, 5)
    said, errors = stop(process, number, group)
    assert errors == ""
    known = evaluations(archive)
    assert set(finished(diary)) <= known, "what had ended when the search was stopped is recorded"
    assert len(known) >= 5
    done = resumed(said, tmp_path)
    assert "Resuming run 'shakespeare-1'" in done.stdout
    assert known <= evaluations(archive)
    assert len(evaluations(archive)) == 40
    assert rows(archive, "SELECT run, seed, policy FROM runs") == [("shakespeare-1", 3, "greedy")]
    settled(archive)


@pytest.mark.parametrize("group", [True, pytest.param(False, marks=pytest.mark.nightly)])
def test_ctrl_c_ends_what_runs_in_sandboxes_and_records_no_failure(tmp_path: Path, group: bool) -> None:
    conf = toy_conf(tmp_path)
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "run=night", "executor.slots=2")
    variables = {"TREEWRIGHT_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)}
    archive = tmp_path / "treewright.duckdb"
    process = begin(tmp_path, *words, "budget.evaluations=4", "claim=off", stub=False, **variables)
    wait_for_landings(process, 1)
    time.sleep(0.7)  # into the next training
    said, _ = stop(process, signal.SIGINT, group)
    assert 1 <= len(evaluations(archive)) < 4
    resumed(said, tmp_path, **variables)
    assert rows(archive, "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
    settled(archive)
    assert not stages_left(tmp_path), "the folders of the sandboxes are gone"


def test_ctrl_c_at_any_moment_of_the_start_is_answered_without_a_traceback(tmp_path: Path) -> None:
    for tenth in range(2, 16, 4):
        process = begin(tmp_path, "run=night", "budget.evaluations=400", "evaluator.delay=0.1")
        used = psutil.Process(process.pid)
        until(lambda used=used, tenth=tenth: sum(used.cpu_times()[:2]) >= tenth / 10)
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=250)
        assert process.returncode == 130, said + errors
        assert "Traceback" not in errors, f"after {tenth / 10} CPU seconds"
    done = search(tmp_path, "run=night", "budget.evaluations=20")
    assert done.returncode == 0, done.stderr


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    """The first waits for an answer that is paid for; the second does not."""
    with MessagesApi(latency=60.0) as api:
        words = ("run=night", "budget.evaluations=9", "operators=llm", f"llm.base_url={api.url}")
        process = begin(tmp_path, *words, ANTHROPIC_API_KEY="sk-ant-test")
        said = wait_for_landings(process, 3)
        until = time.monotonic() + 200
        while not api.asked and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout is not None
        while "Waiting for" not in said:
            said += (line := process.stdout.readline())
            assert line
        assert "of the language model: requests already sent are paid for" in said
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=250)
        assert time.monotonic() - began < 10, "far from the minute that the answer takes"
    assert process.returncode == 130
    assert "Ended at once" in errors
    assert "Traceback" not in errors
    assert len(evaluations(tmp_path / "treewright.duckdb")) == 3
    done = search(tmp_path, "run=night", "budget.evaluations=9", "operators=llm", "llm=none")
    assert done.returncode == 2, "the operators need a model"
    with MessagesApi() as api:
        done = search(tmp_path, *words[:3], f"llm.base_url={api.url}", ANTHROPIC_API_KEY="sk-ant-test")
    assert done.returncode == 0, done.stderr
    settled(tmp_path / "treewright.duckdb")
