"""Proposals of language models: made in threads, counted while they are pending, paused during an outage.

An operator that asks a language model takes seconds to minutes. ``ProposalPool`` runs it in a thread of its own and
hands the result to the engine's thread, which alone writes to the tree and the archive. How many proposals to have
pending follows from ``search/run/lookahead.py``.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from archive.records import Candidate, Propose
from operators.base import Context, NoCandidate, Operator
from search.run.lookahead import Lookahead, Outage


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
        self._threads = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="proposal")

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
        """Start what was added. Call it after the commit: operators read the archive, which must hold their move."""
        while self._added:
            self._threads.submit(self._run, self._added.popleft())

    def finished(self) -> Iterator[FinishedProposal]:
        """Return what has finished since the last call, without waiting. Raises unexpected errors of operators."""
        while not self._finished.empty():
            finished = self._finished.get()
            if isinstance(finished, Exception):
                raise finished
            self._added_at.pop(finished.number, None)
            unavailable = isinstance(finished.result, NoCandidate) and finished.result.unavailable
            self.outage.record(unavailable, self._monotonic())
            yield finished

    def record_proposal(self, seconds: float, usable: bool) -> None:
        """Feed the lookahead: how long a proposal took, and whether it became a candidate."""
        if self._lookahead is not None:
            self._lookahead.record_proposal(seconds, usable)

    def record_evaluation(self, seconds: float) -> None:
        """Feed the lookahead: how long an evaluation occupied its slot."""
        if self._lookahead is not None:
            self._lookahead.record_evaluation(seconds)

    def close(self) -> None:
        """Wait for running proposals, which are paid for; drop those that have not started."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, proposal: PendingProposal) -> None:
        began = self._monotonic()
        try:
            result = propose(proposal.operator, proposal.move, proposal.context)
            self._finished.put(FinishedProposal(proposal.number, result, self._monotonic() - began))
        except Exception as error:  # noqa: BLE001 - raised again by ``finished``, in the engine's thread
            self._finished.put(error)
        self._wake()
