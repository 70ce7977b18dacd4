"""How claims are judged: at one secret position of each window of text, whose target no sandbox ever receives.

Evaluations for a claim (on ``select`` and ``holdout``) have no scoring sandbox, since what a scoring sandbox has seen
could reach a later one (see docs/limits.md). Disjoint windows cover the split. In each, one position is drawn once for
an archive and a corpus. A sandbox receives the real text of the window up to that position, then other text, and
returns the logits there; the parent process normalises them and picks the target. The targets, and the text behind
them, are sent to no sandbox in any run of the archive. So a candidate cannot know them, whatever it remembers.

**The score is unbiased.** Position j of window w is drawn with probability 1 / c_w, where c_w of the T targets count
(special tokens encode no text; of bytes all count). The mean over the windows of ``c_w / T log p(target)`` has the
expectation of the mean over all targets, which ``prepare.scoring.Measure`` converts to bits per byte. The positions are
spread evenly over the windows' length: the ranks of a random permutation, systematically sampled.

**Its error is shared.** All evaluations of an archive use the same positions, so most of the sampling error cancels in
a difference. What remains is measured, since the scores of the windows are kept: the claim adds the variance of the
mean difference of the windows to its interval (``search.claims.statistics``).

**A second look** at a claim (``search.claims.looks``) has text of its own, since its trainings follow the first
judgement: the windows between those of the first, or where the split has too few of them, each look has every other
window. A position is drawn once for a window, so no claim of an archive shows what another is judged at.

**Stages.** Where windows are few, each may be judged at several positions (``train.language_model.stages``).

**The second sandbox** receives some of the windows again, in other company, and must return the same log-probabilities.
Otherwise a model could adapt to the text of the windows that it has answered, or train while it is judged.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.records import Audit, Split
from prepare.language_model import Buffer, LanguageModelTask
from prepare.scoring import Floats, Measure, Symbols
from train.language_model.audit import disagreement, log_probs_of, within_bounds
from train.language_model.predict_sandbox import PredictSandbox
from train.progress import ProgressCallback
from train.sandbox.abort import Aborted
from train.sandbox.factory import SandboxFactory

LENGTHS = 4
"""Different lengths of the rows that are sent. Shorter rows save computing; each length may have to be compiled."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PositionSet:
    """One secret position in each window of a split."""

    name: str
    """Identifies the set, and tells nothing about it."""
    positions: Ints
    """[N] secret."""
    weights: Floats
    """[N] the share of the window's targets that count."""


def secret_positions(key: bytes, corpus: str, split: Split, shape: tuple[int, int], measure: Measure) -> PositionSet:
    """Derive the positions of a split's windows from an archive's key and the corpus's fingerprint.

    shape: (N, T), the number of windows and of targets in each.
    """
    windows, context = shape
    seed = hmac.digest(key, f"{corpus}/{split}/{windows}x{context}".encode(), "sha256")
    words = np.frombuffer(hashlib.shake_256(seed).digest(8 * (windows + 1)), "<u8")
    ranks = np.argsort(np.argsort(words[:-1], kind="stable"))
    spread = (ranks + float(words[-1]) / 2**64) / windows  # each is uniform on [0, 1)
    counted = np.ones(shape, np.bool_) if measure.counted is None else measure.counted
    available = counted.sum(axis=1)
    nth = np.clip((spread * available).astype(np.int64), 0, np.maximum(available - 1, 0))
    positions = np.argsort(~counted, axis=1, kind="stable")[np.arange(windows), nth]
    name = hmac.digest(key, seed + positions.astype("<i8").tobytes(), "sha256").hex()[:16]
    return PositionSet(name, positions, available / context)


@dataclass(frozen=True)
class JudgedText:
    """The text that an evaluation for a claim is judged at."""

    windows: Symbols
    """[N, T + 1] disjoint windows of the split."""
    measure: Measure
    stages: tuple[PositionSet, ...]
    """The positions of each stage of the judgement; most have one."""

    @property
    def chosen(self) -> PositionSet:
        """The positions of the last stage, whose targets are sent to no sandbox."""
        return self.stages[-1]

    def every_other(self, first: int, measure: Measure) -> JudgedText:
        """Return the half of the windows that begins with ``first``, 0 or 1, at the same positions."""
        halves = (PositionSet(f"{s.name}/{first + 1}", s.positions[first::2], s.weights[first::2]) for s in self.stages)
        return JudgedText(self.windows[first::2], measure, tuple(halves))

    def scores(self, log_probs: Sequence[Floats]) -> Floats:
        """Return the windows' scores [N] from the log-probabilities [N] of all stages (nats)."""
        weights = np.stack([stage.weights for stage in self.stages])
        found: Floats = -(weights * np.stack(log_probs)).sum(axis=0) / self.measure.nats
        return found


