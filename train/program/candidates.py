"""The sandboxes of one evaluation: one for the candidate's calls, replaced on request, and fresh ones for timings."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack

from train.program.candidate import CandidateSandbox, CandidateSandboxes


class Candidates:
    """The candidate, as the scorer asks for it. Use as a context manager: on leaving, all sandboxes have ended."""

    def __init__(self, own: CandidateSandboxes, baseline: CandidateSandboxes) -> None:
        """``baseline``: of the seed program, whose seconds do not count."""
        self._own = own
        self._baseline = baseline
        self._current: CandidateSandbox | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Candidates:
        return self

    def __exit__(self, *_: object) -> None:
        self.restart()

    @property
    def current(self) -> CandidateSandbox:
        """The sandbox of ordinary calls; opened when it is first used. Raises Aborted."""
        if self._current is None:
            self._current = self._opened.enter_context(self._own.open())
        return self._current

    def restart(self) -> None:
        """End the sandbox of ordinary calls; the next call opens another."""
        self._current = None
        self._opened.close()

    def fresh(self, *, baseline: bool) -> AbstractContextManager[CandidateSandbox]:
        """Open a sandbox of its own, of the candidate or of the seed program."""
        return (self._baseline if baseline else self._own).open()
