"""The audit: were the claimed log-probabilities made by an honest, causal, stateless, normalised model?

A claim is one log-probability (nats) for each target of an evaluation split, computed by untrusted code that sees
the whole text. The audit asks the same model, in a fresh sandbox that never sees the text, for K secret positions:
a row holds the real prefix up to the position, then bytes from elsewhere. The parent normalises that position's
logits itself and picks the target. Position i is drawn with a chance pi_i (they add up to K), and then

    score = mean(claimed) + sum over the drawn (audited - claimed) / (pi_i M)

over M positions is an unbiased estimate of the honest mean whatever was claimed (Horvitz and Thompson, 1952), and one
audited position that differs from its claim by more than the tolerance makes the evaluation ``invalid``.

**What a cheat could gain unseen.** Uniform chances are a poor guard: a cheat falsifies the few positions where its
honest model m does worst and so gains most (at K = 1,024 on the default task 0.04 bits per byte, four times what an
average position gives). So the chance follows what a claim c could have gained: pi_i is proportional to
``w_i(c) = max(c_i - floor_i, depth_i / 4)``, where ``floor_i`` is the lowest that an honest model of this quality
usually falls at i. For any falsified set F

    gain = 1/M sum_F (c - m) <= 1/M sum_F w(c) + 1/M sum_F max(0, floor - m)

The first sum is ``pi(F) / K`` times the sum of all w, and F goes unseen with a probability of at most ``exp(-pi(F))``
(the design draws negatively associated positions, see ``_drawn``): with 95% certainty pi(F) < 3. The second is what an
honest model loses below the floor: small, since the floor lies that low, and measured on the claims. Their sum is
``Suspicion.unseen``, in bits per byte. It holds for every choice of F and of the false values, and whatever the cheat
does with its state, batches or order of calls: the claims are in when the positions are drawn, from the operating
system's randomness, so nothing that the model finds out during the audit (that it is one, where a prefix ends,
which position counts) can make a false claim true. What it must not find out is a byte that it is asked for: see
``draw``.

The floor comes from a yardstick of the parent's own (``train.language_model.ngram``): claims are regressed on n-gram
log-probabilities; in each of up to 32 groups of alike positions the floor is the median of what remains, less a
multiple of its distance to the lowest tenth that grows as ln K. A cheat that stays unseen touches about 1% of the
positions, so it cannot move a tenth or a median far. An overconfident model, made to be lifted where it is worst, does
not pay either: what its confidence costs is more than the lifting adds (tried with temperatures from 0.7 to 1).

**The tolerance** hides nothing on average. An offset within it is never seen, and so it is always corrected: what is
left is the scatter of the correction, at most 1.2 tolerances / sqrt(K) nats.

K adds up: whoever must pass in each of n evaluations is audited at n K positions.

**Told positions.** With tokens the logits of one row are tens of megabytes. There the audited model is told which
position of each sent row is wanted, and gives the logits of that one. The bound above does not need that secret: the
claims are made before anything is drawn, and the target is not told. What the secret was good for, beside, is that a
model cannot spend more computing on the wanted position than it did in its claims: doing so can raise the score by what
the tolerance allows at one position, and no more.
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

CERTAINTY = 0.95
_GROUPS = 32
_GROUP_SIZE = 256  # positions, at least: a tenth of them is known well enough
_DEPTH = 0.65  # times ln K: the tail that honest models showed on the default task (benchmarked from 2.5 to 4 bpb)
_LEAST = 0.25  # of the depth: nothing is cheaper to falsify than this
_SPREAD = 0.05  # nats, at least


@dataclass(frozen=True)
class Expectation:
    """Where an honest model of the claims' own quality usually is: [N, T] nats each."""

    claims: Floats
    median: Floats
    spread: Floats
    """Distance from the median down to the lowest tenth, among alike positions."""
    nats: float = math.log(2)
    """Nats a position, on average, that one bit per byte is (``prepare.scoring.Measure``)."""


def expect(claims: Floats, reference: Floats, nats: float = math.log(2)) -> Expectation:
    """Compare claims [N, T] with a yardstick [R, N, T] of log-probabilities; see ``train.language_model.ngram``."""
    flat = claims.ravel()
    features = np.concatenate([reference.reshape(len(reference), -1), np.ones((1, flat.size))]).T
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
class AuditSuspicion:
    """How a draw of ``k`` positions is spread over the evaluation rows, and what it leaves unseen."""

    k: int
    chances: Floats
    """[N, T] the probability of each position to be drawn; they add up to ``k``."""
    unseen: float
    """Bits per byte that false claims can add before this audit sees them with 95% certainty."""


