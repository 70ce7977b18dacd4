"""Signals from outside at a candidate, at its sandbox and at the search: the right outcome, and nothing left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from launching import HOUSE, environment
from ledger import gone
from underway import TRAINS_ON, Underway, sandbox_processes, until, worker

from prepare.language_model import LanguageModelTask
from train.language_model.evaluator import AuditedEvaluator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("clock")]


@pytest.fixture
def patient(toy_task: LanguageModelTask, evaluator: AuditedEvaluator) -> AuditedEvaluator:
    """Long trainings: whatever ends them early was not the clock."""
    return AuditedEvaluator(dataclasses.replace(toy_task, seconds=30.0, clock="wall"), evaluator.sandbox)


BEGUN = 0.03
"""Share of a training after which it is ended here."""


@pytest.mark.parametrize(
    ("who", "outcome", "reason"),
    [
        pytest.param("worker", "crashed", "training: it was ended by SIGKILL", marks=pytest.mark.nightly),
        ("launched", "lost", "training: the sandbox was ended from outside, by SIGKILL"),
        ("between", "crashed", "training: it was ended by SIGKILL"),
    ],
)
def test_sigkill(patient: AuditedEvaluator, run_candidate, toy_seed: str, who: str, outcome: str, reason: str) -> None:
    """To the candidate's process, to the process that we have launched, and to the sandbox's first process inside."""
    with Underway(patient) as evaluation:
        evaluation.until("train", BEGUN)
        processes = sandbox_processes()
        victim = {"worker": worker(processes), "launched": processes[0], "between": worker(processes).parent()}[who]
        victim.kill()
        result = evaluation.result()
        gone(processes)
    assert (result.outcome, result.reason.startswith(reason)) == (outcome, True), result.reason
    if who == "launched":
        assert run_candidate(toy_seed).outcome == "scored"


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP, signal.SIGABRT])
def test_other_signals_at_the_candidate_are_named(patient: AuditedEvaluator, number: signal.Signals) -> None:
    with Underway(patient) as evaluation:
        evaluation.until("train", BEGUN)
        worker(sandbox_processes()).send_signal(number)
        result = evaluation.result()
    assert result.outcome == "crashed"
    assert number.name in result.reason or "Segmentation fault" in result.log or "Aborted" in result.log, result.reason


def test_a_stopped_candidate_is_late_and_is_killed(toy_task: LanguageModelTask, evaluator: AuditedEvaluator) -> None:
    """SIGSTOP cannot be caught, and neither does a stopped process die of anything less than SIGKILL."""
    short = AuditedEvaluator(dataclasses.replace(toy_task, seconds=3.0, clock="wall"), evaluator.sandbox)
    with Underway(short) as evaluation:
        evaluation.until("train")
        processes = sandbox_processes()
        worker(processes).suspend()
        result = evaluation.result()
        gone(processes)
    assert (result.outcome, "the state had not arrived" in result.reason) == ("timed_out", True), result.reason


def test_a_stopped_sandbox_is_killed_all_the_same(toy_task: LanguageModelTask, evaluator: AuditedEvaluator) -> None:
    """The candidate runs on in there and does its part; that the sandbox never ends is not its fault."""
    short = AuditedEvaluator(dataclasses.replace(toy_task, seconds=2.0, clock="wall"), evaluator.sandbox)
    with Underway(short) as evaluation:
        evaluation.until("train")
        processes = sandbox_processes()
        processes[0].suspend()
        result = evaluation.result()
        gone(processes)
    stopped = "the sandbox was stopped from outside (SIGSTOP)" in result.reason
    assert (result.outcome, stopped) == ("lost", True), result.reason


DEAF = (
    "import signal\nfor number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\n"
)
NEVER_RETURNS = TRAINS_ON.replace("while session.remaining() > 0:", "while True:")


def test_a_candidate_that_ignores_every_signal_is_ended(
    toy_task: LanguageModelTask, evaluator: AuditedEvaluator
) -> None:
    short = AuditedEvaluator(dataclasses.replace(toy_task, clock="wall"), evaluator.sandbox)
    with Underway(short, DEAF + NEVER_RETURNS) as evaluation:
        evaluation.until("train")
        processes = sandbox_processes()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            worker(processes).send_signal(number)
        result = evaluation.result()
        gone(processes)
    assert result.outcome == "timed_out"


GRANDCHILDREN = """
import os, signal, time