@dataclass(frozen=True)
class Batch:
    """Rows that are sent together."""

    rows: Symbols
    """[B, L] a real prefix, then symbols of the training split; rows beyond ``windows`` hold only those."""
    positions: Ints
    """[B] the wanted position of each row."""
    windows: Ints
    """[K <= B] the windows of the first K rows."""


def batches(
    windows: Symbols, positions: Ints, wanted: Ints, filler: Buffer, size: int, rng: np.random.Generator
) -> list[Batch]:
    """Lay out the prefixes of the ``wanted`` windows [K] in batches of ``size`` rows, short ones first.

    windows: [N, T + 1]. filler: more than T symbols of the training split, in the same dtype. A row's length is the
    smallest of ``LENGTHS`` lengths that holds its prefix, so the same window always comes with the same length.
    """
    pool, step = np.frombuffer(filler, windows.dtype), math.ceil((windows.shape[1] - 1) / LENGTHS)
    order = rng.permutation(wanted)
    steps = positions[order] // step
    result = []
    for number in np.unique(steps):
        members, length = order[steps == number], min(step * (int(number) + 1), windows.shape[1] - 1)
        for start in range(0, len(members), size):
            asked = members[start : start + size]
            rows = pool[rng.integers(len(pool) - length, size=(size, 1)) + np.arange(length)]
            real = np.arange(length) <= positions[asked, None]
            rows[: len(asked)] = np.where(real, windows[asked, :length], rows[: len(asked)])
            at = np.concatenate([positions[asked], rng.integers(length, size=size - len(asked))])
            result.append(Batch(rows, at, asked))
    return result


@dataclass(frozen=True)
class Judgement:
    """One stage of an evaluation for a claim, after its training."""

    sandboxes: SandboxFactory[LanguageModelTask]
    on_progress: ProgressCallback
    text: JudgedText
    chosen: PositionSet
    """Of the stage."""

    @property
    def windows(self) -> Symbols:
        return self.text.windows

    def run(self, state: bytes, filler: Buffer) -> tuple[Floats, Audit]:
        """Return the log-probabilities [N] of the stage's targets (nats), and the audit. Raises Aborted."""
        task, rng = self.sandboxes.task, np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
        everything = np.arange(len(self.windows))
        again = rng.permutation(everything)[: task.audit_screen]
        size = min(task.batch, len(self.windows))
        sent = [batches(self.windows, self.chosen.positions, w, filler, size, rng) for w in (everything, again)]
        self.on_progress("score", 1.0)
        judged = self._judged(state, sent[0])
        self.on_progress("audit", 1.0)
        return judged, self._audited(state, sent[1], judged)

    def _judged(self, state: bytes, sent: Sequence[Batch]) -> Floats:
        """Return the log-probabilities [N] of the targets."""
        task, done = self.sandboxes.task, 0.0
        work = sum(batch.rows.size for batch in sent) / (task.rows * task.context)
        found = np.empty(len(self.windows))
        opened = PredictSandbox.opened(
            self.sandboxes, state, "scoring", "logits", "score", task.limits.score_seconds * max(1.0, work)
        )
        with opened as sandbox:
            for batch in sent:
                found[batch.windows] = self._log_probs(sandbox, batch)
                done += batch.rows.size / (task.rows * task.context)
                sandbox.charge(done)
        return within_bounds(np.where(self.chosen.weights > 0, found, 0.0))

    def _audited(self, state: bytes, sent: Sequence[Batch], judged: Floats) -> Audit:
        """Compare with the answers of a fresh sandbox. Raises Aborted if they disagree."""
        parts = []
        limit = self.sandboxes.task.limits.audit_seconds
        with PredictSandbox.opened(self.sandboxes, state, "the audit", "logits", "audit", limit) as sandbox:
            for batch in sent:
                parts.append(self._log_probs(sandbox, batch) - judged[batch.windows])
        worst, reason = disagreement(np.concatenate(parts), self.sandboxes.task.audit_tolerance)
        if reason is not None:
            raise Aborted("invalid", reason, violation=True)
        return Audit(k=sum(map(len, parts)), correction=0.0, worst=worst)

    def _log_probs(self, sandbox: PredictSandbox, batch: Batch) -> Floats:
        """Return the log-probabilities [K] of a batch's targets. Raises Aborted."""
        count = len(batch.windows)
        logits = sandbox.revealed_logits(batch.rows, batch.positions)[:count]
        targets = self.windows[batch.windows, batch.positions[:count] + 1].astype(np.int64)
        return log_probs_of(logits, targets)
