"""How fast each policy climbs, and whether what it hands over is good: searches on tables of real trainings.

    python tests/benchmarks/policies.py --quick                  the default, few tables and seeds; under a minute
    python tests/benchmarks/policies.py --policy ucb --seeds 20  one policy on all tables
    python tests/benchmarks/policies.py --all --out policies.svg every policy, the published ones, TPE and CMA-ES

Each search starts at a setting between the 30th and the 70th percentile and has 100 evaluations; one child in five
crashes. What counts is the log10 of the true percentile, lower is better: of the best node in the tree, and of the
node that is handed over. Policies of ours are the YAML files of ``conf/policy`` with ``tune`` and ``crossover``, their
opening and rechecks included, and pay for the claim's confirm stage from the same evaluations. The published ones
(``published NAME``) have the operator of the published comparison, one root run, pay again for settings that they know,
and hand over the best single run.

HPOLib is held out: its tables were not looked at while the default was chosen. See ``search/playing``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from playing import Mutation, in_processes, summary

from search.playing import tables
from search.playing.game import CRASHES, Played, Player, play
from search.playing.players import shipped

CONF = Path(__file__).parents[2] / "conf"
EVALUATIONS = 100
GREEDY = "published greedy"
"""What it reaches at 100 evaluations is the mark for ``to_greedy100``."""
PUBLISHED = ("ucb", "futs", "rank_softmax", "greedy", "uct", "random")
"""Policies of ours that are compared with their published rows."""


# ---------------------------------------------------------------- who plays


def player(name: str) -> Player:
    """A policy of ``conf/policy``, or a published row: ``published greedy``."""
    config = OmegaConf.load(CONF / "policy" / f"{name.removeprefix('published ')}.yaml")
    if name.startswith("published "):
        config.opening.root_runs, config.recheck.runs = 1, 1
        return Player(instantiate(config), lambda table: {"mutation": Mutation(table, copies=True)}, {})
    return shipped(name)


def sampled(table: tables.Table, sampler: str, seed: int, evaluations: int) -> Played:
    """Optuna's own loop from random starts: ``tpe`` or ``cmaes``. Names are categories, the rest places in a list."""
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng([seed, 4])
    spaces: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(range(len(values))) if table.unordered else IntDistribution(0, len(values) - 1)
        for name, values in table.choices.items()
    }
    chosen = optuna.samplers.TPESampler(seed=seed) if sampler == "tpe" else optuna.samplers.CmaEsSampler(seed=seed)
    study = optuna.create_study(sampler=chosen)
    best, here = [], 0.0
    scores: dict[tables.Setting, float] = {}
    for _ in range(evaluations):
        trial = study.ask(spaces)
        setting = tuple(int(trial.params[name]) for name in table.choices)
        if rng.random() < CRASHES:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            score = table.draw(setting, int(rng.integers(2**31)))
            study.tell(trial, score)
            scores[setting] = min(score, scores.get(setting, np.inf))
            here = min(here, float(table.percentiles[table.place(setting)]))
        best.append(here)
    picked = min(scores, key=scores.__getitem__)
    return Played(np.array(best), float(table.percentiles[table.place(picked)]))


@dataclass(frozen=True)
class Job:
    """One search: who, where, with which seed, in how many slots."""

    name: str
    table: tuple[str, str]
    seed: int
    slots: int = 1


def run(job: Job) -> tuple[Job, Played]:
    table = tables.load(*job.table)
    if job.name in ("tpe", "cmaes"):
        return job, sampled(table, job.name, job.seed, EVALUATIONS)
    return job, play(table, player(job.name), job.seed, EVALUATIONS, job.slots)


Results = dict[tuple[str, int], list[tuple[Job, Played]]]
"""By name and slots."""


def run_all(jobs: Sequence[Job], workers: int) -> Results:
    """All searches. Sorted by table, since a table takes a while to load."""
    results: Results = {}
    for job, played in in_processes(run, sorted(jobs, key=lambda job: job.table), workers):
        results.setdefault((job.name, job.slots), []).append((job, played))
    return results


# ---------------------------------------------------------------- what came of it


def over(
    results: Sequence[tuple[Job, Played]], families: Sequence[str], figure: Callable[[Played], float]
) -> tuple[float, float]:
    """Mean and standard error of a figure over the searches of some families."""
    values = [figure(played) for job, played in results if job.table[0] in families]
    return summary(values) if values else (float("nan"), float("nan"))


