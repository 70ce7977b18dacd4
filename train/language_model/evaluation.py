"""One candidate on its way through the three sandboxes: trained, scored, audited.

The parent's own arithmetic makes the score from what the sandboxes claim; see ``train.language_model.audit``.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from archive.records import SPLIT_OF, Audit, Split
from prepare.scoring import Floats, Measure, Symbols
from prepare.task import Buffer, Task
from train.faults import fault
from train.hardware.speed import harmonic_mean, machine_speed
from train.language_model import audit
from train.language_model.curve import MedianRule
from train.language_model.training import Training
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory
from train.sandbox.process import SandboxProcess

_WHOLE_ROW = 1 << 20
"""Bytes of one row's logits, at most, for which an audit takes the logits of all its positions."""


@dataclass(frozen=True)
class ScoringContext:
    """What trials are judged by; all trials of an evaluator share it."""

    rows: Mapping[Split, Symbols]
    """[N, T + 1] evaluation rows by split."""
    measures: Mapping[Split, Measure]
    """What their log-probabilities are in bits per byte."""
    reference: Callable[[Split], Floats]
    """The yardstick for claims about a split; see ``train.language_model.ngram``."""
    median_rule: MedianRule | None = None
    """Whether screenings that fall far behind the baseline are stopped early."""


