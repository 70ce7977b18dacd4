"""The interface of what looks on, and the thread in which it works, so that a slow or broken one stops no search."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Protocol

from archive.records import Evaluation
from prepare.output import printable
from search.run.controller import RunController, RunResult

PATIENCE = 40.0
"""Seconds to wait, at the end of a session, for what has been handed over."""


class Observer(Protocol):
    """Is told of a session what has been recorded. ``landed`` returns at once."""

    def landed(self, controller: RunController, evaluation: Evaluation) -> None:
        """Take note of a recorded evaluation."""
        ...

    def ended(self, controller: RunController, result: RunResult, failed: bool) -> None:
        """Take note of the end of the session, and finish. ``failed``: by an error, whose message is the reason."""
        ...


class ObserverThread:
    """A thread that does what is handed over, in order. What raises is told to ``note``, and ends the work."""

    def __init__(self, name: str, note: Callable[[str], None]) -> None:
        self._name = name
        self._note = note
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._over = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def hand(self, task: Callable[[], None]) -> None:
        """Do ``task`` after those handed over before."""
        self._tasks.put(task)

    def note(self, words: str) -> None:
        """Record words of the thread as an event, unless it was left behind: the archive may be closed then."""
        if not self._over:
            self._note(words)

    def finish(self, patience: float = PATIENCE) -> None:
        """Wait until all is done. What takes longer than ``patience`` seconds is left behind."""
        self._tasks.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self.note(f"{self._name} has not finished within {patience:g} seconds and is left behind")
        self._over = True

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None and not self._over:
            try:
                task()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - of other people's libraries: it becomes an event
                self.note(printable(f"{self._name} failed and is left alone: {type(error).__name__}: {error}")[:600])
                self._over = True
