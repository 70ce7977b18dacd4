"""What a claim costs and how often it errs: looks, finalists, unequal deviations, an outlier, several claims in a run.

    python tests/benchmarks/claims.py [--quick] [--seed 0]

Arithmetic alone, through the functions that judge claims (archive/difference.py, search/claims/looks.py). The root's
seed deviation is 1, so gains are in sigma. Scores of the second look are on text of its own, which is harder.

    seeds_N     claims of N seeds a side with one finalist: from 5 on they may stop after 3 (4,000 claims a gain)
    sd_S        five seeds, and the champion's seed deviation is S times the root's
    outlier     five seeds, one of the ten scores is 10 sigma off, up or down
    several     runs of six null claims, each at the level of the error budget: share of runs that ever crown
    whole_T     finalists, confirmation and report of 12 candidates whose true gains deviate by T: evaluations, and the
                true gain of the reported one less the best; `kept`: evaluations that the claim may take, so that the
                search does not have them; `before`: one look, three finalists twice each, four seeds a side

Columns and keys of the last line: power (share of champions; with gain 0 the false ones, 2.5% are allowed), covered
(share of the intervals that hold the true gain), pairs (mean seeds a side), first (share that ends at the first look).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from archive.difference import Difference, ScoreStage, welch, welch_in_stages  # noqa: E402
from archive.interval import NoInterval  # noqa: E402
from search.claims.error_budget import spent_confidence  # noqa: E402
from search.claims.looks import boundary, stopped  # noqa: E402
from search.claims.parsimony import Standing, within  # noqa: E402
from search.claims.plan import CERTAIN, CLEAR, seeds_for  # noqa: E402
from search.config import FIRST_LOOK, LOOK_SEEDS, ClaimPlan  # noqa: E402

GAINS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
HARDER = 3.0
WORTH, BUDGET = 1.5, 14
"""The smallest gain worth claiming, and the evaluations of a claim in the default budget."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ended:
    """How a simulated claim ended."""

    champion: bool
    holds: bool
    pairs: int


def claim(root: Floats, other: Floats, gain: float, confidence: float = 0.95) -> Ended:
    """Judge the scores of both sides as a claim does, in one look or two."""
    plan = ClaimPlan(candidates=1, report_seeds=len(root))
    if len(plan.look_seeds) == 1:
        return _ended(welch(list(root), list(other), "minimise", confidence), gain, len(root))
    levels = boundary((1 - confidence) / 2, plan.look_seeds[0] / plan.look_seeds[1])
    early = ScoreStage(list(root[:FIRST_LOOK]), list(other[:FIRST_LOOK]))
    first = welch_in_stages([early], "minimise", confidence)
    assert isinstance(first, Difference)
    if (why := stopped(first, levels)) is not None:
        return Ended(why == "success", first.low <= gain <= first.high, FIRST_LOOK)
    late = ScoreStage(list(root[FIRST_LOOK:] + HARDER), list(other[FIRST_LOOK:] + HARDER))
    return _ended(welch_in_stages([early, late], "minimise", levels.confidence), gain, len(root))


def _ended(difference: Difference | NoInterval, gain: float, pairs: int) -> Ended:
    assert isinstance(difference, Difference)
    return Ended(difference.significant, difference.low <= gain <= difference.high, pairs)


def one(rng: np.random.Generator, seeds: int, gain: float, deviation: float = 1.0, outlier: float = 0.0) -> Ended:
    """Draw one claim of a single finalist."""
    scores = np.array([rng.normal(0, 1, seeds), rng.normal(-gain, deviation, seeds)])
    scores[rng.integers(2), rng.integers(seeds)] += rng.choice([-1, 1]) * outlier
    return claim(scores[0], scores[1], gain)


