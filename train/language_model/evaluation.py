"""The evaluation of one candidate: it is trained, and what it has learned is scored in other sandboxes.

Of an evaluation for a claim the two halves are separate requests: ``train`` returns the state, ``run`` judges it later.

Screenings are scored by claims that an audit checks (``train.language_model.audit``), evaluations for a claim at secret
positions (``train.language_model.judgement``). The parent process computes the score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from archive.records import SPLIT_OF, Audit, Request, Split, StageAnswers, WindowScores
from prepare.language_model import Buffer, LanguageModelTask
from prepare.scoring import Floats, Measure, Symbols
from train.hardware.speed import harmonic_mean, machine_speed
from train.language_model import audit
from train.language_model.judgement import JudgedText, Judgement
from train.language_model.predict_sandbox import PredictSandbox
from train.language_model.training import Training
from train.progress import Progress, ProgressCallback
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory


@dataclass(frozen=True)
class ScoringContext:
    """Evaluation data that all evaluations of one evaluator share."""

    rows: Mapping[Split, Symbols]
    """[N, T + 1] evaluation rows of ``val``, windows of the other splits."""
    measures: Mapping[Split, Measure]
    """Conversion of their log-probabilities to bits per byte."""
    ngram: Callable[[Split], Floats]
    """N-gram log-probabilities [ORDERS, N, T] of a split; see ``train.language_model.ngram``."""
    judged: Callable[[Request], JudgedText]
    """The windows, and the secret positions in them, at which an evaluation for a claim is judged."""


@dataclass(frozen=True)
class EvaluationPipeline:
    """One evaluation of one candidate: ``run`` trains and scores it, ``train`` only trains it."""

    scoring: ScoringContext
    sandboxes: SandboxFactory[LanguageModelTask]
    on_progress: ProgressCallback

    @property
    def task(self) -> LanguageModelTask:
        return self.sandboxes.task

    @property
    def progress(self) -> Progress:
        return self.sandboxes.progress

    @property
    def split(self) -> Split:
        return SPLIT_OF[self.sandboxes.request.purpose]

    def run(self) -> tuple[float, Audit, WindowScores | None]:
        """Return the score, the audit, and the windows' scores of an evaluation for a claim.

        Of a judgement with several stages this is the last one. A request without a sealed training makes all.
        Raises Aborted for any other outcome, OSError if the machine fails.
        """
        request = self.sandboxes.request
        stream = self.task.training_stream(request.seed)
        state = self._trained(stream) if request.trained is None else request.trained.state
        screened = request.purpose == "screen"
        score, audited, windows = self._screened(state, stream) if screened else self._judged(state, stream)
        if (reason := self.task.metric.check(score)) is not None:
            raise Aborted("invalid", reason)
        return score, audited, windows

    def train(self) -> bytes:
        """Return the state after the training. Raises as ``run`` does."""
        return self._trained(self.task.training_stream(self.sandboxes.request.seed))

    def _trained(self, stream: Buffer) -> bytes:
        """Train; return the state (a safetensors file). Measures the machine's speed before and after the training."""
        cores = self.sandboxes.slot.cores
        self.progress.machine_speed = before = machine_speed(cores)
        state = Training(self.sandboxes, self.on_progress).run(stream)
        self.progress.machine_speed = harmonic_mean(before, machine_speed(cores))
        return state

    def next_stage(self) -> int | None:
        """Return the stage that a request asks a sealed state for, from 0; None unless another one follows it."""
        request = self.sandboxes.request
        if request.trained is None or request.purpose == "screen":
            return None
        text = self.scoring.judged(request)
        stage = len(self._known(text))
        return stage if stage < len(text.stages) - 1 else None

    def answer(self, stage: int) -> tuple[str, Floats, Audit]:
        """Return the name of a stage's positions, the log-probabilities [N] there (nats), and the audit."""
        request = self.sandboxes.request
        assert request.trained is not None
        text, stream = self.scoring.judged(request), self.task.training_stream(request.seed)
        judgement = Judgement(self.sandboxes, self.on_progress, text, text.stages[stage])
        return text.stages[stage].name, *judgement.run(request.trained.state, stream)

    def _known(self, text: JudgedText) -> tuple[StageAnswers, ...]:
        """Return the answers of earlier stages; none for a judgement at the last stage alone. Raises Aborted."""
        trained = self.sandboxes.request.trained
        known = () if trained is None or len(text.stages) == 1 else trained.answers
        if any(each.position_set != stage.name for each, stage in zip(known, text.stages, strict=False)):
            raise Aborted("invalid", "task.claim_stages or the text has changed since this judgement began")
        return known

    def _judged(self, state: bytes, stream: Buffer) -> tuple[float, Audit, WindowScores]:
        """Judge the stages that are left: the last one, or all of a request that is not made in parts."""
        text = self.scoring.judged(self.sandboxes.request)
        self.progress.metrics["windows"] = float(len(text.windows))
        if len(text.stages) > 1:
            self.progress.metrics["stages"] = float(len(text.stages))
        found = [(each.values, each.audit) for each in self._known(text)]
        for chosen in text.stages[len(found) :]:
            found.append(Judgement(self.sandboxes, self.on_progress, text, chosen).run(state, stream))
        scores = text.scores([log_probs for log_probs, _ in found])
        audited = Audit(sum(each.k for _, each in found), 0.0, max(each.worst for _, each in found))
        return float(scores.mean()), audited, WindowScores.of(text.chosen.name, scores)

    # ------------------------------------------------------------ screenings

    def _screened(self, state: bytes, stream: Buffer) -> tuple[float, Audit, None]:
        """Audit, then score; a score that could beat the leader is audited again, more strictly."""
        task, rows, measure = self.task, self.scoring.rows[self.split], self.scoring.measures[self.split]
        ngram = measure.only_counted(self.scoring.ngram(self.split))
        design = audit.prior_design(ngram, task.audit_screen)
        checked = self._audited(state, rows, stream, design)
        self.on_progress("score", 1.0)
        claims = audit.within_bounds(measure.only_counted(self._claims(state, rows)))
        result = self._compared(claims, checked)
        expected = audit.expect(claims, ngram, measure.nats)
        unseen = audit.unseen_after(expected, design)
        if (stricter := self._stricter_design(expected)) is not None:
            again = self._compared(claims, self._audited(state, rows, stream, stricter))
            result = Audit(result.k + again.k, again.correction, max(result.worst, again.worst))
            unseen = stricter.unseen
        self.progress.metrics["unseen_estimate_bpb"] = unseen
        return measure.bits_per_byte(float(claims.mean()) + result.correction), result, None

    def _compared(self, claims: Floats, checked: tuple[audit.Plan, Floats]) -> Audit:
        """Compare claims with audited log-probabilities. Raises Aborted if they disagree."""
        result, reason = audit.compare(claims, *checked, self.task.audit_tolerance)
        if reason is not None:
            raise Aborted("invalid", reason, violation=True)
        return result

    def _stricter_design(self, expected: audit.Expectation) -> audit.SamplingDesign | None:
        """Return the design of the second audit: as strict as the request asks, if the claims could beat the leader."""
        task, request = self.task, self.sandboxes.request
        leader, measure = request.leader_score, self.scoring.measures[self.split]
        hidden = task.audit_unseen if request.strictness is None else request.strictness
        claimed = measure.bits_per_byte(float(expected.claims.mean()))
        if leader is None or hidden == math.inf:
            return None
        if not audit.could_beat(leader, claimed, task.audit_tolerance, task.metric.direction, measure.nats):
            return None
        return audit.smallest_sampling_design(expected, hidden, task.audit_screen, task.audit_claim)

    def _claims(self, state: bytes, rows: Symbols) -> Floats:
        """Return claimed log-probabilities [N, T] of an evaluation split."""
        parts = []
        limit = self.task.limits.score_seconds
        with PredictSandbox.opened(self.sandboxes, state, "scoring", "claims", "score", limit) as sandbox:
            for start in range(0, len(rows), self.task.batch):
                parts.append(sandbox.claims(rows[start : start + self.task.batch]))
                sandbox.charge()
        return np.concatenate(parts)

    def _audited(
        self, state: bytes, rows: Symbols, stream: Buffer, design: audit.SamplingDesign
    ) -> tuple[audit.Plan, Floats]:
        """Draw positions; return them with their log-probabilities [K] (nats), computed in a fresh sandbox."""
        self.on_progress("audit", 1.0)
        plan = audit.draw(rows, stream, design, min(self.task.batch, len(rows)))
        parts = []
        limit = self.task.limits.audit_seconds
        with PredictSandbox.opened(self.sandboxes, state, "the audit", "logits", "audit", limit) as sandbox:
            for batch in plan.batches():
                parts.append(plan.read(batch, sandbox.logits(plan.rows[batch], plan.revealed[batch])))
                sandbox.charge(batch.stop / self.task.rows)
        return plan, self.scoring.measures[self.split].only_counted_at(plan.places, np.concatenate(parts))
