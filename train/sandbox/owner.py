"""Whose a temporary thing is: what a killed search leaves is cleaned up by the next, and nothing of a living one.

A name carries the boot of the machine, the process namespace, and the number and birth of the process that made it:
a number alone is given again, and means nothing on another machine or in another container that shares the folder.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Literal

import psutil

Fate = Literal["alive", "dead", "unknown"]
"""``unknown``: of another boot, machine or container."""

_NAME = re.compile(r"([0-9a-z]+)-([0-9]+)-([0-9]+)(?:-|$)")


def tag() -> str:
    """Three parts joined by dashes, the same for as long as this process lives."""
    return f"{_place()}-{os.getpid()}-{_birth(os.getpid())}"


def fate(name: str) -> Fate | None:
    """What has become of the process whose ``tag`` the name begins with; more may follow behind a dash.

    None: the name begins with no tag. Whatever bears it is none of ours.
    """
    if (found := _NAME.match(name)) is None:
        return None
    if found[1] != _place():
        return "unknown"
    return "alive" if str(_birth(int(found[2]))) == found[3] else "dead"


@functools.cache
def _place() -> str:
    """Boot and process namespace, as one word."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:  # a kernel without it
        boot = "boot"
    try:
        return f"{boot}{os.stat('/proc/self/ns/pid').st_ino:x}"
    except OSError:  # no process namespaces, as on macOS
        return boot


def _birth(process: int) -> int | None:
    """When it was started, in clock ticks since the machine was (no wall clock, which can be set); None if gone.

    Where there is no /proc, by the wall clock, in seconds.
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
