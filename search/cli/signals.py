"""Ctrl-C and SIGTERM, for all commands that evaluate: the first requests an orderly stop, the second exits at once."""

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
    """Within this context, the first Ctrl-C (or SIGTERM) sets ``stop``, and the second ends the process at once."""

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
    """Exit at once. As safe as ``kill -9``: archive rows are durable, and sandboxes end with their parent process."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), b"\x1b[?25h")  # the live display has hidden the cursor
    os.write(sys.stderr.fileno(), b"\nEnded at once. All recorded evaluations are in the archive.\n")
    os._exit(130)
