"""A process whose parent has ended, for the tests of what must end with its parent."""

from __future__ import annotations

import subprocess
import sys

import psutil
from launching import HOUSE
from underway import until

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
"""


def orphan(code: str) -> tuple[int, str]:
    """Run Python ``code`` in a child of a process that ends when it has printed a line: its number, and the line."""
    words = [sys.executable, "-c", _PARENT, code]
    done = subprocess.run(words, cwd=HOUSE, capture_output=True, text=True, timeout=120, check=False)
    number, _, said = done.stdout.strip().partition(" ")
    assert said, done.stderr
    return int(number), said.strip()


def ends(number: int) -> None:
    """The process ends, after a moment."""
    until(lambda: not _lives(number), 30)


def _lives(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
