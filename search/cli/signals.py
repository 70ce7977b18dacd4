"""Ctrl-C and SIGTERM, for every command that trains: the first asks for an end, the second does not wait for it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) sets ``stop``; the second one ends the process, whatever it waits for."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            _leave()
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave() -> None:
    """End at once. That is as safe as ``kill -9``: rows are durable, and a sandbox ends with the process it serves."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h")  # the live display has hidden the cursor
    os.write(sys.stderr.fileno(), b"\nEnded at once. Everything that was recorded is in the archive.\n")
    os._exit(130)
