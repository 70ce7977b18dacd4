"""The evaluation of one candidate in three sandboxes: train, score, audit.

The parent process computes the score from the sandboxes' claims; see ``train.language_model.audit``.
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

LEAST_CLAIM = -1e4
"""Smallest log-probability (nats) of a target that is judged. One such target in 10,000 costs more than a bit per byte,
so no honest model comes near, and arithmetic with larger numbers would overflow."""

_WHOLE_ROW = 1 << 20
"""Largest size in bytes of one row's logits for which an audit asks for the logits of all its positions."""


@dataclass(frozen=True)
class ScoringContext:
    """Evaluation data that all evaluations of one evaluator share."""

    rows: Mapping[Split, Symbols]
    """[N, T + 1] evaluation rows by split."""
    measures: Mapping[Split, Measure]
    """Conversion of their log-probabilities to bits per byte."""
    ngram: Callable[[Split], Floats]
    """N-gram log-probabilities [ORDERS, N, T] of a split; see ``train.language_model.ngram``."""
    median_rule: MedianRule | None = None
    """Stops screenings that are far behind the baseline; None: off."""


@dataclass(frozen=True)
class EvaluationPipeline:
    """One evaluation of one candidate: ``run`` trains, scores and audits it."""

    scoring: ScoringContext
    sandboxes: SandboxFactory
    on_progress: ProgressCallback

    @property
    def task(self) -> Task:
        return self.sandboxes.task

    @property
    def progress(self) -> Progress:
        return self.sandboxes.progress

    @property
    def split(self) -> Split:
        return SPLIT_OF[self.sandboxes.request.purpose]

    def run(self) -> tuple[float, Audit]:
        """Return the score and the audit. Raises Aborted for any other outcome, OSError if the machine fails."""
        stream = self.task.training_stream(self.sandboxes.request.seed)
        state = self._trained(stream)
        rows, measure = self.scoring.rows[self.split], self.scoring.measures[self.split]
        self.on_progress("score", 1.0)
        claims = _within_bounds(measure.only_counted(self._claims(state, rows)))
        design = self._sampling_design(claims)
        self.progress.metrics["unseen_bpb"] = design.unseen
        plan = audit.draw(rows, stream, design, min(self.task.batch, len(rows)))
        self.on_progress("audit", 1.0)
        audited = measure.only_counted_at(plan.places, self._audited(state, plan))
        result, reason = audit.compare(claims, plan, audited, self.task.audit_tolerance)
        if reason is not None:
            raise Aborted("invalid", reason, violation=True)
        score = measure.bits_per_byte(float(claims.mean()) + result.correction)
        if (reason := self.task.metric.check(score)) is not None:
            raise Aborted("invalid", reason)
        return score, result

    def _trained(self, stream: Buffer) -> bytes:
        """Train; return the state (a safetensors file). Measures the machine's speed before and after the training."""
        cores = self.sandboxes.slot.cores
        self.progress.machine_speed = before = machine_speed(cores)
        state = Training(self.sandboxes, self.on_progress, self.scoring.median_rule).run(stream)
        self.progress.machine_speed = harmonic_mean(before, machine_speed(cores))
        return state

    def _sampling_design(self, claims: Floats) -> audit.SamplingDesign:
        """Return the sampling design of the audit.

        Confirmations, reports and screenings that could beat the leader are audited as strictly as the request asks,
        all other screenings at ``task.audit_screen`` positions.
        """
        task, request = self.task, self.sandboxes.request
        leader, measure = request.leader_score, self.scoring.measures[self.split]
        expected = audit.expect(claims, measure.only_counted(self.scoring.ngram(self.split)), measure.nats)
        claimed = measure.bits_per_byte(float(claims.mean()))
        believed = request.purpose != "screen" or (
            leader is not None
            and audit.could_beat(leader, claimed, task.audit_tolerance, task.metric.direction, measure.nats)
        )
        strictness = task.audit_unseen if request.strictness is None else request.strictness
        hidden = strictness if believed else math.inf
        return audit.smallest_sampling_design(expected, hidden, task.audit_screen, task.audit_claim)

    def _claims(self, state: bytes, rows: Symbols) -> Floats:
        """Return claimed log-probabilities [N, T] of an evaluation split. The sandbox's output is discarded."""
        limit = self.task.limits.score_seconds
        parts = []
        opened = self.sandboxes.open("scoring", "claims")
        with _reasons_withheld("scoring"), opened as process, self.progress.phase("score"):
            began, cpu = time.monotonic(), process.usage.cpu_seconds
            deadline = began + limit
            process.send({"type": "state"}, state, deadline=deadline)
            for start in range(0, len(rows), self.task.batch):
                batch = rows[start : start + self.task.batch]
                message = {"shape": list(batch.shape)}
                size = 8 * len(batch) * self.task.context
                answer = self._ask(process, message, batch, size, deadline, "scoring", limit)
                self._charge(time.monotonic() - began, process.usage.cpu_seconds - cpu)
                parts.append(np.frombuffer(answer, np.float64).reshape(len(batch), self.task.context))
            fault("score")
        claims = np.concatenate(parts)
        if not np.isfinite(claims).all() or claims.max() > 0.0:
            impossible = bool((claims > 0.0).any())  # the worker normalises: only a forged claim is above 0
            raise Aborted("invalid", "a log-probability was not a finite number of at most 0", violation=impossible)
        return claims

    def _charge(self, wall: float, cpu: float) -> None:
        """Raise Aborted if ``predict`` computed longer than its allowance plus the unused training seconds.

        Otherwise a candidate could return its data as the state and train in ``predict``, for as long as scoring may
        take. Counts CPU seconds, since a busy machine must not end an honest program; wall seconds on a GPU.
        """
        slot, limits = self.sandboxes.slot, self.task.limits
        spent = wall if slot.device == "cuda" else cpu / max(1, slot.threads)
        if spent > limits.predict_seconds + max(0.0, self.task.seconds - self.progress.seconds):
            # The reason omits the duration: the candidate controls it, and could encode evaluation text in it.
            raise Aborted(
                "timed_out",
                f"scoring took more than the {limits.predict_seconds:g} s of computing that predict is given, and than "
                "what was left of the training seconds: train in train(), make predict cheaper, or hand in the state "
                "earlier",
            )

    def _audited(self, state: bytes, plan: audit.Plan) -> Floats:
        """Return the audited log-probabilities [K] (nats), computed in a fresh sandbox."""
        limit = self.task.limits.audit_seconds
        parts = []
        opened = self.sandboxes.open("the audit", "logits")
        with _reasons_withheld("the audit"), opened as process, self.progress.phase("audit"):
            deadline = time.monotonic() + limit
            process.send({"type": "state"}, state, deadline=deadline)
            for batch in plan.batches():
                rows, vocab = plan.rows[batch], self.task.vocab
                shape = [*rows.shape, vocab]
                message: dict[str, object] = {"shape": list(rows.shape)}
                if 4 * rows.shape[1] * vocab > _WHOLE_ROW:
                    shape, message["positions"] = [len(rows), vocab], plan.revealed[batch].tolist()
                answer = self._ask(process, message, rows, 4 * math.prod(shape), deadline, "the audit", limit)
                parts.append(plan.read(batch, np.frombuffer(answer, np.float32).reshape(shape)))
            fault("audit")
        return np.concatenate(parts)

    def _ask(
        self,
        process: SandboxProcess,
        message: Mapping[str, object],
        rows: Symbols,
        size: int,
        deadline: float,
        what: str,
        limit: float,
    ) -> bytes:
        """Send rows and return the answer, which must have exactly ``size`` bytes. Raises Aborted."""
        late = f"{what} took more than {limit:g} s"
        process.send({"type": "rows", **message}, rows.tobytes(), deadline=deadline)
        answer = process.receive(deadline=deadline, max_payload=size, late=late).payload
        if len(answer) != size:
            reason = f"{what}: an answer of {len(answer):,} bytes came where {size:,} were due"
            raise Aborted("invalid", reason, violation=True)
        return answer


def _within_bounds(claims: Floats) -> Floats:
    """Return the claims. Raises Aborted if one is below LEAST_CLAIM: a diverged model, or a forged claim."""
    if claims.min() < LEAST_CLAIM:
        reason = f"a target's log-probability was below {LEAST_CLAIM:,.0f} nats: predict's logits are far too large"
        raise Aborted("invalid", reason)
    return claims


@contextlib.contextmanager
def _reasons_withheld(what: str) -> Iterator[None]:
    """Replace reasons whose words or numbers the candidate controls, since they could carry evaluation text."""
    reasons = {
        "crashed": f"predict failed in {what}; what it printed is withheld, since it may hold evaluation text",
        "invalid": f"what predict sent in {what} is not what was asked for",
        "out_of_memory": f"predict used more memory in {what} than is allowed",
    }
    try:
        yield
    except Aborted as ended:
        raise Aborted(ended.outcome, reasons.get(ended.outcome, ended.reason), ended.violation) from None