@dataclass(frozen=True)
class EvaluationPipeline:
    """One evaluation of one candidate."""

    judgement: ScoringContext
    cells: SandboxFactory
    watch: ProgressCallback

    @property
    def task(self) -> Task:
        return self.cells.task

    @property
    def progress(self) -> Progress:
        return self.cells.progress

    @property
    def split(self) -> Split:
        return SPLIT_OF[self.cells.request.purpose]

    def run(self) -> tuple[float, Audit]:
        """The score and how far it was audited. Raises Ended for everything else, and OSError for the machine."""
        stream = self.task.training_stream(self.cells.request.seed)
        state = self._trained(stream)
        rows, measure = self.judgement.rows[self.split], self.judgement.measures[self.split]
        self.watch("score", 1.0)
        claims = measure.only_counted(self._claims(state, rows))
        suspicion = self._suspicion(claims)
        self.progress.metrics["unseen_bpb"] = suspicion.unseen
        plan = audit.draw(rows, stream, suspicion, min(self.task.batch, len(rows)))
        self.watch("audit", 1.0)
        audited = measure.only_counted_at(plan.places, self._audited(state, plan))
        result, reason = audit.compare(claims, plan, audited, self.task.audit_tolerance)
        if reason is not None:
            raise Aborted("invalid", reason, violation=True)
        score = measure.bits_per_byte(float(claims.mean()) + result.correction)
        if (reason := self.task.metric.check(score)) is not None:
            raise Aborted("invalid", reason)
        return score, result

    def _trained(self, stream: Buffer) -> bytes:
        """The state, with the machine's speed measured while no process of the candidate is alive."""
        cores = self.cells.slot.cores
        self.progress.machine_speed = before = machine_speed(cores)
        state = Training(self.cells, self.watch, self.judgement.median_rule).run(stream)
        self.progress.machine_speed = harmonic_mean(before, machine_speed(cores))
        return state

    def _suspicion(self, claims: Floats) -> audit.AuditSuspicion:
        """Audit scores that will be believed as strictly as the request asks: leaders, confirmations and reports."""
        task, request = self.task, self.cells.request
        leader, measure = request.leader_score, self.judgement.measures[self.split]
        expected = audit.expect(claims, measure.only_counted(self.judgement.reference(self.split)), measure.nats)
        claimed = measure.bits_per_byte(float(claims.mean()))
        believed = request.purpose != "screen" or (
            leader is not None
            and audit.could_beat(leader, claimed, task.audit_tolerance, task.metric.direction, measure.nats)
        )
        unseen = task.audit_unseen if request.strictness is None else request.strictness
        return audit.suspect_within(expected, unseen if believed else math.inf, task.audit_screen, task.audit_claim)

    def _claims(self, state: bytes, rows: Symbols) -> Floats:
        """Claimed log-probabilities [N, T] of an evaluation split. What this sandbox prints is thrown away."""
        limit = self.task.limits.score_seconds
        parts = []
        with _withheld("scoring"), self.cells.open("scoring", "claims") as cell, self.progress.phase("score"):
            began, cpu = time.monotonic(), cell.usage.cpu_seconds
            deadline = began + limit
            cell.send({"type": "state"}, state, deadline=deadline)
            for start in range(0, len(rows), self.task.batch):
                batch = rows[start : start + self.task.batch]
                message = {"shape": list(batch.shape)}
                size = 8 * len(batch) * self.task.context
                answer = self._ask(cell, message, batch, size, deadline, "scoring", limit)
                self._charge(time.monotonic() - began, cell.usage.cpu_seconds - cpu)
                parts.append(np.frombuffer(answer, np.float64).reshape(len(batch), self.task.context))
            fault("score")
        claims = np.concatenate(parts)
        if not np.isfinite(claims).all() or claims.max() > 0.0:
            impossible = bool((claims > 0.0).any())  # the worker normalises: only forged ones are above 0
            raise Aborted("invalid", "a log-probability was not a finite number of at most 0", violation=impossible)
        return claims

    def _charge(self, wall: float, cpu: float) -> None:
        """What ``predict`` computes beyond its allowance must have been left over of the training seconds.

        Else a candidate hands in its data as the state and trains in ``predict``, for as long as scoring may take.
        CPU seconds, since a busy machine must not end an honest program; wall seconds where a GPU computes.
        """
        slot, limits = self.cells.slot, self.task.limits
        spent = wall if slot.device == "cuda" else cpu / max(1, slot.threads)
        if spent > limits.predict_seconds + max(0.0, self.task.seconds - self.progress.seconds):
            # Not how long: that is the candidate's to choose, and it has seen the text.
            raise Aborted(
                "timed_out",
                f"scoring took more than the {limits.predict_seconds:g} s of computing that predict is given, and than "
                "what was left of the training seconds: train in train(), make predict cheaper, or hand in the state "
                "earlier",
            )

    def _audited(self, state: bytes, plan: audit.Plan) -> Floats:
        limit = self.task.limits.audit_seconds
        parts = []
        with _withheld("the audit"), self.cells.open("the audit", "logits") as cell, self.progress.phase("audit"):
            deadline = time.monotonic() + limit
            cell.send({"type": "state"}, state, deadline=deadline)
            for batch in plan.batches():
                rows, vocab = plan.rows[batch], self.task.vocab
                shape = [*rows.shape, vocab]
                message: dict[str, object] = {"shape": list(rows.shape)}
                if 4 * rows.shape[1] * vocab > _WHOLE_ROW:
                    shape, message["positions"] = [len(rows), vocab], plan.told[batch].tolist()
                answer = self._ask(cell, message, rows, 4 * math.prod(shape), deadline, "the audit", limit)
                parts.append(plan.read(batch, np.frombuffer(answer, np.float32).reshape(shape)))
            fault("audit")
        return np.concatenate(parts)

    def _ask(
        self,
        cell: SandboxProcess,
        message: Mapping[str, object],
        rows: Symbols,
        size: int,
        deadline: float,
        what: str,
        limit: float,
    ) -> bytes:
        """Send rows, take exactly ``size`` bytes of answer."""
        late = f"{what} took more than {limit:g} s"
        cell.send({"type": "rows", **message}, rows.tobytes(), deadline=deadline)
        answer = cell.receive(deadline=deadline, max_payload=size, late=late).payload
        if len(answer) != size:
            reason = f"{what}: an answer of {len(answer):,} bytes came where {size:,} were due"
            raise Aborted("invalid", reason, violation=True)
        return answer


@contextlib.contextmanager
def _withheld(what: str) -> Iterator[None]:
    """Replace every word and number of a reason that the candidate could choose: it could carry evaluation text."""
    reasons = {
        "crashed": f"predict failed in {what}; what it printed is withheld, since it may hold evaluation text",
        "invalid": f"what predict sent in {what} is not what was asked for",
        "out_of_memory": f"predict used more memory in {what} than is allowed",
    }
    try:
        yield
    except Aborted as ended:
        raise Aborted(ended.outcome, reasons.get(ended.outcome, ended.reason), ended.violation) from None
