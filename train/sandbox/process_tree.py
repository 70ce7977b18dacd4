"""Descendants of a process, from the kernel's lists of children: 1% of the cost of reading all of /proc.

Checks run many times a second on the cores of the candidate, so their cost reduces its compute.
"""

from __future__ import annotations

import contextlib
import os

import psutil


def descendants(process: psutil.Process, *, deep: bool = True) -> list[psutil.Process]:
    """Return the living descendants of ``process``, parents first; its children alone unless ``deep``.

    One may be missed while its sibling ends, until the next check.

    Raises psutil.NoSuchProcess if the process is gone. Source: proc(5), ``/proc/PID/task/TID/children``, which not
    every kernel has; without it, psutil is asked.
    """
    if not os.path.exists(f"/proc/{process.pid}/task/{process.pid}/children"):
        found: list[psutil.Process] = process.children(recursive=deep)
        return found
    waiting, known = [process.pid], {process.pid: None}
    while waiting:
        for child in _children(waiting.pop()):
            if child not in known:
                known[child] = None
                waiting += [child] if deep else []
    found = []
    for number in list(known)[1:]:
        with contextlib.suppress(psutil.Error):  # ended meanwhile
            found.append(psutil.Process(number))
    return found


def _children(number: int) -> list[int]:
    """Return the children of all threads of a process; none if it is gone."""
    try:
        threads = os.listdir(f"/proc/{number}/task")
    except OSError:
        return []
    children: list[int] = []
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{number}/task/{thread}/children") as file:
            children += map(int, file.read().split())
    return children
