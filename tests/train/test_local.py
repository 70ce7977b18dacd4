"""The local executor: order, errors, and what is left after a cancellation or a SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
from underway import until

from archive.records import Conditions, Evaluation, Failed, Request, Resources, Scored
from train.executors.local import LocalExecutor
from train.hardware.slots import Slot, make_slots
from train.language_model.evaluator import AuditedEvaluator

SLOTS = tuple(Slot(index=i, device="cpu", gpu=None, cores=(), threads=1) for i in range(2))
HOUSE = Path(__file__).parent.parent.parent


def request(name: str, source: str = "") -> Request:
    return Request(name, "run", 0, {"train.py": source}, 11, "screen")


class Scripted:
    """An evaluator that waits for a word: each node ends when its event is set, or when it is cancelled."""

    def __init__(self) -> None:
        self.words: dict[str, threading.Event] = {}
        self.begun: list[str] = []

    def word(self, name: str) -> threading.Event:
        return self.words.setdefault(name, threading.Event())

    def gate(self, files: Mapping[str, str]) -> str | None:
        return None

    def conditions(self, slot: Slot) -> Conditions:
        return Conditions("none", 1.0, f"slot {slot.index}")

    def evaluate(
        self, request: Request, slot: Slot, cancelled: threading.Event, watch: Callable[[str, float], None]
    ) -> Evaluation:
        self.begun.append(request.node_id)
        watch("train", 0.5)
        while not self.word(request.node_id).wait(0.01) and not cancelled.is_set():
            continue
        if request.node_id.startswith("broken"):
            raise RuntimeError(f"{request.node_id}: an error of ours")
        common = {
            "request": request,
            "conditions": self.conditions(slot),
            "resources": Resources(seconds=0.0),
            "trust": "audited",
            "sandbox": "none",
            "device": "cpu",
            "started_at": 0.0,
            "finished_at": 1.0,
        }
        if not self.word(request.node_id).is_set() and not request.node_id.startswith("at the last"):
            return Failed(**common, outcome="lost", reason="cancelled")
        return Scored(**common, score=1.0)


def collect(executor: LocalExecutor, count: int) -> list[str]:
    names: list[str] = []
    end = time.monotonic() + 200
    while len(names) < count and time.monotonic() < end:
        names += [evaluation.request.node_id for evaluation in executor.wait(0.2)]
    return names


def test_waiting_ends_when_it_is_woken_and_loses_nothing() -> None:
    evaluator = Scripted()
    with LocalExecutor(evaluator, SLOTS) as executor:
        executor.wake()
        assert executor.wait(3600) == []
        executor.submit(request("a"))
        evaluator.word("a").set()
        until(lambda: executor._done.qsize() == 1)
        executor.wake()
        executor.submit(request("b"))
        evaluator.word("b").set()
        until(lambda: executor._done.qsize() == 3)
        assert [e.request.node_id for e in executor.wait(0)] == ["a", "b"], "what lies behind a wake is handed out, too"
        assert executor.in_flight == 0


def test_requests_wait_for_a_slot_in_order() -> None:
    evaluator = Scripted()
    with LocalExecutor(evaluator, SLOTS) as executor:
        for name in "abcd":
            executor.submit(request(name))
        assert (executor.in_flight, executor.free) == (4, -2)
        until(lambda: len(executor.running()) == 2 and all(r.phase == "train" for r in executor.running()))
        assert {running.request.node_id for running in executor.running()} == {"a", "b"}
        assert [running.slot.index for running in executor.running()] == [0, 1]
        evaluator.word("b").set()
        assert collect(executor, 1) == ["b"]
        until(lambda: len(evaluator.begun) == 3)
        assert evaluator.begun[2] == "c"
        for name in "acd":
            evaluator.word(name).set()
        assert sorted(collect(executor, 3)) == ["a", "c", "d"]
        assert (executor.in_flight, executor.free, executor.running()) == (0, 2, ())
        assert executor.wait(0.0) == []
        assert executor.conditions.hardware == "slot 0"


def test_an_error_of_ours_is_raised_to_who_waits_and_loses_nothing() -> None:
    evaluator = Scripted()
    for name in ("broken", "fine", "later"):
        evaluator.word(name).set()
    with LocalExecutor(evaluator, SLOTS[:1]) as executor:
        for name in ("fine", "broken", "later"):
            executor.submit(request(name))
        until(lambda: len(evaluator.begun) == 3 and not executor.running())
        assert [evaluation.request.node_id for evaluation in executor.wait(1.0)] == ["fine"]
        with pytest.raises(RuntimeError, match="broken: an error of ours"):
            executor.wait(1.0)
        assert collect(executor, 1) == ["later"]
        assert executor.in_flight == 0


def test_closing_hands_out_what_had_finished_and_gives_up_the_rest() -> None:
    evaluator = Scripted()
    executor = LocalExecutor(evaluator, SLOTS)
    for name in ("finished", "unfinished", "at the last moment", "never begun"):
        executor.submit(request(name))
    evaluator.word("finished").set()
    until(lambda: len(evaluator.begun) == 3)
    executor.close()
    executor.close()
    handed_out = [evaluation.request.node_id for evaluation in executor.wait(0.0)]
    assert handed_out == ["finished", "at the last moment"]
    assert len(evaluator.begun) == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("slot-")]
    with pytest.raises(RuntimeError, match="closed"):
        executor.submit(request("too late"))


def sandboxed(process: psutil.Process) -> list[psutil.Process]:
    """The descendants that run a worker, or what a worker has started."""
    return process.children(recursive=True)


def alive(process: psutil.Process) -> bool:
    """A zombie is dead; in some containers the first process never buries those that are left to it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_cancellation_leaves_no_process_behind(evaluator: AuditedEvaluator) -> None:
    source = (Path(__file__).parent / "candidates" / "never_starts.py").read_text()
    others = set(sandboxed(psutil.Process()))  # an idle scorer that an earlier test in this process has left
    executor = LocalExecutor(evaluator, make_slots(1))
    executor.submit(request("sleeper", source))
    until(lambda: len({*sandboxed(psutil.Process())} - others) > 2)
    processes = {*sandboxed(psutil.Process())} - others
    executor.close()
    assert not [process for process in processes if process.is_running()]
    assert executor.wait(0.0) == []


