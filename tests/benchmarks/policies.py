"""How fast each policy climbs, and whether what it hands over is good: searches on tables of real trainings.

    python tests/benchmarks/policies.py --quick                  the default, few tables and seeds; under a minute
    python tests/benchmarks/policies.py --policy ucb --seeds 20  one policy on all tables
    python tests/benchmarks/policies.py --all --out policies.svg every policy, the published ones, TPE and CMA-ES
    python tests/benchmarks/policies.py --rows gp auto smac      these rows beside --policy (``policies_samplers``)

Each search starts at a setting between the 30th and the 70th percentile and has 100 evaluations; one child in five
crashes. What counts is the log10 of the true percentile, lower is better: of the best node in the tree, and of the
node that is handed over. Policies of ours are the YAML files of ``conf/policy`` with ``tune`` and ``crossover``, their
opening and rechecks included, and pay for the claim's confirm stage from the same evaluations. The published ones
(``published NAME``) have the operator of the published comparison, one root run, pay again for settings that they know,
and hand over the best single run.

Beside the means stand ranks over tables, with Nemenyi's critical difference (``policies_ranks``). ``--results FILE``
keeps the searches, one JSON object a line; those that the file has are not played again, so a stopped command resumes.

HPOLib is held out: its tables were not looked at while the default was chosen. See ``search/playing``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from playing import Mutation, in_processes, summary
from policies_ranks import Ranks, diagram, ranks
from policies_ranks import draw as draw_ranks
from policies_samplers import SAMPLERS, sampled

from search.playing import tables
from search.playing.game import Played, Player, play
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


@dataclass(frozen=True, order=True)
class Job:
    """One search: who, where, with which seed, in how many slots."""

    name: str
    table: tuple[str, str]
    seed: int
    slots: int = 1


def run(job: Job) -> tuple[Job, Played]:
    table = tables.load(*job.table)
    if job.name in SAMPLERS:
        return job, sampled(job.name, table, job.seed, EVALUATIONS)
    return job, play(table, player(job.name), job.seed, EVALUATIONS, job.slots)


Results = dict[tuple[str, int], list[tuple[Job, Played]]]
"""By name and slots."""


def run_all(jobs: Sequence[Job], workers: int, file: Path | None = None) -> Results:
    """All searches, by seed, so that a stopped command has all tables; those that the file has are read from it."""
    known = dict(kept(file)) if file is not None and file.exists() else {}
    due = sorted((job for job in jobs if job not in known), key=lambda job: (job.seed, job.table))
    results: Results = {}
    with nullcontext() if file is None else file.open("a") as lines:
        for job, played in in_processes(run, due, workers):
            known[job] = played
            if lines is not None:
                row = asdict(job) | {"best": played.best.round(4).tolist(), "picked": played.picked}
                print(json.dumps(row), file=lines, flush=True)
    for job in jobs:
        results.setdefault((job.name, job.slots), []).append((job, known[job]))
    return results


def kept(file: Path) -> Iterator[tuple[Job, Played]]:
    """The searches of a file of results."""
    for line in file.read_text().splitlines():
        row = json.loads(line)
        best, picked = row.pop("best"), row.pop("picked")
        yield Job(**row | {"table": tuple(row["table"])}), Played(np.array(best), picked)


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
    best = over(one, real, best_of)
    picked = over(one, real, picked_of)
    return {
        "best": round(best[0], 3),
        "best_error": round(best[1], 3),
        "picked": round(picked[0], 3),
        "picked_error": round(picked[1], 3),
        "to_greedy100": evaluations_to(one, greedy),
        "loss_8": None if eight is None else round(over(eight, real, best_of)[0] - best[0], 3),
        "best_held_out": round(over(one, ("hpolib",), best_of)[0], 3),
        "picked_held_out": round(over(one, ("hpolib",), picked_of)[0], 3),
        "best_nk": round(over(one, ("nk",), best_of)[0], 3),
    }


def table_of(results: Results) -> str:
    """A Markdown table, the best first."""
    real = (*tables.DEVELOPED_ON, "hpolib")
    rows = []
    for (name, slots), one in results.items():
        figures = [
            over(one, families, figure)
            for families in (real, tables.DEVELOPED_ON, ("hpolib",), ("nk",))
            for figure in (best_of, picked_of)
        ]
        cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in figures]
        label = name if slots == 1 else f"{name}, {slots} slots"
        rows.append((figures[0][0], f"| {label} | {' | '.join(cells)} |"))
    head = "| policy | best | picked | developed on: best | picked | held out: best | picked | NK: best | picked |"
    return "\n".join([head, "|---|" + "---|" * 8, *(row for _, row in sorted(rows))])


def best_of(played: Played) -> float:
    return float(played.best[-1])


def picked_of(played: Played) -> float:
    return played.picked


def ranked(results: Results, figure: Callable[[Played], float]) -> Ranks | None:
    """Ranks of the rows with one slot by their means on each table; None for fewer than three rows."""
    rows: dict[str, list[float]] = {}
    for (name, slots), one in results.items():
        if slots == 1:
            places = sorted({job.table for job, _ in one})
            rows[name] = [float(np.mean([figure(p) for job, p in one if job.table == place])) for place in places]
    return ranks(rows) if len(rows) > 2 else None


def ranks_text(results: Results) -> Iterator[str]:
    """The diagrams of both figures, and the first ranks."""
    for title, figure in (("best", best_of), ("picked", picked_of)):
        if (found := ranked(results, figure)) is not None:
            yield f"\nmean ranks by `{title}`: those in one column of bars do not differ\n{diagram(found)}"


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
    parser.add_argument("--rows", nargs="+", default=(), metavar="NAME", help="these rows, too: policies, samplers")
    parser.add_argument("--results", type=Path, help="keep the searches in this file, and play no known one again")
    parser.add_argument("--out", type=Path, help="draw the curves to this file (.svg or .png)")
    parser.add_argument("--ranks-out", type=Path, help="draw the critical differences of `best` to this file")
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
    names |= {name: names.get(name, (1,)) for name in options.rows}
    results = run_all(jobs_for(names, places, seeds), options.workers, options.results)
    print(table_of(results))
    print(*ranks_text(results), sep="\n")
    if options.out is not None:
        draw(results, options.out)
    if options.ranks_out is not None and (found := ranked(results, best_of)) is not None:
        draw_ranks(found, options.ranks_out)
    greedy = curve(results[GREEDY, 1])[-1]
    line = {"policy": options.policy, "tables": len(places), "seeds": seeds, "greedy_100": round(float(greedy), 3)}
    print(json.dumps({**line, **figures(results, options.policy, float(greedy)), "quick": options.quick}))


if __name__ == "__main__":
    main()
