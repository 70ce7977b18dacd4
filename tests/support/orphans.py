"""A process whose parent has ended, for the tests of what must end with its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile

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
    with tempfile.TemporaryFile("w+") as errors:  # no pipe: the child has it too, and it would be read to its end
        done = subprocess.run(words, cwd=HOUSE, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=120)
        number, _, said = done.stdout.strip().partition(" ")
        errors.seek(0)
        assert said, errors.read()
    return int(number), said.strip()


def ends(number: int, seconds: float = 30.0) -> None:
    """The process ends, after a moment; it is ended where it does not."""
    try:
        until(lambda: not _lives(number), seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _lives(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
