"""What ``unseen_estimate_bpb`` says and what false claims gain, where an honest model has heavy tails.

    python tests/benchmarks/heavy_tails.py

The honest model is an n-gram model of the default task with opinions of its own (``val``). In heavy-tailed worlds some
of its log-probabilities are lower by 3 (1 + Pareto(exponent)) nats. A cheat falsifies the positions where it gains most
for its probability of being drawn: as many as are missed by 5% of audits of K positions. It lifts claims to certainty,
to the usual value, or to where the audit looks least. A line for each world: the largest gain / estimate of the three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from prepare.load import ROOT, task_beside
from prepare.scoring import Floats
from train.language_model import audit
from train.language_model.ngram import ngram_log_probs

SIZES = (128, 1024, 8192)
MISSED = 0.05
TAILS = ((0.01, 3.0), (0.01, 1.5), (0.001, 1.5), (0.001, 1.1), (0.0001, 1.1))
"""(share of the positions, exponent)"""
MOST = 4000  # falsified positions


def worlds(ngram: Floats, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
    """Yield names and honest log-probabilities [N, T]."""
    opinion = 0.3 * np.abs(ngram[2]) * rng.normal(size=ngram[0].shape)
    model = np.minimum(0.8 * ngram[4] + 0.2 * ngram[2] + opinion, -1e-3)
    yield "ordinary", model
    for share, exponent in TAILS:
        hit = rng.random(model.shape) < share
        worse = model - np.where(hit, 3 * (1 + rng.pareto(exponent, model.shape)), 0.0)
        yield f"{share:.2%}, exponent {exponent}", np.maximum(worse, audit.LEAST_CLAIM)


def lifts(honest: Floats, ngram: Floats, k: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield false values, and how soon each position is falsified: the highest first."""
    expected = audit.expect(honest, ngram)
    depth = audit._DEPTH * math.log(k) * expected.spread
    floor = expected.median - depth
    least = np.minimum(np.maximum(honest + 0.01, floor + 0.25 * depth), 0.0)
    for value in (np.zeros_like(honest), np.maximum(honest, expected.median), least):
        yield value, (value - honest) / np.maximum(value - floor, 0.25 * depth)


def ratio(honest: Floats, ngram: Floats, k: int, value: Floats, order: Floats) -> float:
    """Return gain / estimate of as many false claims as 5% of audits miss."""

    def falsified(count: int) -> tuple[Floats, audit.SamplingDesign, float]:
        claims = honest.copy()
        claims.flat[order[:count]] = value.flat[order[:count]]
        design = audit.sampling_design(audit.expect(claims, ngram), k)
        return claims, design, float(np.prod(1 - np.minimum(1.0, design.chances.flat[order[:count]])))

    fewest, most = 0, MOST
    while fewest < most:
        middle = (fewest + most + 1) // 2
        fewest, most = (fewest, middle - 1) if falsified(middle)[2] < MISSED else (middle, most)
    claims, design, _ = falsified(fewest)
    return float((claims - honest).mean()) / math.log(2) / design.unseen


def main() -> None:
    task = task_beside(ROOT / "train" / "seeds" / "shakespeare.py")
    ngram = ngram_log_probs(task.training_sample(), task.evaluation_rows("val"))
    print("gain / estimate at K =", *SIZES)
    for name, honest in worlds(ngram, np.random.default_rng(0)):
        row = []
        for k in SIZES:
            attacks = ((value, np.argsort(-eager, axis=None)) for value, eager in lifts(honest, ngram, k))
            row.append(max(ratio(honest, ngram, k, *attack) for attack in attacks))
        print(f"{name:24}", *(f"{each:6.2f}" for each in row), flush=True)


if __name__ == "__main__":
    main()
