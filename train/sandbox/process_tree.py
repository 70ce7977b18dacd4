"""The processes that descend from one: the kernel's own lists, which cost a hundredth of a walk through all of /proc.

A look is taken many times a second beside a training, on the same cores, so what it costs is taken from the training.
"""

from __future__ import annotations

import contextlib
import os

import psutil


def descendants(process: psutil.Process) -> list[psutil.Process]:
    """The living descendants of ``process``. A child may be missed while a sibling ends; the next look sees it.

    Raises psutil.NoSuchProcess if it is gone. Source of the lists: proc(5), ``/proc/PID/task/TID/children``, which not
    every kernel keeps.
    """
    if not os.path.exists(f"/proc/{process.pid}/task/{process.pid}/children"):
        found: list[psutil.Process] = process.children(recursive=True)
        return found
    waiting, known = [process.pid], {process.pid}
    while waiting:
        for child in _children(waiting.pop()):
            if child not in known:
                known.add(child)
                waiting.append(child)
    found = []
    for number in sorted(known - {process.pid}):
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            found.append(psutil.Process(number))
    return found


def _children(number: int) -> list[int]:
    """Of all threads of a process; none if it is gone."""
    try:
        threads = os.listdir(f"/proc/{number}/task")
    except OSError:
        return []
    children: list[int] = []
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{number}/task/{thread}/children") as file:
            children += map(int, file.read().split())
    return children
