"""The audit: check that claimed log-probabilities come from an honest, causal, stateless, normalised model.

A claim is one log-probability (nats) for each target of an evaluation split, computed by untrusted code that sees
the whole text. The audit evaluates the same model, in a fresh sandbox that never sees the text, at K secret positions:
a row holds the real prefix up to the position, then symbols of the training split. The parent process normalises that
position's logits and picks the target. Position i is drawn with probability pi_i (they add up to K), and then

    score = mean(claimed) + sum over the drawn (audited - claimed) / (pi_i M)

over M positions is an unbiased estimate of the honest mean whatever was claimed (Horvitz and Thompson, 1952), and one
audited position that differs from its claim by more than the tolerance makes the evaluation ``invalid``.

**The gain that stays unseen.** Uniform probabilities are a poor guard: a cheating model falsifies the few positions
where its honest model m does worst and so gains most (at K = 1,024 on the default task 0.04 bits per byte, four times
what an average position gives). So the probability follows what a claim c could have gained: pi_i is proportional to
``w_i(c) = max(c_i - floor_i, depth_i / 4)``, where ``floor_i`` is the lowest log-probability that an honest model of
this quality usually gives at i. For any falsified set F

    gain = 1/M sum_F (c - m) <= 1/M sum_F w(c) + 1/M sum_F max(0, floor - m)

The first sum is ``pi(F) / K`` times the sum of all w, and F goes unseen with a probability of at most ``exp(-pi(F))``
(the drawn positions are negatively associated, see ``_pivotal_sample``): with 95% certainty pi(F) < 3. That holds for
every choice of F and of the false values, and whatever the model does with its state, batches or order of calls:
positions are drawn from the operating system's randomness after the claims have arrived, so nothing that the model
learns during the audit (that it is an audit, where a prefix ends, which position counts) can make a false claim true.
Only the target symbols must stay hidden from it: see ``draw``.

The second sum is what an honest model loses below the floor. It is unknown where claims are false, and estimated on the
claims. So the total, ``SamplingDesign.unseen`` in bits per byte, is an estimate and no 95% bound: a model that is right
nearly always and terribly wrong at few positions, which it then falsifies, gains more. Simulated with cheats that
falsify the most profitable positions and are missed by 5% of audits (tests/benchmarks/heavy_tails.py), the gain is 0.8
to 1.0 times the estimate for an ordinary model (1.1 for a trained one), up to 4 times where one position in a hundred
has a Pareto tail of exponent 3, and 12 times where one in a thousand has one of 1.1. Such gains are over a model's own
blunders: an honest program without them would score as well.

The floor comes from n-gram models that the parent process trains (``train.language_model.ngram``): claims are regressed
on n-gram log-probabilities; in each of up to 32 groups of similar positions the floor is the median of the residuals,
less a multiple of its distance to their lowest tenth that grows as ln K. A cheat that stays unseen touches about 1% of
the positions, so it cannot move a tenth or a median far. An overconfident model, whose worst positions are then
falsified, does not pay either: overconfidence costs more than falsifying adds (tried with temperatures from 0.7 to 1).

**The tolerance** hides nothing on average. An offset within it is never detected, and so it is always corrected: what
remains is the scatter of the correction, at most 1.2 tolerances / sqrt(K) nats.

K adds up: a program that must pass in each of n evaluations is audited at n K positions.

**Revealed positions.** With tokens the logits of one row are tens of megabytes. There the audited model learns which
position of each sent row is wanted, and returns the logits of that one. The bound above does not need that secret: the
claims are made before anything is drawn, and the target stays hidden. Without the secret a model can spend more
computing on the wanted position than it did for its claims: that can raise the score by what the tolerance allows at
one position, and no more.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.records import Audit, Direction
from prepare.scoring import Floats, Symbols
from train.sandbox.abort import Aborted

CERTAINTY = 0.95
LEAST_CLAIM = -1e4
"""Smallest log-probability (nats) of a target that is judged. One such target in 10,000 costs more than a bit per byte,
so no honest model comes near, and arithmetic with larger numbers would overflow."""
_GROUPS = 32
_GROUP_SIZE = 256  # positions, at least: enough to estimate a lowest tenth
_DEPTH = 0.65  # times ln K: the tail of honest models on the default task (benchmarked from 2.5 to 4 bpb)
_LEAST = 0.25  # of the depth: the smallest weight of a position
_SPREAD = 0.05  # nats, at least
_EVEN = 4 * math.log(
    2
)  # nats: between 2 and 4 bits the bound of trained models is lowest, 0.17 bits per byte at k = 128


@dataclass(frozen=True)
class Expectation:
    """Claims, and the usual log-probabilities of an honest model of the same quality: [N, T] nats each."""

    claims: Floats
    median: Floats
    spread: Floats
    """Distance from the median down to the lowest tenth, among similar positions."""
    nats: float = math.log(2)
    """Nats per position, on average, that equal one bit per byte (``prepare.scoring.Measure``)."""


def expect(claims: Floats, ngram: Floats, nats: float = math.log(2)) -> Expectation:
    """Regress claims [N, T] on n-gram log-probabilities [R, N, T] (see ``train.language_model.ngram``)."""
    flat = claims.ravel()
    features = np.concatenate([ngram.reshape(len(ngram), -1), np.ones((1, flat.size))]).T
    weights = np.linalg.lstsq(features, flat, rcond=None)[0]
    fitted = features @ weights
    groups = max(1, min(_GROUPS, flat.size // _GROUP_SIZE))
    borders = np.quantile(fitted, np.linspace(0, 1, groups + 1)[1:-1])
    group = np.searchsorted(borders, fitted)
    low, middle = np.zeros(groups), np.zeros(groups)
    for number in range(groups):
        if (members := group == number).any():
            low[number], middle[number] = np.quantile((flat - fitted)[members], [0.1, 0.5])
    spread = np.maximum(middle - low, _SPREAD)
    shape = claims.shape
    return Expectation(claims, (fitted + middle[group]).reshape(shape), spread[group].reshape(shape), nats)


@dataclass(frozen=True)
class SamplingDesign:
    """Inclusion probabilities of an audit of ``k`` positions, and the gain that may stay unseen."""

    k: int
    chances: Floats
    """[N, T] the probability that each position is drawn; they add up to ``k``."""
    unseen: float
    """Estimated bits per byte that false claims can gain before this audit detects them with 95% certainty."""


def sampling_design(expected: Expectation, k: int) -> SamplingDesign:
    """Return probabilities that grow with what each claim could have gained; ``k`` is capped at all positions."""
    claims, k = expected.claims, min(k, expected.claims.size)
    depth = _DEPTH * math.log(max(k, 2)) * expected.spread
    floor = expected.median - depth
    weight = np.maximum(claims - floor, _LEAST * depth)
    scale = _scale(weight, k)
    below = float(np.maximum(floor - claims, 0.0).mean())
    falsified = -math.log(1 - CERTAINTY) / (scale * claims.size) if scale < math.inf else 0.0
    return SamplingDesign(k, np.minimum(1.0, scale * weight), (falsified + below) / expected.nats if falsified else 0.0)


def prior_design(ngram: Floats, k: int) -> SamplingDesign:
    """Return probabilities that follow from the text alone, for an audit before anything is claimed.

    ngram: [R, N, T] log-probabilities of n-gram models. The probability grows with the surprise of their mixture, since
    most can be gained where a model does badly; a constant keeps it even otherwise. ``unseen`` follows from the claims
    (``unseen_after``).
    """
    k = min(k, ngram[0].size)
    weight = _EVEN - np.log(np.exp(ngram).mean(axis=0))
    return SamplingDesign(k, np.minimum(1.0, _scale(weight, k) * weight), math.nan)


def unseen_after(expected: Expectation, design: SamplingDesign) -> float:
    """Return what a design leaves unseen that was made before the claims, in bits per byte.

    The most that false claims can gain in w (see above) at positions whose probabilities add up to 3: first come those
    with the highest w for their probability.
    """
    depth = _DEPTH * math.log(max(design.k, 2)) * expected.spread
    floor = expected.median - depth
    weight = np.maximum(expected.claims - floor, _LEAST * depth).ravel()
    chances = design.chances.ravel()
    order = np.argsort(-weight / chances)
    used = np.cumsum(chances[order])
    parts = np.clip((-math.log(1 - CERTAINTY) - (used - chances[order])) / chances[order], 0.0, 1.0)
    gained = float((weight[order] * parts).sum()) / weight.size
    return (gained + float(np.maximum(floor - expected.claims, 0.0).mean())) / expected.nats


def _scale(weight: Floats, k: int) -> float:
    """Return the factor for which ``min(1, factor * weight)`` adds up to ``k``; infinite if ``k`` is all positions."""
    if k >= weight.size:
        return math.inf
    ordered = np.sort(weight, axis=None)[::-1]
    rest = np.cumsum(ordered[::-1])[::-1]
    certain = np.arange(k)  # number of positions with probability 1
    factor = (k - certain) / rest[:k]
    return float(factor[np.argmax(factor * ordered[:k] <= 1.0)])


def smallest_sampling_design(expected: Expectation, hidden: float, least: int, most: int) -> SamplingDesign:
    """Return the smallest audit of ``least`` to ``most`` positions that leaves at most ``hidden`` bits per byte unseen.

    If even ``most`` positions leave more, the result has ``most``; its ``unseen`` is what they leave.
    """
    if hidden == math.inf:
        return sampling_design(expected, least)
    sizes = range(least, max(least, most))
    place = bisect_left(sizes, -hidden, key=lambda k: -sampling_design(expected, k).unseen)
    return sampling_design(expected, least + place)


def could_beat(
    leader_score: float, claimed: float, tolerance: float, direction: Direction, nats: float = math.log(2)
) -> bool:
    """Return whether claims (mean, in bits per byte) could become a score better than the leader's.

    The score may be better than the claims by what the correction gives back: an offset within the tolerance, and its
    scatter. So claims that are made a little worse on purpose do not avoid the audit of a leader.
    """
    allowance = 1.5 * tolerance / nats
    return claimed - allowance < leader_score if direction == "minimise" else claimed + allowance > leader_score


@dataclass(frozen=True)
class Plan:
    """The rows sent to the audited model, and the secrets that only the parent process knows."""

    rows: Symbols
    """[S, T] sent rows: a real prefix, then symbols of the training split; padded with those to whole batches."""
    batch: int
    asked: NDArray[np.int64]
    """[K] secret: indices of the sent rows that check a position; all others are padding."""
    places: NDArray[np.int64]
    """[K, 2] secret: row and position, in the evaluation rows, that each of them checks."""
    targets: NDArray[np.int64]
    """[K] secret: the true next symbol."""
    chances: Floats
    """[K] the probability with which each position was drawn."""
    size: int
    """M, the number of positions in the evaluation rows."""
    revealed: NDArray[np.int64]
    """[S] one position of each sent row; in rows that check a position, that one. Sent to the model only where all
    logits of a row are too large to return: see "Revealed positions"."""

    def batches(self) -> Iterator[slice]:
        """Yield slices of ``batch`` sent rows, in order; no batch holds two prefixes of one evaluation row."""
        for start in range(0, len(self.rows), self.batch):
            yield slice(start, start + self.batch)

    def read(self, batch: slice, logits: NDArray[np.float32]) -> Floats:
        """Return the audited log-probabilities (nats) of one batch, for the rows that check a position.

        logits: [B, V] at the ``revealed`` positions.
        """
        part = slice(*np.searchsorted(self.asked, [batch.start, batch.stop]))
        return log_probs_of(logits[self.asked[part] - batch.start], self.targets[part])


def draw(rows: Symbols, filler: bytes | memoryview, design: SamplingDesign, batch: int) -> Plan:
    """Draw positions with the operating system's randomness, and lay out the rows to send.

    rows: [N, T + 1] evaluation rows. filler: more than T symbols of the training split, in the rows' dtype.

    Each position gets a sent row of its own, every batch has the same shape, and further positions of the same
    evaluation row follow in later batches with longer prefixes: even a model that remembers every row it received has
    never seen the symbol that it has to predict.
    """
    rng = np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
    context = rows.shape[1] - 1
    drawn = _pivotal_sample(design.chances.ravel(), rng)
    places = np.stack(np.divmod(np.sort(drawn), context), axis=1)
    asked = _sent_rows(places[:, 0], batch, rng)
    order = np.argsort(asked)
    asked, places = asked[order], places[order]
    count = batch * (int(asked[-1]) // batch + 1) if len(asked) else 0
    pool = np.frombuffer(filler, rows.dtype)
    starts = rng.integers(len(pool) - context, size=(count, 1))
    sent = pool[starts + np.arange(context)]
    real = np.arange(context) <= places[:, 1:]
    sent[asked] = np.where(real, rows[places[:, 0], :-1], sent[asked])
    targets = rows[places[:, 0], places[:, 1] + 1].astype(np.int64)
    chances = design.chances[places[:, 0], places[:, 1]]
    revealed = rng.integers(context, size=count)
    revealed[asked] = places[:, 1]
    return Plan(sent, batch, asked, places, targets, chances, design.chances.size, revealed)


def _pivotal_sample(chances: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Sample indices with the given inclusion probabilities, whose sum is a whole number: the sample's size.

    The pivotal method (Deville and Tille, 1998), in random order: two positions compete for their joint probability
    until one is certain or out. Its draws are negatively associated (Branden and Jonasson, 2012), so a set F is missed
    with a probability of at most ``exp(-sum of its chances)``.
    """
    order = rng.permutation(len(chances))
    luck = rng.random(len(chances)).tolist()
    values = chances[order].tolist()
    taken: list[int] = []
    holder, held = -1, 0.0
    for player, chance in enumerate(values):
        total = held + chance
        if chance >= 1.0:  # certain: it does not compete
            taken.append(player)
        elif total < 1.0:  # one of the two is out, the other keeps both probabilities
            if luck[player] * total >= held:
                holder = player
            held = total
        else:  # one of the two is drawn, the other keeps the remaining probability
            if luck[player] * (2.0 - total) < 1.0 - chance:
                taken.append(holder)
                holder = player
            else:
                taken.append(player)
            held = total - 1.0
    if held > 0.5:  # 0 or 1 up to rounding
        taken.append(holder)
    return order[np.array(taken, np.int64)]