def several(rng: np.random.Generator, claims: int = 6) -> bool:
    """Return whether any of a run's null claims has a champion."""
    found = [
        claim(rng.normal(0, 1, 5), rng.normal(0, 1, 5), 0.0, spent_confidence(0.95, earlier))
        for earlier in range(claims)
    ]
    return any(each.champion for each in found)


def whole(rng: np.random.Generator, spread: float, looks: bool) -> tuple[int, int, float]:
    """Return of a claim among 12 candidates: evaluations made, those kept, and true gain of the reported less the best.

    The deviation is known here; the search estimates it.
    """
    gains = rng.normal(0, spread, 12)
    screened = gains + rng.normal(0, 1, 12)
    best = np.argsort(-screened)[:3]
    lead = screened[best[0]] - rng.normal(0, 1 / math.sqrt(3)) - math.sqrt(2 * math.log(13))
    near = [n for n in best if not looks or within(_of(screened, n), _of(screened, best[0]), 1.0)]
    seeds = 1 if looks and lead >= CLEAR else 2
    confirmed = {n: gains[n] + rng.normal(0, 1 / math.sqrt(seeds)) for n in near}
    winner = max(confirmed, key=lambda n: confirmed[n])
    confirms = len(near) * seeds if len(near) > 1 else 0
    plan = ClaimPlan(candidates=1)
    wanted = max(LOOK_SEEDS, seeds_for(plan, max(WORTH, lead), plan.power, plan.most_report_seeds, plan.confidence))
    wanted = FIRST_LOOK if lead >= CERTAIN else wanted
    seeds = min(wanted, (BUDGET - confirms) // 2) if looks else 4
    reports = one(rng, seeds, float(gains[winner])).pairs if looks else 4
    return confirms + 2 * reports, confirms + 2 * seeds, float(gains[winner] - gains.max())


def _of(screened: Floats, place: int) -> Standing:
    return Standing(str(place), float(-screened[place]), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the claims")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    options = parser.parse_args()
    rng, number = np.random.default_rng(options.seed), 200 if options.quick else 4000
    kinds: dict[str, tuple[int, float, float]] = {f"seeds_{n}": (n, 1.0, 0.0) for n in (2, 3, 4, 5, 6, 7, 12)}
    kinds |= {f"sd_{s:g}": (5, s, 0.0) for s in (0.5, 2.0, 4.0)} | {"outlier": (5, 1.0, 10.0)}
    figures: dict[str, float | bool] = {"quick": options.quick}
    print(f"{'':<10} gain  power  covered  pairs  first")
    for name, (seeds, deviation, outlier) in kinds.items():
        for gain in GAINS:
            found = [one(rng, seeds, gain, deviation, outlier) for _ in range(number)]
            columns = {
                "power": np.mean([each.champion for each in found]),
                "covered": np.mean([each.holds for each in found]),
                "pairs": np.mean([each.pairs for each in found]),
                "first": np.mean([each.pairs < seeds for each in found]),
            }
            figures |= {f"{name}_{gain:g}_{key}": round(float(value), 4) for key, value in columns.items()}
            cells = [columns[key] for key in ("power", "covered", "pairs", "first")]
            print(f"{name:<10} {gain:>4g} {cells[0]:>6.1%} {cells[1]:>8.1%} {cells[2]:>6.2f} {cells[3]:>6.0%}")
    figures["several"] = float(np.mean([several(rng) for _ in range(number)]))
    print(f"{'several':<10} {figures['several']:.1%} of runs with six null claims ever crown")
    for spread in (0.5, 1.0, 2.0, 4.0, 8.0):
        for label, looks in (("before", False), ("now", True)):
            made, kept, loss = np.mean([whole(rng, spread, looks) for _ in range(number)], axis=0)
            figures |= {
                f"{name}_{spread:g}_{label}": x for name, x in (("whole", made), ("kept", kept), ("loss", loss))
            }
            print(f"whole_{spread:<4g} {label:<6} {made:.1f} evaluations of {kept:.1f} kept, {loss:+.3f} of the best")
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
