"""Proposals of language models: made in threads, counted while they are pending, paused during an outage.

An operator that asks a language model takes seconds to minutes. ``ProposalPool`` runs it in a thread of its own and
hands the result to the engine's thread, which alone writes to the tree and the archive. How many proposals to have
pending follows from ``search/run/lookahead.py``.

The threads are daemons: a service that says nothing must not keep the process from ending.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Thread

from archive.records import Candidate, Propose
from operators.base import Context, NoCandidate, Operator
from search.run.lookahead import Lookahead, Outage

GRACE_SECONDS = 5.0
"""After a stop, silent calls are waited for this long; calls whose answer is arriving are waited for to their end."""
_ANNOUNCED_AFTER = 0.3
_SLICE = 0.05


@dataclass(frozen=True)
class PendingProposal:
    """A move whose operator is to make its candidate in a thread."""

    number: int
    """The move's number."""
    operator: Operator
    move: Propose
    context: Context


@dataclass(frozen=True)
class FinishedProposal:
    """The result of a pending proposal: a candidate, or the reason for none."""

    number: int
    result: Candidate | NoCandidate
    seconds: float
    """From start to end, repair turns included."""

    @property
    def unavailable(self) -> bool:
        """Whether the model's service could not answer, or the search was stopped before it was asked."""
        return isinstance(self.result, NoCandidate) and self.result.unavailable


def with_instructions(program: str, words: Sequence[str]) -> str:
    """Return the instructions of ``program.md`` with those that the user gave while the search ran."""
    if not words:
        return program
    listed = "\n".join(f"- {each}" for each in words)
    return f"{program.rstrip()}\n\nThe same person wrote while the search was running, the latest last:\n\n{listed}\n"


def propose(operator: Operator, move: Propose, context: Context) -> Candidate | NoCandidate:
    """Ask an operator for a candidate.

    An operator that raises on an unusual program yields ``NoCandidate``: raised again after every resume, the error
    would end the run for good.
    """
    try:
        return operator.propose(move, context)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        return NoCandidate(f"the operator {move.operator} failed on it: {type(error).__name__}: {str(error)[:300]}")


class ProposalPool:
    """Threads that make proposals. Its methods are called from the engine's thread alone."""

    def __init__(
        self,
        concurrency: int,
        lookahead: Lookahead | None,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """``wake``: called from a proposal's thread when it has finished. ``lookahead``: None to prepare none ahead."""
        self.outage = Outage()
        self._concurrency = concurrency
        self._lookahead = lookahead
        self._monotonic = monotonic
        self._wake = wake
        self._added: deque[PendingProposal] = deque()
        self._added_at: dict[int, float] = {}
        self._finished: queue.SimpleQueue[FinishedProposal | Exception] = queue.SimpleQueue()
        self._threads: list[Thread] = []
        self._stopped_at: float | None = None

    def __len__(self) -> int:
        """Pending proposals: added, and not yet returned by ``finished``."""
        return len(self._added_at)

    @property
    def paused(self) -> bool:
        """True while calls are suspended because the model's service could not answer."""
        return self.outage.paused(self._monotonic())

    @property
    def wanted_ahead(self) -> int:
        """Proposals to prepare beyond what free slots want, by the latencies measured so far."""
        if self._lookahead is None:
            return 0
        now = self._monotonic()
        return self._lookahead.wanted(max((now - since for since in self._added_at.values()), default=0.0))

    def has_room(self) -> bool:
        """Return whether one more proposal may be added now."""
        return len(self) < self._concurrency and self.outage.allows(self._monotonic(), len(self))

    def add(self, proposal: PendingProposal) -> None:
        """Count a proposal as pending. ``start`` begins it."""
        self._added_at[proposal.number] = self._monotonic()
        self._added.append(proposal)

    def start(self) -> None:
        """Start what was added, as far as ``concurrency`` allows; call it again when a proposal has finished.

        Call it after the commit: operators read the archive, which must hold their move.
        """
        while self._added and self._running() < self._concurrency:
            proposal = self._added.popleft()
            thread = Thread(target=self._run, args=(proposal,), name=f"proposal-{proposal.number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finished(self) -> Iterator[FinishedProposal]:
        """Return what has finished since the last call, without waiting. Raises unexpected errors of operators."""
        while not self._finished.empty():
            finished = self._finished.get()
            if isinstance(finished, Exception):
                raise finished
            self._added_at.pop(finished.number, None)
            self.outage.record(finished.unavailable, self._monotonic())
            yield finished

    def record_proposal(self, seconds: float, usable: bool) -> None:
        """Feed the lookahead: how long a proposal took, and whether it became a candidate."""
        if self._lookahead is not None:
            self._lookahead.record_proposal(seconds, usable)

    def record_evaluation(self, seconds: float) -> None:
        """Feed the lookahead: how long an evaluation occupied its slot."""
        if self._lookahead is not None:
            self._lookahead.record_evaluation(seconds)

    def close(self, stopped: Callable[[], bool], answering: Callable[[], int], announce: Callable[[int], None]) -> int:
        """Wait for running proposals, which are paid for; drop those that have not started.

        Closing again after a stop does not wait for the silent ones a second time.

        Args:
            stopped: Return whether the user has stopped the search; see ``GRACE_SECONDS``.
            answering: Count the calls whose answer is arriving.
            announce: Called once with the number of running proposals, if they are waited for.

        Returns the number of proposals that are still running and not waited for.
        """
        self._added.clear()
        began, announced = self._monotonic(), False
        while running := self._running():
            now = self._monotonic()
            if stopped():
                self._stopped_at = now if self._stopped_at is None else self._stopped_at
                if now - self._stopped_at >= GRACE_SECONDS and not answering():
                    return running
            if not announced and now - began >= _ANNOUNCED_AFTER:
                announced = True
                announce(running)
            self._threads[0].join(_SLICE)
        return 0

    def _running(self) -> int:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return len(self._threads)

    def _run(self, proposal: PendingProposal) -> None:
        began = self._monotonic()
        try:
            result = propose(proposal.operator, proposal.move, proposal.context)
            self._finished.put(FinishedProposal(proposal.number, result, self._monotonic() - began))
        except Exception as error:  # noqa: BLE001 - raised again by ``finished``, in the engine's thread
            self._finished.put(error)
        self._wake()