def _sent_rows(rows: NDArray[np.int64], batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Assign each position the index of its sent row: batch number times ``batch`` plus a place in the batch.

    rows: [K] sorted evaluation rows, positions ascending within one. A row's next position goes into a later batch.
    """
    turn = np.arange(len(rows)) - np.searchsorted(rows, rows)
    filled: list[int] = []
    open_from = 0
    last: dict[int, int] = {}
    sent = np.empty(len(rows), np.int64)
    for item in np.lexsort((rng.permutation(len(rows)), turn)).tolist():
        row = int(rows[item])
        number = max(open_from, last.get(row, -1) + 1)
        while number < len(filled) and filled[number] == batch:
            number += 1
        filled += [0] * (number + 1 - len(filled))
        sent[item] = number * batch + filled[number]
        filled[number] += 1
        last[row] = number
        while open_from < len(filled) and filled[open_from] == batch:
            open_from += 1
    return sent


def log_probs_of(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> Floats:
    """Normalise logits [B, V] and pick the targets [B]: [B] nats, float64."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinities and NaN give NaN, which ``compare`` refuses
        peak = values.max(axis=1, keepdims=True)
        normaliser = peak[:, 0] + np.log(np.exp(values - peak).sum(axis=1))
        result: Floats = values[np.arange(len(values)), targets] - normaliser
    return result


def within_bounds(log_probs: Floats) -> Floats:
    """Return the log-probabilities (nats). Raises Aborted if one is no number, above 0, or below LEAST_CLAIM."""
    if not np.isfinite(log_probs).all() or log_probs.max() > 0.0:
        impossible = bool((log_probs > 0.0).any())  # the worker normalises: only a forged claim is above 0
        raise Aborted("invalid", "a log-probability was not a finite number of at most 0", violation=impossible)
    if log_probs.min() < LEAST_CLAIM:
        reason = f"a target's log-probability was below {LEAST_CLAIM:,.0f} nats: predict's logits are far too large"
        raise Aborted("invalid", reason)
    return log_probs


def compare(claims: Floats, plan: Plan, audited: Floats, tolerance: float) -> tuple[Audit, str | None]:
    """Return the audit's result, and the reason for ``invalid`` if one position disagrees (or is not a number).

    ``Audit.correction`` is an unbiased estimate of what must be added to the mean of the claims [N, T].
    """
    with np.errstate(invalid="ignore"):
        difference = audited - claims[plan.places[:, 0], plan.places[:, 1]]
    worst, reason = disagreement(difference, tolerance)
    correction = float((difference / plan.chances).sum()) / plan.size
    return Audit(k=len(audited), correction=correction, worst=worst), reason


def disagreement(difference: Floats, tolerance: float) -> tuple[float, str | None]:
    """Return the largest difference (nats), and the reason for ``invalid`` if it is no number or not tolerated."""
    worst = float(np.max(np.abs(difference))) if np.isfinite(difference).all() else math.inf
    if worst <= tolerance:
        return worst, None
    # No number of the difference goes into the reason: the candidate chooses the claims, and could encode text in them.
    return worst, (
        f"the audit disagrees with the claimed log-probabilities by more than {tolerance:g} nats: predict must be "
        "causal, deterministic (no dropout), keep no state between calls, not depend on the other rows of a batch, and "
        "return ordinary finite logits"
    )