def suspect(expected: Expectation, k: int) -> AuditSuspicion:
    """Chances that grow with what each claim could have gained; ``k`` of all positions is also the most."""
    claims, k = expected.claims, min(k, expected.claims.size)
    depth = _DEPTH * math.log(max(k, 2)) * expected.spread
    floor = expected.median - depth
    weight = np.maximum(claims - floor, _LEAST * depth)
    scale = _scale(weight, k)
    below = float(np.maximum(floor - claims, 0.0).mean())
    falsified = -math.log(1 - CERTAINTY) / (scale * claims.size) if scale < math.inf else 0.0
    return AuditSuspicion(k, np.minimum(1.0, scale * weight), (falsified + below) / expected.nats if falsified else 0.0)


def _scale(weight: Floats, k: int) -> float:
    """The factor for which ``min(1, factor * weight)`` adds up to ``k``; infinite where every position is certain."""
    if k >= weight.size:
        return math.inf
    ordered = np.sort(weight, axis=None)[::-1]
    rest = np.cumsum(ordered[::-1])[::-1]
    certain = np.arange(k)  # how many positions are drawn for certain
    factor = (k - certain) / rest[:k]
    return float(factor[np.argmax(factor * ordered[:k] <= 1.0)])


def suspect_within(expected: Expectation, hidden: float, least: int, most: int) -> AuditSuspicion:
    """The smallest audit of ``least`` to ``most`` positions that leaves at most ``hidden`` bits per byte unseen.

    Where ``most`` positions are not enough they are taken, and ``unseen`` says what they leave.
    """
    if hidden == math.inf:
        return suspect(expected, least)
    sizes = range(least, max(least, most))
    place = bisect_left(sizes, -hidden, key=lambda k: -suspect(expected, k).unseen)
    return suspect(expected, least + place)


def could_beat(bar: float, claimed: float, tolerance: float, direction: Direction, nats: float = math.log(2)) -> bool:
    """Whether claims (bits per byte) could become a score better than the bar.

    They may be worse than the score by what the correction gives back: an offset within the tolerance, and its scatter.
    Who makes its claims a little worse does not get away with the audit of an ordinary screening.
    """
    allowance = 1.5 * tolerance / nats
    return claimed - allowance < bar if direction == "minimise" else claimed + allowance > bar


@dataclass(frozen=True)
class Plan:
    """What is asked of the audited model, and what only the parent knows."""

    rows: Symbols
    """[S, T] what is sent: a real prefix, then symbols of the training split; whole batches, filled up with those."""
    batch: int
    asked: NDArray[np.int64]
    """[K] secret: which sent rows count."""
    places: NDArray[np.int64]
    """[K, 2] secret: which row and which position of the evaluation rows each of them checks."""
    targets: NDArray[np.int64]
    """[K] secret: the symbol that really follows."""
    chances: Floats
    """[K] the probability with which each position was drawn."""
    size: int
    """M, all positions of the evaluation rows."""
    told: NDArray[np.int64]
    """[S] a position of each sent row; of rows that count, the one that does. Told only where all logits of a row are
    too many to be sent: see "Told positions"."""

    def batches(self) -> Iterator[slice]:
        """Slices of ``batch`` sent rows, in order; no batch holds two prefixes of one evaluation row."""
        for start in range(0, len(self.rows), self.batch):
            yield slice(start, start + self.batch)

    def read(self, batch: slice, logits: NDArray[np.float32]) -> Floats:
        """The audited log-probabilities (nats) of one batch, of the rows that count.

        logits: [B, T, V], or [B, V] of the positions that were told.
        """
        part = slice(*np.searchsorted(self.asked, [batch.start, batch.stop]))
        rows = self.asked[part] - batch.start
        picked = logits[rows] if logits.ndim == 2 else logits[rows, self.places[part, 1]]
        return log_probs_of(picked, self.targets[part])


