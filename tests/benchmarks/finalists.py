"""How the winner of a search is chosen: ways to spend confirm runs, and what a preference for short code costs.

    python tests/benchmarks/finalists.py [--quick] [--seed 0]

True means are normal with a deviation of 0.5, 1 or 2 sigma, 12 or 100 candidates; each is screened once, with noise of
one sigma; the best few are confirmed. The figure is the true gain of the winner less that of the best candidate that
there is, in sigma (20,000 searches a cell; standard error about 0.004). Arithmetic alone, not the code of the claim.

    KxM          the best K by screening get M confirm runs each, the best confirm mean wins; 3x2 is what a claim does
    KxM pooled   the same, with the screening counted as one more run
    ocba 4       six runs, one by one, among the best four, screenings counted as first runs: to whom OCBA says (Chen,
                 Lin, Yucesan and Chick 2000); ocba 7: fifteen runs among the best seven, to compare with 5x3
    toptwo 4     the same by top-two Thompson sampling (Russo 2016)
    short S      3x2 with random lengths: the shortest of those within S standard errors of the best confirm mean, the
                 last place of the finalists for a shorter one within S standard errors of the best screening

The last line is one JSON object: mean figures over the six settings, by way.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SETTINGS = [(candidates, spread) for candidates in (12, 100) for spread in (0.5, 1.0, 2.0)]
KEPT = 10  # candidates by screening that any of the ways looks at


@dataclass(frozen=True)
class Field:
    """The best by screening in many searches: [searches, KEPT], the best first."""

    true: Floats
    screened: Floats
    lengths: Floats
    best: float
    """Mean true gain of the best candidate of all."""
    rng: np.random.Generator

    def worth(self, chosen: NDArray[np.int64]) -> float:
        """The figure of those chosen (places by screening)."""
        return float(np.take_along_axis(self.true, chosen[:, None], 1).mean()) - self.best


def field_of(candidates: int, spread: float, searches: int, rng: np.random.Generator) -> Field:
    true = rng.normal(0, spread, (searches, candidates))
    screened = true + rng.normal(size=true.shape)
    order = np.argsort(-screened, axis=1)[:, :KEPT]
    kept = [np.take_along_axis(values, order, 1) for values in (true, screened)]
    return Field(kept[0], kept[1], rng.random((searches, order.shape[1])), float(true.max(1).mean()), rng)


def equal_numbers(field: Field, finalists: int, runs: int, pooled: bool) -> float:
    true = field.true[:, :finalists]
    means = true + field.rng.normal(size=true.shape) / np.sqrt(runs)
    if pooled:
        means = (means * runs + field.screened[:, :finalists]) / (runs + 1)
    return field.worth(means.argmax(1))


def one_by_one(field: Field, finalists: int, runs: int, rule: str) -> float:
    """Confirm runs go one by one to whom the rule names; screenings count as the first runs."""
    rows = np.arange(len(field.true))
    sums, counts = field.screened[:, :finalists].copy(), np.ones((len(rows), finalists))
    for spent in range(runs):
        means = sums / counts
        ocba = rule == "ocba"
        chosen = _ocba(means, counts, finalists + spent + 1) if ocba else _top_two(means, counts, field.rng)
        sums[rows, chosen] += field.true[rows, chosen] + field.rng.normal(size=len(rows))
        counts[rows, chosen] += 1
    return field.worth((sums / counts).argmax(1))


def _ocba(means: Floats, counts: Floats, total: int) -> NDArray[np.int64]:
    """Who lacks most of its share: ``N_i ~ 1/d_i^2`` for the others, ``N_b = sqrt(sum N_i^2)`` for the best."""
    rows, best = np.arange(len(means)), means.argmax(1)
    behind = means[rows, best][:, None] - means
    behind[rows, best] = np.inf
    shares = 1 / np.maximum(behind, 1e-3) ** 2
    shares[rows, best] = np.sqrt((shares**2).sum(1))
    return np.asarray((total * shares / shares.sum(1, keepdims=True) - counts).argmax(1))


def _top_two(means: Floats, counts: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One draw from the posteriors names the first; with probability 1/2 its rival in another draw is run instead."""
    rows = np.arange(len(means))
    first = (means + rng.normal(size=means.shape) / np.sqrt(counts)).argmax(1)
    again = means + rng.normal(size=means.shape) / np.sqrt(counts)
    again[rows, first] = -np.inf
    return np.where(rng.random(len(rows)) < 0.5, first, again.argmax(1))


def short(field: Field, errors: float) -> float:
    """3x2, and shorter code at equal score: equal is within so many standard errors of the difference."""
    rows = np.arange(len(field.true))
    near = field.screened[:, 2:] >= field.screened[:, :1] - errors * np.sqrt(2)
    shortest = np.where(near, field.lengths[:, 2:], np.inf).argmin(1) + 2
    shorter = near.any(1) & (field.lengths[rows, shortest] < field.lengths[:, :2].min(1))
    places = np.stack([np.zeros_like(shortest), np.ones_like(shortest), np.where(shorter, shortest, 2)], 1)
    true, lengths = (np.take_along_axis(values, places, 1) for values in (field.true, field.lengths))
    means = true + field.rng.normal(size=true.shape) / np.sqrt(2)
    equal = means >= means.max(1, keepdims=True) - errors  # sigma sqrt(1/2 + 1/2) is one sigma
    return field.worth(places[rows, np.where(equal, lengths, np.inf).argmin(1)])


def ways(field: Field) -> Iterator[tuple[str, float]]:
    """Every way with its figure."""
    yield "3x2", equal_numbers(field, 3, 2, pooled=False)
    yield "3x2 pooled", equal_numbers(field, 3, 2, pooled=True)
    yield "6x1", equal_numbers(field, 6, 1, pooled=False)
    yield "2x3", equal_numbers(field, 2, 3, pooled=False)
    yield "ocba 4", one_by_one(field, 4, 6, "ocba")
    yield "toptwo 4", one_by_one(field, 4, 6, "toptwo")
    yield "5x3", equal_numbers(field, 5, 3, pooled=False)
    yield "5x3 pooled", equal_numbers(field, 5, 3, pooled=True)
    yield "ocba 7", one_by_one(field, 7, 15, "ocba")
    yield "short 0.25", short(field, 0.25)
    yield "short 0.5", short(field, 0.5)
    yield "short 1", short(field, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the searches")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    columns = [dict(ways(field_of(*setting, 2_000 if options.quick else 20_000, rng))) for setting in SETTINGS]
    print(f"{'':<11}" + "".join(f"{f'{candidates}, {spread:g}':>9}" for candidates, spread in SETTINGS) + "     mean")
    figures = {name: float(np.mean([column[name] for column in columns])) for name in columns[0]}
    for name, mean in figures.items():
        print(f"{name:<11}" + "".join(f"{column[name]:>9.3f}" for column in columns) + f"{mean:>9.3f}")
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
