"""Checkpoints by time: a row is in the file itself, not only in the log beside it, a while after its commit.

DuckDB alone checkpoints when the log has grown to 16 MB or on closing, which can be a night later; whoever copies only
the file until then copies an archive without its rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Checkpoints:
    """Calls ``checkpoint`` in a thread, ``seconds`` after the first commit since the last one."""

    def __init__(self, checkpoint: Callable[[], bool], seconds: float) -> None:
        """``checkpoint``: returns False if it was not possible now; it is tried again ``seconds`` later."""
        self._checkpoint = checkpoint
        self._seconds = seconds
        self._committed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Note that there are new rows."""
        self._committed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="archive-checkpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for a checkpoint that is being made; none is begun any more."""
        self._closing.set()
        self._committed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._committed.wait()
            if self._closing.wait(self._seconds):
                return
            self._committed.clear()
            if not self._checkpoint():
                self._committed.set()