def draw(rows: Symbols, filler: bytes | memoryview, suspicion: AuditSuspicion, batch: int) -> Plan:
    """Draw the positions with the operating system's randomness, and lay out what is sent.

    rows: [N, T + 1] evaluation rows. filler: symbols of the training split, more than T, stored as those of the rows.

    Each position gets a sent row of its own, every batch has the same shape, and a row that comes again comes in a
    later batch with a longer prefix: even a model that remembers all it was sent has never seen the byte that it is
    asked for.
    """
    rng = np.random.default_rng(int.from_bytes(os.urandom(16), "little"))
    context = rows.shape[1] - 1
    drawn = _drawn(suspicion.chances.ravel(), rng)
    places = np.stack(np.divmod(np.sort(drawn), context), axis=1)
    asked = _seats(places[:, 0], batch, rng)
    order = np.argsort(asked)
    asked, places = asked[order], places[order]
    count = batch * (int(asked[-1]) // batch + 1) if len(asked) else 0
    pool = np.frombuffer(filler, rows.dtype)
    starts = rng.integers(len(pool) - context, size=(count, 1))
    sent = pool[starts + np.arange(context)]
    real = np.arange(context) <= places[:, 1:]
    sent[asked] = np.where(real, rows[places[:, 0], :-1], sent[asked])
    targets = rows[places[:, 0], places[:, 1] + 1].astype(np.int64)
    chances = suspicion.chances[places[:, 0], places[:, 1]]
    told = rng.integers(context, size=count)
    told[asked] = places[:, 1]
    return Plan(sent, batch, asked, places, targets, chances, suspicion.chances.size, told)


def _drawn(chances: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices drawn with the given inclusion probabilities, which add up to a whole number: as many come back.

    The pivotal method (Deville and Tille, 1998), in random order: two positions play for their joint chance until one
    is certain or out. Its draws are negatively associated (Branden and Jonasson, 2012), so a set F is missed with a
    probability of at most ``exp(-sum of its chances)``.
    """
    order = rng.permutation(len(chances))
    luck = rng.random(len(chances)).tolist()
    values = chances[order].tolist()
    taken: list[int] = []
    holder, held = -1, 0.0
    for player, chance in enumerate(values):
        total = held + chance
        if chance >= 1.0:  # certain: it does not play
            taken.append(player)
        elif total < 1.0:  # one of the two leaves, the other goes on with both chances
            if luck[player] * total >= held:
                holder = player
            held = total
        else:  # one of the two is drawn, the other goes on with what is left
            if luck[player] * (2.0 - total) < 1.0 - chance:
                taken.append(holder)
                holder = player
            else:
                taken.append(player)
            held = total - 1.0
    if held > 0.5:  # a whole number up to rounding
        taken.append(holder)
    return order[np.array(taken, np.int64)]


def _seats(rows: NDArray[np.int64], batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where each position is sent, as batch number times ``batch`` plus a place in it.

    rows: [K] sorted evaluation rows, positions ascending within one. A row's next position goes into a later batch.
    """
    turn = np.arange(len(rows)) - np.searchsorted(rows, rows)
    filled: list[int] = []
    open_from = 0
    last: dict[int, int] = {}
    seats = np.empty(len(rows), np.int64)
    for item in np.lexsort((rng.permutation(len(rows)), turn)).tolist():
        row = int(rows[item])
        number = max(open_from, last.get(row, -1) + 1)
        while number < len(filled) and filled[number] == batch:
            number += 1
        filled += [0] * (number + 1 - len(filled))
        seats[item] = number * batch + filled[number]
        filled[number] += 1
        last[row] = number
        while open_from < len(filled) and filled[open_from] == batch:
            open_from += 1
    return seats


def log_probs_of(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> Floats:
    """Normalise logits [B, V] and pick the targets: [B] nats, float64."""
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite or no numbers: the result is none either, and is refused
        peak = values.max(axis=1, keepdims=True)
        normaliser = peak[:, 0] + np.log(np.exp(values - peak).sum(axis=1))
        result: Floats = values[np.arange(len(values)), targets] - normaliser
    return result


def compare(claims: Floats, plan: Plan, audited: Floats, tolerance: float) -> tuple[Audit, str | None]:
    """The audit's result, and the reason for ``invalid`` if one position disagrees (or is not a number).

    ``correction`` is what the mean of the claims [N, T] is off by, estimated without bias.
    """
    claimed = claims[plan.places[:, 0], plan.places[:, 1]]
    with np.errstate(invalid="ignore"):
        difference = audited - claimed
    worst = float(np.max(np.abs(difference))) if np.isfinite(difference).all() else math.inf
    correction = float((difference / plan.chances).sum()) / plan.size
    audit = Audit(k=len(audited), correction=correction, worst=worst)
    if worst <= tolerance:
        return audit, None
    # No number of the difference is told: claims are the candidate's to choose, and could carry evaluation text out.
    return audit, (
        f"the audit disagrees with the claimed log-probabilities by more than {tolerance:g} nats: predict must be "
        "causal, deterministic (no dropout), keep no state between calls, not depend on the other rows of a batch, and "
        "return ordinary finite logits"
    )
