"""The sandboxes of one evaluation: each launched on its slot's cores, greeted, and measured while it runs."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from archive.records import CurvePoint, Request
from prepare.task import Task
from train.hardware.slots import Slot
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.process import Aborted, SandboxProcess

_LAUNCH_SECONDS = 120.0  # for a sandbox to import its packages, from a cold disk too


@dataclass
class Progress:
    """What is known of a running evaluation; it becomes part of the record however the evaluation ends."""

    phases: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    curve: list[CurvePoint] = field(default_factory=list)
    steps: int | None = None
    log: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    machine_speed: float | None = None

    def copy(self) -> Progress:
        return replace(self, phases=dict(self.phases), curve=list(self.curve), metrics=dict(self.metrics))

    def restart(self, before: Progress, phase: str, seconds: float) -> None:
        """Forget what happened since ``before``, but for what it used: its wall ``seconds`` become those of a phase."""
        self.phases = {**before.phases, phase: before.phases.get(phase, 0.0) + seconds}
        self.seconds, self.curve, self.steps, self.log = before.seconds, before.curve, before.steps, before.log
        self.metrics = before.metrics

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


@dataclass(frozen=True)
class SandboxFactory:
    """Opens the sandboxes of one evaluation, one after another."""

    task: Task
    sandbox: Sandbox
    request: Request
    slot: Slot
    stage: Path
    """Holds ``library/`` and ``candidate/``; see ``train.sandbox.base``."""
    progress: Progress
    cancelled: threading.Event
    groups: MemoryGroups | None = None
    """Where memory is limited by the kernel; see ``train.sandbox.process``."""

    @contextlib.contextmanager
    def open(self, what: str, mode: str, **words: object) -> Iterator[SandboxProcess]:
        """A fresh sandbox with the candidate's files, greeted and ready (packages imported, the candidate not).

        ``words``: what else the greeting says to a worker of this mode.
        """
        task, limits, slot = self.task, self.task.limits, self.slot
        ours, theirs = socket.socketpair()
        inside = self.sandbox.wrap(self.stage, theirs.fileno(), slot, limits.scratch_mb)
        with pinned(slot.cores):
            cell = SandboxProcess(
                inside.command,
                inside.environment,
                ours,
                theirs,
                what=what,
                contained=self.sandbox.contained,
                memory_mb=limits.memory_mb,
                log_bytes=limits.log_kb * 1000,
                cancelled=self.cancelled,
                groups=self.groups,
            )
        hello: dict[str, object] = {
            "mode": mode,
            "threads": slot.threads,
            "seed": self.request.seed,
            "seconds": task.seconds,
            "task": {"vocab": task.vocab, "context": task.context, "device": slot.device},
            "processes": limits.processes if self.sandbox.contained else 0,
            "die_with": None if self.sandbox.contained else os.getpid(),
            "file_bytes": limits.scratch_mb * 1_000_000,
            **words,
        }
        with cell:
            try:
                with self.progress.phase("launch"):
                    self._greet(cell, hello)
                yield cell
            finally:
                self.progress.cpu_seconds += cell.usage.cpu_seconds
                self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, cell.usage.peak_memory_mb)

    def _greet(self, cell: SandboxProcess, hello: dict[str, object]) -> None:
        """Before the candidate is imported nothing of it can have gone wrong: what fails here is the machine's."""
        deadline = time.monotonic() + _LAUNCH_SECONDS
        try:
            cell.send(hello, deadline=deadline)
            cell.receive(deadline=deadline, max_payload=0, late=f"it was not ready within {_LAUNCH_SECONDS:g} s")
        except Aborted as ended:
            raise Aborted("lost", f"the sandbox did not start: {ended.reason}") from None


@contextlib.contextmanager
def pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """This thread, and what it launches meanwhile, runs on these cores; afterwards the thread goes where it could."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