DRIVER = """
import sys
sys.path[:0] = ["tests", "."]
from pathlib import Path
import conftest
from archive.records import Request
from train.language_model.evaluator import AuditedEvaluator
from train.executors.local import LocalExecutor
from train.sandbox.base import find_sandbox
from train.hardware.slots import make_slots
class Factory:
    def mktemp(self, name):
        return Path(sys.argv[1])
task = conftest.toy_task.__wrapped__(Factory())
source = (conftest.CANDIDATES / "daemons.py").read_text()
with LocalExecutor(AuditedEvaluator(task, find_sandbox(sys.argv[2])), make_slots(1)) as executor:
    executor.submit(Request("n", "r", 0, {"train.py": source}, 11, "screen"))
    executor.wait(3600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sandbox", ["bwrap", "none"])
def test_a_killed_search_takes_its_sandboxes_along(tmp_path: Path, sandbox: str) -> None:
    """SIGKILL in the middle of an evaluation: a second later no process of the sandbox is left.

    Without a sandbox only the worker is sure to end; what it has put into sessions of its own is not.
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what a killed search leaves on the disk goes with the rest
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path), sandbox], cwd=HOUSE, env=environment)
    try:
        watched = psutil.Process(driver.pid)
        until(lambda: driver.poll() is None and len([p for p in sandboxed(watched) if "python" in p.name()]) >= 3)
        processes = sandboxed(watched)
        daemons = [process for process in processes if process.parent() in processes and "python" in process.name()]
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        _, left = psutil.wait_procs(processes, timeout=1.0)
        expected = [process for process in left if alive(process) and (sandbox == "bwrap" or process not in daemons)]
        assert expected == []
    finally:
        driver.kill()
        for process in processes:
            if process.is_running():
                os.kill(process.pid, signal.SIGKILL)
