"""A sandbox in which ``predict`` answers rows. Its output is discarded, its time and computing are bounded."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prepare.language_model import LanguageModelTask
from prepare.scoring import Floats, Symbols
from train.faults import fault
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory
from train.sandbox.process import SandboxProcess

_WHOLE_ROW = 1 << 20
"""Largest size in bytes of one row's logits for which an audit asks for the logits of all its positions."""


@dataclass(frozen=True)
class PredictSandbox:
    """A sandbox that has received the candidate's state. Its methods raise Aborted."""

    sandboxes: SandboxFactory[LanguageModelTask]
    process: SandboxProcess
    label: str
    seconds: float
    """Wall seconds for all answers."""
    began: float
    cpu_before: float

    @classmethod
    @contextlib.contextmanager
    def opened(
        cls,
        sandboxes: SandboxFactory[LanguageModelTask],
        state: bytes,
        label: str,
        mode: Literal["claims", "logits"],
        phase: Literal["score", "audit"],
        seconds: float,
    ) -> Iterator[PredictSandbox]:
        """Open a fresh sandbox and send it the state. ``label`` names it in reasons, ``phase`` in the record.

        It cannot make a process, a pipe or a socket, also not when the candidate is imported: see
        ``train.sandbox.confine``.
        """
        opened = sandboxes.open(label, mode=mode, judged=True)
        with _reasons_withheld(label), opened as process, sandboxes.progress.phase(phase):
            sandbox = cls(sandboxes, process, label, seconds, time.monotonic(), process.usage.cpu_seconds)
            process.send({"type": "state"}, state, deadline=sandbox._deadline)
            yield sandbox
            fault(phase)

    @property
    def _deadline(self) -> float:
        return self.began + self.seconds

    def claims(self, rows: Symbols) -> Floats:
        """Return the claimed log-probabilities [B, T] of the targets of evaluation rows [B, T + 1]."""
        shape = len(rows), rows.shape[1] - 1
        return np.frombuffer(self._ask({}, rows, 8 * math.prod(shape)), np.float64).reshape(shape)

    def logits(self, rows: Symbols, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits [B, V] at one position of each row [B, T]. The positions are sent only for large rows."""
        vocab = self.sandboxes.task.vocab
        if 4 * rows.shape[1] * vocab > _WHOLE_ROW:
            return self.revealed_logits(rows, positions)
        shape = (*rows.shape, vocab)
        answer = np.frombuffer(self._ask({}, rows, 4 * math.prod(shape)), np.float32)
        return answer.reshape(shape)[np.arange(len(rows)), positions]

    def revealed_logits(self, rows: Symbols, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the logits [B, V] at one position of each row [B, T]. The sandbox receives the positions."""
        shape = len(rows), self.sandboxes.task.vocab
        answer = self._ask({"positions": positions.tolist()}, rows, 4 * math.prod(shape))
        return np.frombuffer(answer, np.float32).reshape(shape)

    def charge(self, share: float = 1.0) -> None:
        """Raise Aborted if ``predict`` has computed too long for a ``share`` of the evaluation rows."""
        cpu = self.process.usage.cpu_seconds - self.cpu_before
        check_computing(self.sandboxes, time.monotonic() - self.began, cpu, share)

    def _ask(self, message: Mapping[str, object], rows: Symbols, size: int) -> bytes:
        """Send rows and return the answer, which must have exactly ``size`` bytes."""
        late = f"{self.label} took more than {self.seconds:g} s"
        header = {"type": "rows", "shape": list(rows.shape), **message}
        self.process.send(header, rows.tobytes(), deadline=self._deadline)
        answer = self.process.receive(deadline=self._deadline, max_payload=size, late=late).payload
        if len(answer) != size:
            reason = f"{self.label}: an answer of {len(answer):,} bytes came where {size:,} were due"
            raise Aborted("invalid", reason, violation=True)
        return answer


def check_computing(
    sandboxes: SandboxFactory[LanguageModelTask], wall: float, cpu: float, share: float = 1.0, what: str = "scoring"
) -> None:
    """Raise Aborted if ``predict`` computed longer than its allowance plus the unused training seconds.

    Otherwise a candidate could return its data as the state and train in ``predict``, for as long as scoring may take.
    Counts CPU seconds, since a busy machine must not end an honest program; wall seconds on a GPU. share: rows answered
    so far, as a multiple of ``task.rows``. The allowance grows with it, but is never less than that of ``task.rows``.
    what: begins the reason.
    """
    slot, limits = sandboxes.slot, sandboxes.task.limits
    spent = wall if slot.device == "cuda" else cpu / max(1, slot.threads)
    unused = max(0.0, sandboxes.task.seconds - sandboxes.progress.seconds)
    if spent > limits.predict_seconds * max(1.0, share) + unused:
        # The reason omits the duration: the candidate controls it, and could encode evaluation text in it.
        raise Aborted(
            "timed_out",
            f"{what} took more than the {limits.predict_seconds:g} s of computing that predict is given, and than "
            "what was left of the training seconds: train in train(), make predict cheaper, or hand in the state "
            "earlier",
        )


@contextlib.contextmanager
def _reasons_withheld(label: str) -> Iterator[None]:
    """Replace reasons whose words or numbers the candidate controls, since they could carry evaluation text."""
    reasons = {
        "crashed": f"predict failed in {label}, where it can start no process (as torch.compile does); what it printed "
        "is withheld, since it may hold evaluation text",
        "invalid": f"what predict sent in {label} is not what was asked for",
        "out_of_memory": f"predict used more memory in {label} than is allowed",
    }
    try:
        yield
    except Aborted as ended:
        raise Aborted(ended.outcome, reasons.get(ended.outcome, ended.reason), ended.violation) from None
