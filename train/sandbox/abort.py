"""Early ends of a sandboxed process: ``Aborted``, and explanations of exit statuses for the author of a program."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from typing import Any

from archive.records import Outcome


class Aborted(Exception):
    """The process ended, or was ended, before it completed its task.

    ``violation``: no honest mistake looks like this (see ``archive.records.Failed``).
    """

    def __init__(self, outcome: Outcome, reason: str, violation: bool = False) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.violation = violation


def failure(error: Exception) -> dict[str, Any]:
    """Return the fields of the failed evaluation that an exception ends (``archive.records.Failed``).

    An OSError is a failure of the machine (full disk, no process available), and any other exception a defect of ours,
    recorded with its stack: neither is the candidate's fault, and the search goes on.
    """
    if isinstance(error, Aborted):
        return {"outcome": error.outcome, "reason": error.reason, "violation": error.violation}
    if isinstance(error, OSError):
        return {"outcome": "lost", "reason": f"the machine could not run it: {error}"}
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = (
        f"the evaluator itself failed to judge it ({type(error).__name__} in {Path(last.filename).name}, line "
        f"{last.lineno}), which is a defect of Treewright: please report it, with what `python -m archive events` shows"
    )
    # The exception's message is left out, since it may quote what a candidate sent.
    stack = "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
    return {"outcome": "invalid", "reason": reason, "defect": stack}


def aborted_by_exit(label: str, status: int, error: str, *, namespaced: bool) -> Aborted:
    """Explain an unexpected exit by its status and the error printed (``train.sandbox.log.error_line``).

    ``namespaced``: the process is the first of a process namespace. Signals from inside then appear as a positive
    status, so a negative one means that the sandbox was ended from outside.
    """
    if status < 0 and namespaced:
        return Aborted("lost", f"{label}: the sandbox was ended from outside, by {_signal_name(-status)}")
    if _mentions_memory(error):
        return Aborted("out_of_memory", f"{label}: {error}")
    if status < 0 or status > 128:
        signalled = _signal_name(-status if status < 0 else status - 128)
        return Aborted("crashed", f"{label}: it was ended by {signalled}")
    if status == 0:
        return Aborted("crashed", f"{label}: it exited without a result (exit status 0)")
    return Aborted("crashed", f"{label}: {error}" if error else f"{label}: exit status {status}")


def _signal_name(number: int) -> str:
    """Name a signal, with its usual cause."""
    hints = {
        signal.SIGKILL: " (perhaps by the kernel, for lack of memory)",
        signal.SIGSEGV: " (perhaps it wrote to the training data, which is read-only: clone what you change)",
        signal.SIGBUS: " (perhaps its scratch space in /tmp or /dev/shm is full)",
    }
    known = {int(each): each for each in signal.Signals}
    if (name := known.get(number)) is None:
        return f"signal {number}"
    return name.name + hints.get(name, "")


def _mentions_memory(line: str) -> bool:
    return line.startswith(("MemoryError", "torch.OutOfMemoryError")) or "can't allocate memory" in line
