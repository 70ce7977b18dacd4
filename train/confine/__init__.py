"""What a process takes upon itself before it runs a candidate: limits, no keyring, no life without its parent.

This package is staged beside the worker and runs inside a sandbox: it imports the standard library and nothing of
ours. What is done here cannot be undone by the process or by anything that it starts.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from collections.abc import Mapping
from typing import Any

_PR_SET_PDEATHSIG = 1
_KEYCTL = {"x86_64": 250, "aarch64": 219}  # the number of the system call
_KEYCTL_JOIN_SESSION_KEYRING = 1


def confine(hello: Mapping[str, Any], tier: str) -> None:
    """Take up the limits of ``hello``: called by the worker right after it came, before the candidate is imported.

    ``tier``: the sandbox around this process, as ``train.sandbox`` calls it.
    """
    _limit(hello)
    _part(hello)


def _limit(hello: Mapping[str, Any]) -> None:
    # The processes' limit is set here, inside the user namespace, so that it counts this sandbox's alone.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hello["file_bytes"], hello["file_bytes"]))
    if hello["processes"]:
        resource.setrlimit(resource.RLIMIT_NPROC, (hello["processes"], hello["processes"]))


def _part(hello: Mapping[str, Any]) -> None:
    """Cut what a sandbox inherits besides: the keyring of the login session, which two sandboxes could share."""
    system = ctypes.CDLL(None, use_errno=True)
    if number := _KEYCTL.get(platform.machine()):
        system.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None)  # a new one; where it is refused there is none
    if (parent := hello["die_with"]) is not None:  # no sandbox that would see to it
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