def curve(results: Sequence[tuple[Job, Played]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[evaluations] of the mean best."""
    return np.mean([played.best for job, played in results if job.table[0] != "nk"], axis=0)


def evaluations_to(results: Sequence[tuple[Job, Played]], target: float) -> int | None:
    """Evaluations until the mean best has reached ``target``; None if it never does."""
    reached = np.flatnonzero(curve(results) <= target)
    return int(reached[0]) + 1 if len(reached) else None


def figures(results: Results, name: str, greedy: float) -> dict[str, float | int | None]:
    """The keys of the last line, for one policy."""
    one, real = results[name, 1], (*tables.DEVELOPED_ON, "hpolib")
    eight = results.get((name, 8))
    best = over(one, real, lambda played: float(played.best[-1]))
    picked = over(one, real, lambda played: played.picked)
    return {
        "best": round(best[0], 3),
        "best_error": round(best[1], 3),
        "picked": round(picked[0], 3),
        "picked_error": round(picked[1], 3),
        "to_greedy100": evaluations_to(one, greedy),
        "loss_8": None
        if eight is None
        else round(over(eight, real, lambda played: float(played.best[-1]))[0] - best[0], 3),
        "best_held_out": round(over(one, ("hpolib",), lambda played: float(played.best[-1]))[0], 3),
        "picked_held_out": round(over(one, ("hpolib",), lambda played: played.picked)[0], 3),
        "best_nk": round(over(one, ("nk",), lambda played: float(played.best[-1]))[0], 3),
    }


def table_of(results: Results) -> str:
    """A Markdown table, the best first."""
    real = (*tables.DEVELOPED_ON, "hpolib")
    rows = []
    for (name, slots), one in results.items():
        figures = [
            over(one, families, figure)
            for families in (real, tables.DEVELOPED_ON, ("hpolib",), ("nk",))
            for figure in ((lambda played: float(played.best[-1])), (lambda played: played.picked))
        ]
        cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in figures]
        label = name if slots == 1 else f"{name}, {slots} slots"
        rows.append((figures[0][0], f"| {label} | {' | '.join(cells)} |"))
    head = "| policy | best | picked | developed on: best | picked | held out: best | picked | NK: best | picked |"
    return "\n".join([head, "|---|" + "---|" * 8, *(row for _, row in sorted(rows))])


def draw(results: Results, path: Path) -> None:
    """The mean best by evaluations, one line a policy."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5))
    for (name, slots), one in sorted(results.items()):
        if slots == 1:
            axes.plot(np.arange(1, EVALUATIONS + 1), curve(one), label=name, linewidth=1.2)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("log10 of the true percentile, best so far")
    axes.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(path)


# ---------------------------------------------------------------- command line


def jobs_for(names: Mapping[str, Sequence[int]], places: Sequence[tuple[str, str]], seeds: int) -> list[Job]:
    """``names``: each with the numbers of slots that it is played with."""
    return [
        Job(name, place, seed, slots)
        for name, many in names.items()
        for slots in many
        for place in places
        for seed in range(seeds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="ucb", help="a file of conf/policy (default: the default, ucb)")
    parser.add_argument("--published", action="store_true", help="the published rows, Optuna's TPE and CMA-ES as well")
    parser.add_argument("--all", action="store_true", help="every policy, and the published rows")
    parser.add_argument("--seeds", type=int, default=20, help="searches on each table (default 20)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--quick", action="store_true", help="4 tables and 2 seeds: a look, not a result")
    parser.add_argument("--out", type=Path, help="draw the curves to this file (.svg or .png)")
    options = parser.parse_args()
    places = [*tables.names(), ("nk", "1"), ("nk", "2"), ("nk", "3")]
    seeds = options.seeds
    if options.quick:
        places, seeds = (
            [("nasbench201", "cifar10"), ("hpobench", "car"), ("hpolib", "protein_structure"), ("nk", "1")],
            2,
        )
    names: dict[str, Sequence[int]] = {options.policy: (1, 8), GREEDY: (1,)}
    if options.all:
        names |= {file.stem: names.get(file.stem, (1,)) for file in sorted((CONF / "policy").glob("*.yaml"))}
    if options.all or options.published:
        names |= {f"published {name}": (1,) for name in PUBLISHED} | {"tpe": (1,), "cmaes": (1,)}
    results = run_all(jobs_for(names, places, seeds), options.workers)
    print(table_of(results))
    if options.out is not None:
        draw(results, options.out)
    greedy = curve(results[GREEDY, 1])[-1]
    line = {"policy": options.policy, "tables": len(places), "seeds": seeds, "greedy_100": round(float(greedy), 3)}
    print(json.dumps({**line, **figures(results, options.policy, float(greedy)), "quick": options.quick}))


if __name__ == "__main__":
    main()
