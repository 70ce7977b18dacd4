"""An evaluation under way in a thread of its own, and the processes of its sandbox, for those who disturb it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from archive.records import Evaluation, Request
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator

TRAINS_ON = """
import time
import torch

def train(session):
    data = session.start()
    step = 0
    while session.remaining() > 0:
        step += 1
        session.report(step=step, loss=5.0)
        time.sleep(0.02)
    table = torch.bincount(data.long(), minlength=256).float().add(0.1).log().expand(256, 256)
    return {"table": table.clone()}

def predict(state, task):
    return lambda tokens: state["table"][tokens]
"""
"""An honest program that uses all its time: it counts bytes."""


class Underway:
    """One evaluation of ``source`` on the first slot. Use as a context manager: in the end it is cancelled."""

    def __init__(self, evaluator: AuditedEvaluator, source: str = TRAINS_ON) -> None:
        self.phases: list[str] = []
        self.share = 0.0
        self.cancelled = threading.Event()
        self._result: list[Evaluation | BaseException] = []
        self._evaluator = evaluator
        self._request = Request("node", "run", 0, {"train.py": source}, 11, "screen")
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            slot = make_slots(1)[0]
            done = self._evaluator.evaluate(
                self._request, slot, self.cancelled, lambda phase, share, loss=None: self.note(phase, share)
            )
            self._result.append(done)
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._result.append(error)

    def note(self, phase: str, share: float) -> None:
        self.phases.append(phase)
        self.share = share

    def __enter__(self) -> Underway:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cancelled.set()
        self._thread.join()

    def until(self, phase: str, share: float = 0.0) -> None:
        """Wait until it is in that phase, and that share of the phase is over."""
        until(lambda: (phase in self.phases and self.share >= share) or bool(self._result))
        assert phase in self.phases, self._result

    def result(self) -> Any:
        self._thread.join(120)
        assert self._result, "it has not ended"
        if isinstance(self._result[0], BaseException):
            raise self._result[0]
        return self._result[0]


def until(condition: Callable[[], object], seconds: float = 200.0) -> None:
    """Wait until it holds, which it must in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def sandbox_processes(parent: psutil.Process | None = None) -> list[psutil.Process]:
    """What runs below a process for its sandboxes: the launched ones first. Without fork servers that wait for work."""
    parent = parent or psutil.Process()
    found = parent.children(recursive=True)
    servers = {each.pid for each in found if each.name() == "bwrap" and each.cmdline()[-1:] == ["fork"]}
    inside = [each for each in found if each.pid not in servers and each.ppid() not in servers]
    return sorted(inside, key=lambda each: each.ppid() != parent.pid)


def worker(processes: list[psutil.Process]) -> psutil.Process:
    """The process that the candidate runs in: the first interpreter in the innermost process namespace."""
    pythons = [process for process in processes if process.name().startswith("python")]
    return max(pythons, key=lambda each: len(_numbers(each)))


def _numbers(process: psutil.Process) -> list[str]:
    """The process's numbers, one for each namespace that sees it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(line.split()[1:] for line in lines if line.startswith("NSpid"))


def shared_and_writable(server: psutil.Process) -> list[str]:
    """The memory that a process shares with all that it forks, written to or not."""
    found = []
    for each in (server, *server.children(recursive=True)):
        maps = Path(f"/proc/{each.pid}/maps").read_text().splitlines()
        found += [line for line in maps if line.split()[1][1] == "w" and line.split()[1][3] == "s"]
    return found
