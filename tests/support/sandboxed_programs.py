"""A task of any program in a temporary folder, and the sandboxes of its candidates."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from archive.records import Request
from prepare.program import ProgramLimits, ProgramTask, Workspace
from prepare.task import Metric
from prepare.values import pack, unpack
from train.hardware.slots import Slot
from train.program.candidate import CandidateHost
from train.program.sandboxes import CandidateSandbox
from train.progress import Progress
from train.sandbox.base import Sandbox
from train.sandbox.cgroup import find_groups

SLOT = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
LIMITS = ProgramLimits(memory_mb=200, scratch_mb=20, output_mb=0.1, startup_seconds=10.0)

Start = Callable[..., AbstractContextManager[CandidateSandbox]]


def ask(sandbox: CandidateSandbox, function: str, *args: Any, **options: Any) -> Any:
    """Call a function with values, as a scorer does; return its value."""
    return unpack(sandbox.call(function, pack({"args": list(args), "kwargs": {}}), **options))


def make_task(folder: Path, **changes: Any) -> ProgramTask:
    (folder / "pack.py").write_text("def pack(n):\n    return n\n")
    (folder / "score.py").write_text("def score(candidate, case):\n    return 1.0\n")
    values: dict[str, Any] = {"seconds": 3.0, "limits": LIMITS, "workspace": Workspace(["pack.py"]), **changes}
    return ProgramTask("toy", str(folder), Metric("m", "maximise"), scorer="score.py", **values)


def starter(task: ProgramTask, sandbox: Sandbox, progress: Progress) -> Iterator[Start]:
    host = CandidateHost(task, sandbox, find_groups())

    def start(code: str = "", files: dict[str, str] | None = None) -> AbstractContextManager[CandidateSandbox]:
        request = Request("node", "run", 0, {"pack.py": code, **(files or {})}, 1, "screen")
        return host.sandboxes(request, SLOT, progress, threading.Event()).open()

    yield start
    host.close()
