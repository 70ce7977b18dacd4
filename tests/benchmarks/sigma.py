"""How well is the seed deviation known, and what follows: coverage, audits, seeds, power, false champions.

    python tests/benchmarks/sigma.py [--quick] [--seed 0]

Scores of one program are normal with a deviation of 1, of a task whose smallest gain says 1, a third or three times
it. The estimate is that of the search (archive/noise.py) from a root with 2, 3 and 10 runs; `outlier`: one run of the
root is 15 deviations off; `by_node`: the root has 3 runs and four leaders 2 each, whose own deviations are between 0.5
and 2. `old` is the estimate before: the pooled deviation, never below the root's own. Columns and keys:

    coverage        share of the intervals that hold the true deviation (67% are meant)
    far_too_small   share of estimates below a quarter of it
    median, high    of the estimate; and of its upper end, by which claims are sized
    positions       audit positions for a leader, relative to those with the true deviation: (1 / low)^2
    seeds, power    report seeds a side that a claim takes (4 to 12) for a gain of 1.5, and its power with them
    false_champion  share of claims, so sized, that crown a node which is no better (by Welch's interval, 2.5% at most)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
from scipy.special import chdtri  # noqa: E402

from archive.difference import Difference, welch  # noqa: E402
from archive.interval import deviation  # noqa: E402
from archive.noise import NoisePrior, SeedDeviation, estimate  # noqa: E402
from search.claims.statistics import power, runs_for  # noqa: E402

GAIN, LEAST, MOST, WANTED = 1.5, 4, 12, 0.8
Groups = list[list[float]]
Draw = Callable[[np.random.Generator], Groups]
Rule = Callable[[Groups], SeedDeviation | None]


def root(runs: int, outlier: bool = False) -> Draw:
    """Return a drawing of a root with so many runs, one of them off if ``outlier``."""

    def draw(rng: np.random.Generator) -> Groups:
        scores = rng.normal(0, 1, runs)
        scores[0] += 15 * outlier
        return [list(scores)]

    return draw


def by_node(rng: np.random.Generator) -> Groups:
    """Draw a root with three runs and four leaders with two each, whose deviations differ."""
    return [list(rng.normal(0, 1, 3)), *(list(rng.normal(0, rng.uniform(0.5, 2), 2)) for _ in range(4))]


def before(groups: Groups) -> SeedDeviation | None:
    """Return the estimate of before: pooled, with the root's own deviation as its floor; claims took a bound of it."""
    free = sum(len(group) - 1 for group in groups)
    squares = sum((len(group) - 1) * (deviation(group) or 0.0) ** 2 for group in groups)
    value = max((squares / free) ** 0.5, deviation(groups[0]) or 0.0)
    return SeedDeviation(value, value, value * (free / float(chdtri(free, 2 / 3))) ** 0.5, free)


def with_prior(prior: float | None) -> Rule:
    """Return the estimate of the search with this prior of the weight that a task's smallest gain has."""
    known = None if prior is None else NoisePrior(prior, 1)
    return lambda groups: estimate(groups, known)


def figures(draw: Draw, rule: Rule, tries: int, rng: np.random.Generator) -> dict[str, float]:
    """Simulate one row of the table."""
    found = [one for one in (rule(draw(rng)) for _ in range(tries)) if one is not None]
    seeds = [runs_for(GAIN / one.high, WANTED, MOST) if one.high else LEAST for one in found]
    seeds = [max(LEAST, number) for number in seeds]
    values = np.array([one.value for one in found])
    return {
        "coverage": float(np.mean([one.low <= 1 <= one.high for one in found])),
        "far_too_small": float(np.mean(values < 0.25)),
        "median": float(np.median(values)),
        "high": float(np.median([one.high for one in found])),
        "positions": float(np.median([one.low**-2 for one in found if one.low > 0])),
        "seeds": float(np.mean(seeds)),
        "power": float(np.mean([power(GAIN, number) for number in seeds])),
        "false_champion": float(np.mean([crowned(number, rng) for number in seeds])),
    }


def crowned(seeds: int, rng: np.random.Generator) -> bool:
    """Return whether a node that equals the root wins a claim with so many seeds a side."""
    found = welch(list(rng.normal(0, 1, seeds)), list(rng.normal(0, 1, seeds)), "minimise")
    return isinstance(found, Difference) and found.significant


def rows() -> Sequence[tuple[str, Draw, Rule]]:
    """Return (name, drawing, rule) of the table's rows."""
    draws: dict[str, Draw] = {f"{runs}_runs": root(runs) for runs in (2, 3, 10)}
    draws |= {"3_outlier": root(3, outlier=True), "10_outlier": root(10, outlier=True), "by_node": by_node}
    rules = {"old": before, "none": with_prior(None), "right": with_prior(1.0)}
    rules |= {"third": with_prior(1 / 3), "triple": with_prior(3.0)}
    return [(f"{name}_{prior}", draw, rule) for name, draw in draws.items() for prior, rule in rules.items()]


def main() -> None:
    """Print the table, and all figures as JSON on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    options = parser.parse_args()
    tries, result = (200 if options.quick else 2000), {}
    for number, (name, draw, rule) in enumerate(rows()):
        result[name] = figures(draw, rule, tries, np.random.default_rng((options.seed, number)))
        if number == 0:
            print(f"{'':<18}" + "".join(f"{key:>15}" for key in result[name]))
        print(f"{name:<18}" + "".join(f"{value:>15.3f}" for value in result[name].values()), flush=True)
    rounded = {name: {key: round(value, 4) for key, value in found.items()} for name, found in result.items()}
    print(json.dumps(rounded | {"quick": options.quick}))


if __name__ == "__main__":
    main()
