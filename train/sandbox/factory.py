"""Opens the sandboxes of one evaluation: launched on the slot's cores, initialised, and measured while they run."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from archive.records import Request
from train.hardware.slots import Slot, pinned
from train.progress import Progress
from train.sandbox.abort import Aborted
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.process import SandboxProcess

_LAUNCH_SECONDS = 120.0  # for a sandbox to import its packages, from a cold disk too


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


@dataclass(frozen=True)
class SandboxFactory(Generic[AnyTask]):
    """Opens the sandboxes of one evaluation, one after another."""

    task: AnyTask
    sandbox: Sandbox
    request: Request
    slot: Slot
    stage: Path
    """Holds ``library/`` and ``candidate/``; see ``train.sandbox.base``."""
    progress: Progress
    cancelled: threading.Event
    groups: MemoryGroups | None = None
    """Creates memory groups; None: memory is measured. See ``train.sandbox.process``."""
    hello: Mapping[str, object] = field(default_factory=dict)
    """What the worker is told of the task in its first message."""

    @contextlib.contextmanager
    def open(self, label: str, **words: object) -> Iterator[SandboxProcess]:
        """Yield a fresh, initialised sandbox: its packages are imported, the candidate is not yet.

        ``label`` names the sandbox in reasons; ``words`` go to the worker in its first message. Raises Aborted
        (``lost``) if the sandbox does not start.
        """
        limits, slot = self.task.limits, self.slot
        ours, theirs = socket.socketpair()
        inside = self.sandbox.wrap(self.stage, theirs.fileno(), slot, limits.scratch_mb)
        with pinned(slot.cores):
            process = SandboxProcess(
                inside.command,
                inside.environment,
                ours,
                theirs,
                label=label,
                contained=self.sandbox.contained,
                memory_mb=limits.memory_mb,
                log_bytes=limits.log_kb * 1000,
                cancelled=self.cancelled,
                groups=self.groups,
            )
        with process:
            try:
                with self.progress.phase("launch"):
                    self._initialise(process, {**self._limits(), **self.hello, **words})
                yield process
            finally:
                self.progress.cpu_seconds += process.usage.cpu_seconds
                self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, process.usage.peak_memory_mb)

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

    def _initialise(self, process: SandboxProcess, hello: dict[str, object]) -> None:
        """Send the first message and wait for readiness. The candidate has not run, so failures are the machine's."""
        deadline = time.monotonic() + _LAUNCH_SECONDS
        try:
            process.send(hello, deadline=deadline)
            process.receive(deadline=deadline, max_payload=0, late=f"it was not ready within {_LAUNCH_SECONDS:g} s")
        except Aborted as ended:
            raise Aborted("lost", f"the sandbox did not start: {ended.reason}") from None
