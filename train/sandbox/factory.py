"""Opens the sandboxes of one evaluation: launched on the slot's cores, initialised, and measured while they run."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archive.records import Request
from prepare.language_model import LanguageModelTask
from prepare.session import candidate_seed
from train.hardware.slots import Slot, pinned
from train.progress import Progress
from train.sandbox.abort import Aborted
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.process import SandboxProcess

_LAUNCH_SECONDS = 120.0  # for a sandbox to import its packages, from a cold disk too


@dataclass(frozen=True)
class SandboxFactory:
    """Opens the sandboxes of one evaluation, one after another."""

    task: LanguageModelTask
    sandbox: Sandbox
    request: Request
    slot: Slot
    stage: Path
    """Holds ``library/`` and ``candidate/``; see ``train.sandbox.base``."""
    progress: Progress
    cancelled: threading.Event
    groups: MemoryGroups | None = None
    """Creates memory groups; None: memory is measured. See ``train.sandbox.process``."""

    @contextlib.contextmanager
    def open(self, label: str, mode: str, **words: object) -> Iterator[SandboxProcess]:
        """Yield a fresh, initialised sandbox: its packages are imported, the candidate is not yet.

        ``label`` names the sandbox in reasons; ``mode`` and ``words`` go to the worker in its first message. Raises
        Aborted (``lost``) if the sandbox does not start.
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
                    self._initialise(process, {"mode": mode, **self._hello(), **words})
                yield process
            finally:
                self.progress.cpu_seconds += process.usage.cpu_seconds
                self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, process.usage.peak_memory_mb)

    def _hello(self) -> dict[str, object]:
        """Return the part of the first message that is the same for every mode of the worker."""
        task, slot = self.task, self.slot
        return {
            "threads": slot.threads,
            "seed": candidate_seed(self.request.seed),
            "seconds": task.seconds,
            "clock_cores": slot.width if task.clock_on(slot.device) == "cpu" else 0,
            "task": {"vocab": task.vocab, "context": task.context, "device": slot.device},
            "processes": task.limits.processes if self.sandbox.contained else 0,
            "die_with": None if self.sandbox.contained else os.getpid(),
            "file_bytes": task.limits.scratch_mb * 1_000_000,
        }

    def _initialise(self, process: SandboxProcess, hello: dict[str, object]) -> None:
        """Send the first message and wait for readiness. The candidate has not run, so failures are the machine's."""
        deadline = time.monotonic() + _LAUNCH_SECONDS
        try:
            process.send(hello, deadline=deadline)
            process.receive(deadline=deadline, max_payload=0, late=f"it was not ready within {_LAUNCH_SECONDS:g} s")
        except Aborted as ended:
            raise Aborted("lost", f"the sandbox did not start: {ended.reason}") from None
