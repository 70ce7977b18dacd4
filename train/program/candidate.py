"""Access of the scorer to a candidate's sandboxes, and the parts that all candidates of a task share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from archive.records import Request
from prepare.program import ProgramTask
from train.hardware.slots import Slot
from train.program.build import Builds
from train.program.sandboxes import CandidateFile, CandidateSandbox, CandidateSandboxes
from train.progress import Progress
from train.sandbox.base import Sandbox, SandboxUnavailable, folder_seen, stage_library
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.factory import SandboxFactory, SandboxLauncher, SpareSandboxes
from train.sandbox.fork_server import ForkServers
from train.sandbox.stage import new_stage, remove_stale_stages

_WORKER = Path(__file__).with_name("worker.py")
_MODULES = ("wire", "values", "paths", "json_text")
"""Modules of ``prepare`` that the worker imports."""


class CandidateHost:
    """The staged library, the read-only files and the builds, which all candidates of one task share."""

    def __init__(self, task: ProgramTask, sandbox: Sandbox, groups: MemoryGroups | None) -> None:
        """Stage the library.

        Raises TaskError for unusable files of the task, SandboxUnavailable if candidates could read its folder.
        """
        _refuse_leaks(task, sandbox)
        self.task = task
        self.sandbox = sandbox
        self._groups = groups
        self._main_file = next(iter(task.seed_files()))
        self._readonly = {name: CandidateFile.of(data) for name, data in task.readonly_files().items()}
        self._builds = Builds(task.build) if task.build is not None else None
        # A further sandbox that starts beside a candidate takes a part of its core: no score may depend on that.
        self._spares = SpareSandboxes(most=2 if task.deterministic else 1)
        self._kept: set[int] = set()  # indices of slots
        self._forks = ForkServers(sandbox, groups, _stage)
        remove_stale_stages(sandbox)
        self._folder = new_stage(sandbox)
        _stage(self._stage)

    @property
    def _stage(self) -> Path:
        return Path(self._folder.name)

    def close(self) -> None:
        """Remove the staged library."""
        self._folder.cleanup()

    def sandboxes(
        self, request: Request, slot: Slot, progress: Progress, cancelled: threading.Event
    ) -> CandidateSandboxes:
        """Return the sandboxes of one evaluation of ``request.files``, built if the task builds. Raises Aborted."""
        files = {**self._readonly, **{name: CandidateFile.of(text) for name, text in request.files.items()}}
        factory: SandboxFactory[ProgramTask] = SandboxFactory(
            **vars(self._launcher(slot)), request=request, progress=progress, cancelled=cancelled, spares=self._spares
        )
        if self._builds is not None:
            files = {**files, **self._builds.built(factory, files)}
        return CandidateSandboxes(factory, files, self._main_file)

    def keep_spare(self, slot: Slot) -> None:
        """Have ``start_ahead`` start sandboxes for a slot, if they need nothing of the candidate to start."""
        if self.sandbox.contained is True:
            self._kept.add(slot.index)
        self._forks.start(slot)

    def start_ahead(self, slot: Slot) -> None:
        """Start the slot's next sandbox, if that is wanted."""
        if slot.index in self._kept:
            self._spares.start(self._launcher(slot))

    def remove_spare(self, slot: Slot) -> None:
        """End the sandbox that waits for the slot's next evaluation, and start no more."""
        self._kept.discard(slot.index)
        self._spares.remove(slot)
        self._forks.end(slot)

    def _launcher(self, slot: Slot) -> SandboxLauncher[ProgramTask]:
        hello = {"output_bytes": int(self.task.limits.output_mb * 1e6)}
        return SandboxLauncher(
            task=self.task,
            sandbox=self.sandbox,
            slot=slot,
            stage=self._stage,
            groups=self._groups,
            forks=self._forks,
            hello=hello,
        )


def _stage(folder: Path) -> None:
    """Fill a folder as for a sandbox, without files of a candidate."""
    stage_library(folder, _WORKER, _MODULES)
    (folder / "candidate").mkdir(mode=0o755)


def _refuse_leaks(task: ProgramTask, sandbox: Sandbox) -> None:
    """Raise SandboxUnavailable if the scorer or hidden data lie in a folder that the sandbox mounts."""
    for path in task.secret_paths():
        if (folder := folder_seen(sandbox, path)) is not None:
            raise SandboxUnavailable(
                f"{path} is hidden from candidates, and they can read {folder}. Copy the task's folder "
                "elsewhere, and use task=./FOLDER."
            )


class Candidates:
    """The sandboxes that a scorer uses for one candidate. A context manager: on leaving, all of them have ended."""

    def __init__(self, own: CandidateSandboxes, baseline: CandidateSandboxes, start_ahead: Callable[[], None]) -> None:
        """``baseline``: of the seed program, whose seconds do not count.

        ``start_ahead`` starts a sandbox for the slot's next evaluation, while those of this one end.
        """
        self._own = own
        self._baseline = baseline
        self._start_ahead = start_ahead
        self._current: CandidateSandbox | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Candidates:
        return self

    def __exit__(self, *_: object) -> None:
        if self._current is not None:
            self._current.begin_kill()
            self._start_ahead()
        self.restart()

    @property
    def current(self) -> CandidateSandbox:
        """Return the sandbox of ordinary calls, opened when it is first used. Raises Aborted."""
        if self._current is None:
            self._own.require_seconds()
            self._current = self._opened.enter_context(self._own.open())
        return self._current

    def restart(self) -> None:
        """End the sandbox of ordinary calls; the next call opens another."""
        self._current = None
        self._opened.close()

    def fresh(self, *, baseline: bool) -> AbstractContextManager[CandidateSandbox]:
        """Open a further sandbox with the candidate or the seed program in it."""
        return (self._baseline if baseline else self._own).open()
