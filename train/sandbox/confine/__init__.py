"""What a process takes upon itself before it runs a candidate: limits, a system call filter, no keyring.

This package is staged beside the worker and runs inside a sandbox: it imports the standard library and nothing of
ours. What is done here cannot be undone by the process or by anything that it starts. A tier without a sandbox
(``none``) gets the limits alone: it promises nothing.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from .filters import Strictness, install

TASKS_BEFORE = "TREEWRIGHT_TASKS_BEFORE"
"""Set by the keeper where a candidate shares its user with others: how many processes and threads these had."""

_DESCRIPTORS = 4096
_PR_SET_PDEATHSIG = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}  # the number of the system call
_KEYCTL_JOIN_SESSION_KEYRING = 1


def confine(hello: Mapping[str, Any], tier: str) -> None:
    """Take up the limits of ``hello``: called by the worker right after it came, before the candidate is imported.

    ``tier``: the sandbox around this process, as ``train.sandbox.base`` calls it. ``hello["cores"]``, if there, are the
    cores to stay on. Raises ``filters.Unconfinable`` where the kernel cannot do it: nothing is run then.
    """
    if cores := hello.get("cores"):
        os.sched_setaffinity(0, cores)  # not allowed any more once the filter is there
    shared_user = _limit(hello)
    _part(hello)
    if tier != "none":
        _be_modest()
        alone = tier == "bwrap"
        install(
            Strictness(
                unmapped_memory=hello["task"]["device"] == "cpu",
                sockets=not alone,
                other_processes=not alone,
                metadata=shared_user,
            )
        )


def _end_with(parent: int) -> None:
    """End this process soon after its parent, where the system does not see to it."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _limit(hello: Mapping[str, Any]) -> bool:
    """Resource limits; returns whether the user of this process has other processes and files, too."""
    # The processes' limit is set here, inside the user namespace, so that it counts this sandbox's alone.
    # One byte and not none: where cores are piped to a program of the machine, none would be no limit (see core(5)).
    _at_most(resource.RLIMIT_CORE, 1)
    _at_most(resource.RLIMIT_FSIZE, hello["file_bytes"])
    before = os.environ.pop(TASKS_BEFORE, None)
    if hello["processes"]:
        _limit_processes(hello["processes"], before)
    return before is not None


def _limit_processes(processes: int, before: str | None) -> None:
    """``before``: see TASKS_BEFORE. None if this user has no other processes."""
    if before is None:
        _at_most(resource.RLIMIT_NPROC, processes)
        return
    kept = resource.getrlimit(resource.RLIMIT_NPROC)
    soft = processes + int(before) + 8  # the count is a moment old
    resource.setrlimit(resource.RLIMIT_NPROC, (soft if kept[1] < 0 else min(soft, kept[1]), kept[1]))
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        # Processes that cannot be seen from here (another container's) count for this user, too: no limit can be set.
        resource.setrlimit(resource.RLIMIT_NPROC, kept)
        return
    _at_most(resource.RLIMIT_NPROC, soft)


def _at_most(limit: int, value: int) -> None:
    """Lower a limit for good; one that is lower already stays."""
    hard = resource.getrlimit(limit)[1]
    value = value if hard < 0 else min(value, hard)
    resource.setrlimit(limit, (value, value))


def _be_modest() -> None:
    """No better share of the machine than the slot's, whatever this user may otherwise do; few descriptors, no queues.

    Every descriptor can hold memory of the kernel (a pipe, a pair of sockets), which only a memory group counts.
    """
    for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO, resource.RLIMIT_MSGQUEUE):
        _at_most(limit, 0)
    _at_most(resource.RLIMIT_NOFILE, _DESCRIPTORS)


def _part(hello: Mapping[str, Any]) -> None:
    """Cut what a sandbox inherits besides: the keyring of the login session, which two sandboxes could share."""
    parent = hello["die_with"]
    if not sys.platform.startswith("linux"):
        if parent is not None:
            threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        return
    system = ctypes.CDLL(None, use_errno=True)
    if number := _KEYCTL.get(platform.machine()):
        system.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)  # a new one; where it is refused there is none
    if parent is not None:  # no sandbox that would see to it
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