def grandchildren():
    for generation in range(3):            # each in a session of its own, its parent gone, deaf
        if os.fork():
            os._exit(0) if generation else None
            return
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open("/tmp/left-behind", "w").write("x")
    time.sleep(600)
    os._exit(0)
"""


@pytest.mark.parametrize("instant", [pytest.param("while it trains", marks=pytest.mark.nightly), "after it has scored"])
def test_daemons_and_grandchildren_go_with_it(evaluator: AuditedEvaluator, instant: str, toy_seed: str) -> None:
    source = toy_seed if instant == "after it has scored" else NEVER_RETURNS
    source = GRANDCHILDREN + source.replace("data = session.start()", "grandchildren(); data = session.start()")
    before = set(psutil.pids())
    with Underway(evaluator, source) as evaluation:
        result = evaluation.result()
    assert result.outcome == ("scored" if instant == "after it has scored" else "timed_out"), result
    left = [psutil.Process(number) for number in set(psutil.pids()) - before if psutil.pid_exists(number)]
    assert [process for process in left if _mentions_worker(process)] == []
    assert sandbox_processes() == []


def _mentions_worker(process: psutil.Process) -> bool:
    """A process forked by the worker has the worker's command line; one of this test run, not of another's."""
    try:
        ours = any(each.pid == os.getpid() for each in process.parents())
        return ours and any("worker.py" in word for word in process.cmdline())
    except psutil.Error:
        return False


# ---------------------------------------------------------------- the search itself stands still

DRIVER = """
import sys, threading
sys.path[:0] = ["tests/support", "tests", "."]
from pathlib import Path
import conftest, dataclasses
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox
from underway import Underway, TRAINS_ON
class Factory:
    def mktemp(self, name):
        return Path(sys.argv[1])
task = dataclasses.replace(conftest.toy_task.__wrapped__(Factory()), seconds=float(sys.argv[2]), clock="wall")
evaluator = AuditedEvaluator(task, find_sandbox("auto"))
source = TRAINS_ON
if sys.argv[3] == "start":
    limits = dataclasses.replace(task.limits, startup_seconds=6.0, rehearsal_seconds=0.0)
    task = dataclasses.replace(task, limits=limits)
    evaluator = AuditedEvaluator(task, find_sandbox("auto"))
    waits = "import subprocess; subprocess.run(['/bin/sleep', '2']); data = session.start()"
    source = source.replace("data = session.start()", waits)
with Underway(evaluator, source) as evaluation:
    if sys.argv[3] == "train":
        evaluation.until("train")
    print("now", flush=True)
    result = evaluation.result()
print(result.outcome, getattr(result, "reason", ""), flush=True)
print(round(result.resources.seconds, 1), flush=True)
"""


def standing_still(folder: Path, seconds: float, phase: str, stopped: float) -> list[str]:
    """What came of an evaluation whose search was stopped for ``stopped`` seconds in the middle."""
    words = [sys.executable, "-c", DRIVER, str(folder), str(seconds), phase]
    process = subprocess.Popen(words, cwd=HOUSE, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    if phase == "start":
        until(lambda: any(each.name() == "sleep" for each in psutil.Process(process.pid).children(recursive=True)))
    process.send_signal(signal.SIGSTOP)
    time.sleep(stopped)
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate(timeout=120)
    return said.splitlines()


def test_a_search_that_is_stopped_beyond_the_deadline_loses_the_training_and_blames_nobody(tmp_path: Path) -> None:
    """A suspended job (Ctrl-Z): the candidate ran on and was done in time, but nobody can know."""
    outcome, _ = standing_still(tmp_path, 2.0, "train", 4.0)
    assert outcome.startswith("lost training: the search itself did not run for "), outcome


@pytest.mark.nightly
def test_a_search_that_is_stopped_for_a_moment_goes_on(tmp_path: Path) -> None:
    outcome, seconds = standing_still(tmp_path, 6.0, "train", 2.0)
    assert outcome.startswith("scored"), outcome
    assert 5.0 < float(seconds) < 6.3


def test_start_up_in_which_the_search_stood_still_is_not_charged(tmp_path: Path) -> None:
    """The allowance is 6 s. Stopped for 9 s, the candidate waits for its data meanwhile and gets its whole budget."""
    outcome, seconds = standing_still(tmp_path, 4.0, "start", 9.0)
    assert outcome.startswith("scored"), outcome
    assert 3.0 < float(seconds) < 4.3
