"""Early ends of a sandboxed process: ``Aborted``, and explanations of exit statuses for the author of a program."""

from __future__ import annotations

import signal

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
