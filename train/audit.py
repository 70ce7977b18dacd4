"""The audit: were the claimed log-probabilities made by an honest, causal, stateless, normalised model?

A claim is one log-probability (nats) for each target of an evaluation split, computed by untrusted code that sees
the whole text. The audit asks the same model, in a fresh sandbox that never sees the text, for K secret positions:
a row holds the real prefix up to the position, then bytes from elsewhere. The parent normalises that position's
logits itself and picks the target. With K positions drawn uniformly,

    score = mean(claimed) + mean(audited - claimed)

is an unbiased estimate of the honest mean whatever was claimed, and one audited position that differs from its
claim by more than the tolerance makes the evaluation ``invalid``.

What a cheat can gain unseen: if it falsifies a share f of the positions by g nats each, it survives with
probability (1 - f)^K, so with 95% certainty f < 3 / K, and the unseen gain is below 3 g / (K ln 2) bits per byte. K
adds up: whoever must pass in every one of n evaluations is audited at n K positions. A difference within the tolerance
is never seen in one audit, but the correction takes it back on average. See ``unseen_gain``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.records import Audit
from prepare.scoring import Bytes, Floats


@dataclass(frozen=True)
class Plan:
    """What is asked of the audited model, and what only the parent knows."""

    rows: Bytes
    """[K, T] what is sent: a real prefix, then bytes from the training split."""
    places: NDArray[np.int64]
    """[K, 2] secret: which row and which position of the evaluation rows each one checks."""
    targets: NDArray[np.int64]
    """[K] secret: the byte that really follows."""
    round: int
    """Sent rows before an evaluation row comes again: the number of evaluation rows."""

    def batches(self, size: int) -> Iterator[slice]:
        """Slices of at most ``size`` sent rows, in order; no batch holds two prefixes of one evaluation row."""
        for begin in range(0, len(self.rows), self.round):
            end = min(begin + self.round, len(self.rows))
            for start in range(begin, end, size):
                yield slice(start, min(start + size, end))


def draw(rows: Bytes, filler: bytes, k: int) -> Plan:
    """Choose K positions uniformly, at most one a sent row, with the operating system's randomness.

    rows: [N, T + 1] evaluation rows. filler: bytes of the training split, more than T, for the suffixes: they look
    like the text that they replace, so a model cannot tell where a prefix ends.

    Rows are used once before any is used twice, and a row that is used again comes with a longer prefix than before:
    even a model that remembers all it was sent has never seen the byte that it is asked for.
    """
    rng = np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
    count, context = rows.shape[0], rows.shape[1] - 1
    order = np.concatenate([rng.permutation(count) for _ in range(-(-k // count))])[:k]
    positions = rng.integers(context, size=k)
    by_turn, by_length = np.lexsort((np.arange(k), order)), np.lexsort((positions, order))
    positions[by_turn] = positions[by_length]
    pool = np.frombuffer(filler, np.uint8)
    sent = rows[order, :-1].copy()
    for i, position in enumerate(positions):
        size = context - position - 1
        start = int(rng.integers(len(pool) - size))
        sent[i, position + 1 :] = pool[start : start + size]
    targets = rows[order, positions + 1].astype(np.int64)
    return Plan(sent, np.stack([order, positions], axis=1), targets, count)


def audited_log_probs(logits: NDArray[np.float32], positions: NDArray[np.int64], targets: NDArray[np.int64]) -> Floats:
    """Normalise one position of each row of logits [B, T, V] and pick its target: [B] nats, float64."""
    picked = logits[np.arange(len(logits)), positions].astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite or no numbers: the result is none either, and is refused
        peak = picked.max(axis=1, keepdims=True)
        normaliser = peak[:, 0] + np.log(np.exp(picked - peak).sum(axis=1))
        result: Floats = picked[np.arange(len(picked)), targets] - normaliser
    return result


def compare(claims: Floats, plan: Plan, audited: Floats, tolerance: float) -> tuple[Audit, str | None]:
    """The audit's result, and the reason for ``invalid`` if one position disagrees (or is not a number)."""
    claimed = claims[plan.places[:, 0], plan.places[:, 1]]
    with np.errstate(invalid="ignore"):
        difference = audited - claimed
    worst = float(np.max(np.abs(difference))) if np.isfinite(difference).all() else math.inf
    audit = Audit(k=len(audited), correction=float(difference.mean()), worst=worst)
    if worst <= tolerance:
        return audit, None
    # No number of the difference is told: claims are the candidate's to choose, and could carry evaluation text out.
    return audit, (
        f"the audit disagrees with the claimed log-probabilities by more than {tolerance:g} nats: predict must be "
        "causal, deterministic (no dropout), keep no state between calls, not depend on the other rows of a batch, and "
        "return ordinary finite logits"
    )


def unseen_gain(k: int, tolerance: float, nats_per_position: float, certainty: float = 0.95) -> float:
    """Bits per byte that falsified claims can add before an audit of ``k`` positions sees them with ``certainty``.

    From (1 - f)^k = 1 - certainty, the share f of positions; each gives at most ``nats_per_position``: a claim cannot
    exceed 0, so this is the honest loss where it is falsified (a cheat prefers positions where that is above its mean).
    The tolerance is added in full, as if no correction followed.
    """
    share: float = 1 - (1 - certainty) ** (1 / k)
    return (share * nats_per_position + tolerance) / math.log(2)
