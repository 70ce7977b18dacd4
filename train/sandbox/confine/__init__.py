"""Restrictions that a process applies to itself before it runs a candidate: limits, a system call filter, no keyring.

This package is staged beside the worker and runs inside a sandbox: it imports only the standard library. Neither the
process nor its children can undo the restrictions. Without a sandbox (tier ``none``) only the limits apply: that tier
promises nothing.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as signal, which imports enum for names of numbers
import os
import resource
import sys

from .filters import FilterOptions, install
from .system import process_control, system_call

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TASKS_BEFORE = "TREEWRIGHT_TASKS_BEFORE"
"""Set by the keeper if a candidate shares its user: the number of processes and threads that this user had before."""

_DESCRIPTORS = 4096
_PENDING_SIGNALS = 256
_PR_SET_PDEATHSIG = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}  # system call numbers
_KEYCTL_JOIN_SESSION_KEYRING = 1


def confine(hello: Mapping[str, Any], tier: str) -> None:
    """Apply the limits of ``hello``. The worker calls it at the start, before the candidate is imported.

    ``tier``: the sandbox around this process, as in ``train.sandbox.base``. ``hello["cores"]``, if given: cores to run
    on. ``hello["judged"]``, if true: no process, pipe or socket can be made from here on;
    ``hello["hide_machine"]``: numbers of the whole machine are refused. Raises
    ``filters.Unconfinable`` if the kernel lacks a feature; nothing may run then.
    """
    if cores := hello.get("cores"):
        os.sched_setaffinity(0, cores)  # the filter forbids it later
    shared_user = _limit(hello)
    _isolate(hello)
    if tier != "none":
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # the filter keeps it so
        _limit_priorities()
        alone = tier == "bwrap"
        install(
            FilterOptions(
                unmapped_memory=hello["device"] == "cpu",
                sockets=not alone,
                other_processes=not alone,
                metadata=shared_user,
                judged=hello.get("judged", False),
                machine_numbers=hello.get("hide_machine", False),
                shared_waits=hello.get("hide_machine", False),
            )
        )


def confine_as_judged(device: str) -> None:
    """Make no process, pipe or socket from here on, as in the sandboxes that judge.

    For the checks of ``predict`` after a training, whose code has run in this process before: it serves honest
    programs by an early error. Where a program is judged, ``confine`` does it before the program is imported.
    """
    install(FilterOptions(unmapped_memory=device == "cpu", judged=True))


def _end_with(parent: int) -> None:
    """End this process within a second of its parent, for systems without PR_SET_PDEATHSIG."""
    import time

    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _limit(hello: Mapping[str, Any]) -> bool:
    """Set resource limits; return whether this process's user has other processes and files, too."""
    # The process limit is set here, inside the user namespace, so that it counts this sandbox's processes only.
    # One byte, not zero: if cores are piped to a program of the machine, zero would be no limit (see core(5)).
    _lower_limit(resource.RLIMIT_CORE, 1)
    _lower_limit(resource.RLIMIT_FSIZE, hello["file_bytes"])
    before = os.environ.pop(TASKS_BEFORE, None)
    if hello["processes"]:
        _limit_processes(hello["processes"], before)
    return before is not None


def _limit_processes(processes: int, before: str | None) -> None:
    """Limit the number of processes. ``before``: see TASKS_BEFORE; None if this user has no other processes."""
    if before is None:
        _lower_limit(resource.RLIMIT_NPROC, processes)
        return
    import threading

    kept = resource.getrlimit(resource.RLIMIT_NPROC)
    soft = processes + int(before) + 8  # the count may be slightly outdated
    resource.setrlimit(resource.RLIMIT_NPROC, (soft if kept[1] < 0 else min(soft, kept[1]), kept[1]))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        # Invisible processes of this user (another container's) count, too, so no limit can be set.
        resource.setrlimit(resource.RLIMIT_NPROC, kept)
        return
    _lower_limit(resource.RLIMIT_NPROC, soft)


def _lower_limit(limit: int, value: int) -> None:
    """Lower a limit irreversibly; a lower one stays."""
    hard = resource.getrlimit(limit)[1]
    value = value if hard < 0 else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _limit_priorities() -> None:
    """Forbid higher priorities and message queues, and limit open descriptors and pending signals.

    A descriptor can hold kernel memory (a pipe, a pair of sockets), which only a memory group counts.
    """
    for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO, resource.RLIMIT_MSGQUEUE):
        _lower_limit(limit, 0)
    _lower_limit(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    if hasattr(resource, "RLIMIT_SIGPENDING"):  # counted for a user, whose limit the sandboxes must not reach together
        _lower_limit(resource.RLIMIT_SIGPENDING, _PENDING_SIGNALS)


def _isolate(hello: Mapping[str, Any]) -> None:
    """Leave the login session's keyring, which two sandboxes could share, and tie this process to its parent's life."""
    parent = hello["die_with"]
    if not sys.platform.startswith("linux"):
        if parent is not None:
            import threading

            threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        return
    if number := _KEYCTL.get(os.uname().machine):
        system_call(number, _KEYCTL_JOIN_SESSION_KEYRING, None)  # joins a new one; fails only if there are none
    if parent is not None:  # no sandbox ends this process with its parent
        process_control(_PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
