"""Tags in the names of temporary files that identify the process that made them.

A search removes what a killed search has left, and nothing of a living one. A tag holds the machine's boot, the process
namespace, and the process's number and start time: a number alone is reused, and is meaningless on another machine or
in another container that shares the folder.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Literal

import psutil

Status = Literal["alive", "dead", "unknown"]
"""``unknown``: of another boot, machine or container."""

_NAME = re.compile(r"([0-9a-z]+)-([0-9]+)-([0-9]+)(?:-|$)")


def tag() -> str:
    """Return this process's tag: three parts joined by dashes, constant while it lives."""
    return f"{_place()}-{os.getpid()}-{_birth(os.getpid())}"


def status(name: str) -> Status | None:
    """Return whether the process still lives whose ``tag`` begins ``name``; more may follow after a dash.

    None: the name begins with no tag, so it is not Treewright's.
    """
    if (found := _NAME.match(name)) is None:
        return None
    if found[1] != _place():
        return "unknown"
    return "alive" if str(_birth(int(found[2]))) == found[3] else "dead"


@functools.cache
def _place() -> str:
    """Return boot and process namespace as one word."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:  # a kernel without it
        boot = "boot"
    try:
        return f"{boot}{os.stat('/proc/self/ns/pid').st_ino:x}"
    except OSError:  # no process namespaces, as on macOS
        return boot


def _birth(process: int) -> int | None:
    """Return a process's start in clock ticks since boot, which setting the clock does not change; None if it is gone.

    Without /proc: seconds of the wall clock.
    """
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        if os.path.exists("/proc/self/stat"):
            return None
    try:
        return int(psutil.Process(process).create_time())
    except psutil.Error:
        return None
