"""What better choosing could gain: questions asked of the histories of shipped searches on ``policies.py``'s tables.

    python tests/benchmarks/histories.py --quick                 one NK landscape, two seeds
    python tests/benchmarks/histories.py --families nasbench201 hpobench --seeds 4

Whole searches differ by luck; two ways of choosing on the same history do not. *Finalists*: the true percentile (log10,
lower is better) of the winner of KxM confirm runs after 94 evaluations, or fewer where the runs are paid for, with the
finalists by their mean or by the surrogate; one run in five fails. *Proposals*: the same children of the leader ranked
in several ways after some evaluations: the true percentile of the first, what it gains on the best so far, and the
rank correlation with the truth. Each figure is less the shipped way's, with its standard error. Real tables need the
extra [bench].
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from playing import summary
from scipy.stats import spearmanr

from archive.records import Scored
from operators.languages.files import Editable
from operators.numeric.observations import search_space
from operators.numeric.proposer import proposals
from operators.numeric.proposer.surrogate import GpSurrogate
from operators.numeric.proposer.trials import Observation, Space, Values
from search.playing import tables
from search.playing.game import CRASHES, PATH, Game, _task
from search.playing.players import shipped
from search.playing.tables import Setting, Table

CONFIRMED_AFTER = 94
PLANS = {"3x2": (94, 3, 2), "3x3 unpaid": (94, 3, 3), "3x4 unpaid": (94, 3, 4), "10x6 unpaid": (94, 10, 6),
         "3x3": (91, 3, 3), "3x4": (88, 3, 4)}  # fmt: skip
"""Evaluations of the search, finalists, runs of each."""
ASKED_AFTER = (14, 30, 50, 70, 90)


@dataclass(frozen=True)
class History:
    """One search: for each evaluation the setting, and its score; None if it failed."""

    table: Table
    space: Space
    seed: int
    evaluations: Sequence[tuple[Setting, float | None]]

    def known(self, count: int) -> dict[Setting, list[float]]:
        """The scores of each setting after so many evaluations; none of one that has only failed."""
        found: dict[Setting, list[float]] = {}
        for setting, score in self.evaluations[:count]:
            found.setdefault(setting, []).extend([] if score is None else [score])
        return found

    def observations(self, count: int) -> list[Observation]:
        return [
            Observation(self.values(setting), float(np.mean(scores)), len(scores))
            if scores
            else Observation(self.values(setting), None, state="failed")
            for setting, scores in self.known(count).items()
        ]

    def values(self, setting: Setting) -> Values:
        return {key: self.table.choices[key[1]][place] for key, place in zip(self.space, setting, strict=True)}

    def percentile(self, setting: Setting) -> float:
        return float(self.table.percentiles[self.table.place(setting)])


def history(place: tuple[str, str], seed: int) -> History:
    """Play the shipped search up to its claim."""
    table = tables.load(*place)
    game = Game(table, shipped("ucb"), seed)
    game.search(CONFIRMED_AFTER, 1)
    space = search_space({PATH: table.program((0,) * len(table.sizes))}, Editable.of(_task(table)))
    rows = [(game._setting(e.request.files), e.score if isinstance(e, Scored) else None) for e in game._told]
    return History(table, space, seed, rows)


# ---------------------------------------------------------------- finalists


def by_mean(found: History, count: int) -> list[Setting]:
    """The scored settings, the best mean first."""
    known = {setting: np.mean(scores) for setting, scores in found.known(count).items() if scores}
    return sorted(known, key=known.__getitem__)


def by_surrogate(found: History, count: int) -> list[Setting]:
    """The scored settings, the best posterior mean first."""
    settings = by_mean(found, count)
    model = GpSurrogate(found.observations(count), found.space, "minimise")
    means = model.predict([found.values(setting) for setting in settings]).mean
    return [settings[int(place)] for place in np.argsort(-means, kind="stable")]


def confirmed(found: History, order: Sequence[Setting], finalists: int, runs: int, rng: np.random.Generator) -> float:
    """The percentile of the best mean of confirm runs; one that always fails is out."""
    means = {}
    for setting in order[:finalists]:
        scores = [found.table.draw(setting, int(rng.integers(2**31))) for _ in range(runs) if rng.random() >= CRASHES]
        if scores:
            means[setting] = np.mean(scores)
    return found.percentile(min(means, key=means.__getitem__) if means else order[0])


def handed_over(found: History, draws: int) -> dict[str, float]:
    """By plan, the mean percentile of the winner over draws of the confirm runs."""
    ways = {name: (by_mean(found, count), k, runs) for name, (count, k, runs) in PLANS.items()}
    ways["3x2 by the surrogate"] = (by_surrogate(found, CONFIRMED_AFTER), 3, 2)
    return {
        name: float(
            np.mean([confirmed(found, order, k, runs, np.random.default_rng([found.seed, n])) for n in range(draws)])
        )
        for name, (order, k, runs) in ways.items()
    }


# ---------------------------------------------------------------- proposals


def proposed(found: History, count: int) -> dict[str, NDArray[np.float64]] | None:
    """By way, [percentile of the first child, its gain, rank correlation]; None where every child is known."""
    rng = np.random.default_rng([found.seed, count])
    observations, keys = found.observations(count), tuple(found.space)
    seen = {proposals._setting(one.values, keys) for one in observations}
    best = proposals.elites(observations, "minimise")
    start = found.values(by_mean(found, count)[0])
    children = {proposals._setting(c, keys): c for c in proposals._children(start, found.space, best, rng)}
    fresh = [child for setting, child in children.items() if setting not in seen]
    if len(fresh) < 3:
        return None
    truth = np.array([found.percentile(found.table.setting({n: v for (_, n), v in c.items()})) for c in fresh])
    reached = min(found.percentile(setting) for setting, scores in found.known(count).items() if scores)
    model = GpSurrogate(observations, found.space, "minimise").predict(fresh)
    ways = {
        "expected improvement": model.improvement,
        "mean": model.mean,
        "mean + deviation": model.mean + model.deviation,
        "mean - deviation": model.mean - model.deviation,
        "random": rng.random(len(fresh)),
    }
    return {name: _worth(value, truth, reached) for name, value in ways.items()}


def _worth(value: NDArray[np.float64], truth: NDArray[np.float64], reached: float) -> NDArray[np.float64]:
    first = truth[int(np.argsort(-value, kind="stable")[0])]
    return np.array([first, min(0.0, first - reached), spearmanr(value, -truth).statistic])


# ---------------------------------------------------------------- command line


def less(rows: Sequence[Mapping[str, float]]) -> Iterator[tuple[str, float, float, float]]:
    """By way: the mean, and the mean difference from the first way with its standard error."""
    shipped_way = next(iter(rows[0]))
    for name in rows[0]:
        difference, error = summary([row[name] - row[shipped_way] for row in rows])
        yield name, float(np.mean([row[name] for row in rows])), difference, error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(tables.DEVELOPED_ON), help="of tables (default: both)")
    parser.add_argument("--seeds", type=int, default=4, help="searches on each table (default 4)")
    parser.add_argument("--first", type=int, default=5000, help="the first seed (default 5000)")
    parser.add_argument("--draws", type=int, default=30, help="of the confirm runs (default 30)")
    parser.add_argument("--quick", action="store_true", help="one NK landscape and two seeds: a look, not a result")
    options = parser.parse_args()
    places = [place for place in tables.names() if place[0] in options.families]
    if options.quick:
        places, options.seeds = [("nk", "1")], 2
    seeds = range(options.first, options.first + options.seeds)
    histories = [history(place, seed) for place in places for seed in seeds]
    figures: dict[str, dict[str, list[float]]] = {}
    sections = {"finalists": [handed_over(found, options.draws) for found in histories]}
    states = [state for found in histories for count in ASKED_AFTER if (state := proposed(found, count)) is not None]
    for column, title in enumerate(("first", "gain", "correlation")):
        sections[title] = [{name: float(row[column]) for name, row in state.items()} for state in states]
    for title, rows in sections.items():
        print(f"\n{title}, {len(rows)} cases\n\n| way | mean | less the shipped |\n|---|---|---|")
        for name, mean, difference, error in less(rows):
            print(f"| {name} | {mean:.3f} | {difference:+.3f} ± {error:.3f} |")
            figures.setdefault(title, {})[name] = [round(difference, 4), round(error, 4)]
    print(json.dumps({"searches": len(histories), **figures, "quick": options.quick}))


if __name__ == "__main__":
    main()
