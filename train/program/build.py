"""Builds of candidates: the task's command runs in a sandbox of its own; its outputs are cached by its inputs."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

from prepare.program import ProgramTask
from prepare.scorer import Completed
from train.program.sandboxes import CandidateFile, CandidateSandboxes
from train.progress import Progress
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory
from train.sandbox.log import cleaned

_MOST_BYTES = 64_000_000
"""Built files that are kept in memory."""
_LINES = 3
"""Of a compiler's errors in a reason."""

Files = Mapping[str, CandidateFile]


class Builds:
    """The builds of one evaluator, the last ones kept. Thread-safe."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._kept: OrderedDict[str, Files] = OrderedDict()
        self._lock = threading.Lock()

    def built(self, factory: SandboxFactory[ProgramTask], files: Files) -> Files:
        """Return the files that the command makes or changes. Raises Aborted, ``crashed`` if the command fails."""
        key = _digest(self._command, files)
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
        with factory.progress.phase("build"):
            made = self._build(factory, files)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and sum(map(_size, self._kept.values())) > _MOST_BYTES:
                self._kept.popitem(last=False)
        return made

    def _build(self, factory: SandboxFactory[ProgramTask], files: Files) -> Files:
        own = replace(factory, progress=Progress())  # its seconds are not the evaluation's
        sandboxes = CandidateSandboxes(own, files, "the build", factory.task.limits.build_seconds)
        with sandboxes.open() as sandbox:
            done = sandbox.run(["/bin/sh", "-c", self._command])
            if done.status != 0:
                factory.progress.log = (done.stdout + done.stderr).decode("utf-8", "replace")[-_log_bytes(factory) :]
                raise Aborted("crashed", _reason(done))
            return sandbox.changes()


def _log_bytes(factory: SandboxFactory[ProgramTask]) -> int:
    return factory.task.limits.log_kb * 1000


def _reason(done: Completed) -> str:
    """Return the last error lines of the compiler, or else the last lines of its output."""
    lines = [line for part in (done.stdout, done.stderr) for line in part.decode("utf-8", "replace").splitlines()]
    errors = [line for line in lines if "error" in line.lower()] or [line for line in lines if line.strip()]
    return f"the build failed with exit status {done.status}: {'; '.join(map(cleaned, errors[-_LINES:]))}"


def _digest(command: str, files: Files) -> str:
    digest = hashlib.sha256(command.encode())
    for name, file in sorted(files.items()):
        digest.update(f"\0{name}\0{file.executable}\0{hashlib.sha256(file.data).hexdigest()}".encode())
    return digest.hexdigest()


def _size(files: Files) -> int:
    return sum(len(file.data) for file in files.values())
