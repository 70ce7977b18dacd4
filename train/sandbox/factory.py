"""Opens the sandboxes of one evaluation: launched on the slot's cores, initialised, and measured while they run."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from archive.records import Request
from train.hardware.slots import Slot, pinned
from train.progress import Progress
from train.sandbox.abort import Aborted
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.fork_server import IMPORT_SECONDS, ForkServers
from train.sandbox.process import SandboxProcess


class SandboxLimits(Protocol):
    """Limits of a task that every sandbox has."""

    @property
    def memory_mb(self) -> int: ...

    @property
    def scratch_mb(self) -> int: ...

    @property
    def processes(self) -> int: ...

    @property
    def log_kb(self) -> int: ...


class SandboxedTask(Protocol):
    """A task whose candidates run in sandboxes."""

    @property
    def limits(self) -> SandboxLimits: ...


AnyTask = TypeVar("AnyTask", bound=SandboxedTask)


@dataclass(frozen=True, kw_only=True)
class SandboxLauncher(Generic[AnyTask]):
    """Launches the sandboxes of a slot."""

    task: AnyTask
    sandbox: Sandbox
    slot: Slot
    stage: Path
    """Holds ``library/`` and ``candidate/``; see ``train.sandbox.base``."""
    groups: MemoryGroups | None = None
    """Creates memory groups; None: memory is measured. See ``train.sandbox.process``."""
    forks: ForkServers | None = None
    """Fork the workers of slots for which a server is running; None: every worker is started anew."""
    hello: Mapping[str, object] = field(default_factory=dict)
    """What the worker is told of the task in its first message."""

    def launch(self, label: str, cancelled: threading.Event) -> SandboxProcess:
        """Start a sandbox, and return without waiting for it. Raises OSError if the launch fails."""
        limits, slot = self.task.limits, self.slot
        ours, theirs = socket.socketpair()
        fork = self.forks.fork(slot) if self.forks is not None else None
        if fork is not None:
            inside = fork.wrap(self.stage, limits.scratch_mb)
        else:
            inside = self.sandbox.wrap(self.stage, theirs.fileno(), slot, limits.scratch_mb)
        with pinned(slot.cores):
            return SandboxProcess(
                inside.command,
                inside.environment,
                ours,
                theirs,
                label=label,
                contained=self.sandbox.contained,
                memory_mb=limits.memory_mb,
                log_bytes=limits.log_kb * 1000,
                cancelled=cancelled,
                groups=self.groups,
                fork=fork,
            )

    def greet(self, process: SandboxProcess, words: Mapping[str, object], deadline: float) -> None:
        """Send the first message, upon which a worker confines itself and imports its packages. Raises Aborted."""
        process.send({**self._limits(), **self.hello, **words}, deadline=deadline)

    def _limits(self) -> dict[str, object]:
        """Return the part of the first message that confines the worker; see ``train.sandbox.confine``."""
        limits = self.task.limits
        return {
            "device": self.slot.device,
            "threads": self.slot.threads,
            "processes": limits.processes if self.sandbox.contained else 0,
            "die_with": None if self.sandbox.contained else os.getpid(),
            "file_bytes": limits.scratch_mb * 1_000_000,
        }


class SpareSandboxes:
    """Sandboxes for each slot that are started ahead, so that an interpreter starts while the slot waits for work.

    Nothing of a candidate is in them, and every evaluation still has sandboxes of its own. They are launched and
    removed by the thread that serves the slot: a sandbox dies with the thread that launched it.
    """

    def __init__(self, most: int = 1) -> None:
        """``most``: of a slot. With two, one starts while another one is in use."""
        self._most = most
        self._waiting: dict[int, deque[SandboxProcess]] = {}

    def start(self, launcher: SandboxLauncher[Any]) -> None:
        """Start those that are missing for the launcher's slot. Without effect where none can be started."""
        waiting = self._waiting.setdefault(launcher.slot.index, deque())
        while len(waiting) < self._most:
            process = launcher.launch("a sandbox started ahead", threading.Event())
            try:
                launcher.greet(process, {}, time.monotonic() + IMPORT_SECONDS)
            except Aborted:
                process.kill()
                return
            waiting.append(process)

    def take(self, slot: Slot) -> SandboxProcess | None:
        """Return the slot's sandbox that was started first, or None if none is waiting that still runs."""
        waiting = self._waiting.get(slot.index)
        while waiting:
            if (process := waiting.popleft()).running:
                return process
            process.kill()
        return None

    def remove(self, slot: Slot) -> None:
        """End the slot's sandboxes that are waiting."""
        for process in self._waiting.pop(slot.index, ()):
            process.kill()


@dataclass(frozen=True, kw_only=True)
class SandboxFactory(SandboxLauncher[AnyTask]):
    """Opens the sandboxes of one evaluation, one after another."""

    request: Request
    progress: Progress
    cancelled: threading.Event
    spares: SpareSandboxes | None = None
    """Sandboxes started ahead; None: each is launched when it is opened."""

    @contextlib.contextmanager
    def open(self, label: str, **words: object) -> Iterator[SandboxProcess]:
        """Yield a fresh, initialised sandbox: its packages are imported, the candidate is not yet.

        ``label`` names the sandbox in reasons; ``words`` go to the worker in its first message. Raises Aborted
        (``lost``) if the sandbox does not start.
        """
        spare = self.spares.take(self.slot) if self.spares is not None and not words else None
        process = spare or self.launch(label, self.cancelled)
        with process:
            try:
                with self.progress.phase("launch"):
                    process.assign(label, self.cancelled)
                    self._initialise(process, None if spare else words)
                yield process
            finally:
                process.measure_last()
                self.progress.cpu_seconds += process.usage.cpu_seconds
                self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, process.usage.peak_memory_mb)

    def _initialise(self, process: SandboxProcess, words: Mapping[str, object] | None) -> None:
        """Send the first message, unless it has been (None), and wait for readiness.

        The candidate has not run, so failures are the machine's.
        """
        deadline = time.monotonic() + IMPORT_SECONDS
        try:
            if words is not None:
                self.greet(process, words, deadline)
            process.receive(deadline=deadline, max_payload=0, late=f"it was not ready within {IMPORT_SECONDS:g} s")
        except Aborted as ended:
            raise Aborted("lost", f"the sandbox did not start: {ended.reason}") from None
