"""Whether what a language model is told of constants (``operators.analysis.sensitivity``) is true, where the truth can
be looked up.

    python tests/benchmarks/effects.py [--quick] [--seeds 10] [--workers 2] [--held-out]

The default search without a model plays on tables of real trainings (HPOBench-MLP, NAS-Bench-201), one child in five
crashes, and after 16, 32, 64 and 100 evaluations three nodes are asked about: the leader, the one a third down the
ranking, and the root.

    padded    a table with two constants more, which do nothing
    blocks    the same, and programs also differ in code, by the scripted edits of ``edits.py``

Of what was said to matter, the share that does nothing (``matters_idle``). Of what had no effect, the share that
changes the true score by more than a quarter of the deviation of the scores so far, between the values that were said.
Of better values: the share that is better, the medians of the gain told and of the true one (over that deviation), and
the shares of errors within one and two of the deviations told. The true score is the mean over the seeds of the table.
The last line is one JSON object with these figures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import tables
from edits import Landscape, arm
from playing import PATH, Game, in_processes
from policies import player

from operators.analysis.sensitivity import Effects, Matters
from operators.languages.parameters import Number, read_constants, set_constants
from operators.numeric.tune import search_space

MOMENTS = (16, 32, 64, 100)
PLACES = (
    ("hpobench", "car"), ("hpobench", "segment"), ("hpobench", "phoneme"), ("hpobench", "vehicle"),
    ("nasbench201", "cifar10"), ("nasbench201", "imagenet"),
)  # fmt: skip
HELD_OUT = (
    ("hpobench", "australian"), ("hpobench", "blood_transfusion"), ("hpobench", "credit_g"), ("hpobench", "kc1"),
    ("nasbench201", "cifar100"),
)  # fmt: skip
KINDS = ("padded", "blocks")
IDLE = ("IDLE_0", "IDLE_1")
VALUES = (1, 2, 3, 4)
Truth = Callable[[Mapping[str, Number]], float]
"""From a program's constants to its true score."""


@cache
def padded(place: tuple[str, str]) -> tables.Table:
    """A table with constants more that do nothing."""
    table = tables.load(*place)
    choices = {**table.choices, **dict.fromkeys(IDLE, VALUES)}
    scores = np.repeat(table.scores, len(VALUES) ** len(IDLE), axis=0)
    return tables.Table(table.family, table.name, choices, table.unordered, scores)


class Blocks(Landscape):
    """Nobody asks how far the search has come, which takes long to say of a padded table."""

    def __getitem__(self, setting: tables.Setting) -> float:
        return 0.0


@dataclass(frozen=True)
class Job:
    kind: str
    place: tuple[str, str]
    seed: int


@dataclass(frozen=True)
class Said:
    """One statement and what is true."""

    moment: int
    what: str
    """``matters``, ``better``, ``no effect``, or ``nothing``."""
    idle: bool
    told: float = 0.0
    deviation: float = 1.0
    true: float = 0.0
    """The gain; of ``no effect``, the largest change over the deviation of the scores so far."""


def run(job: Job) -> tuple[Job, list[Said]]:
    table = padded(job.place)
    blocks = Blocks(table, job.seed)
    if job.kind == "padded":
        game, true = Game(table, player("ucb"), job.seed), table_mean(table)
    else:
        game, true = Game(cast(tables.Table, blocks), arm("genes", blocks), job.seed), truth_of(blocks)
    said: list[Said] = []
    for moment in MOMENTS:
        game.search(moment, 1)
        order = game.tree.means[game.tree.eligible()].argsort()
        nodes = np.flatnonzero(game.tree.eligible())[order]
        for node in sorted({int(nodes[0]), int(nodes[len(nodes) // 3]), 0}):
            said += judged(game, true, game.tree.nodes[node].node_id, moment)
    return job, said


def table_mean(table: tables.Table) -> Truth:
    means = np.nanmean(table.scores, axis=1)
    return lambda constants: float(means[table.place(table.setting(constants))])


def truth_of(blocks: Blocks) -> Truth:
    return lambda constants: blocks.true(blocks.setting(constants))


def judged(game: Game, truth: Truth, node_id: str, moment: int) -> Iterator[Said]:
    """What is said of each constant of a node."""
    text = game.tree[node_id].candidate.files[PATH]
    found = Effects().of(game.tree, node_id, (PATH,))
    spread = float(np.std(game.tree.means[game.tree.eligible()]))

    def true(name: str, value: Number) -> float:
        return truth(read_constants(set_constants(text, {name: value})))

    for key, span in search_space({PATH: text}, (PATH,)).items():
        name, effect = key[1], found.get(key)
        here = read_constants(text)[name]
        if effect is None:
            yield Said(moment, "nothing", name in IDLE)
        elif not isinstance(effect, Matters):
            low, high = effect.tried or (span.low, span.high)
            scores = [true(name, value) for value in span.choices if low <= value <= high]
            yield Said(moment, "no effect", name in IDLE, true=(max(scores) - min(scores)) / spread)
        else:
            yield Said(moment, "matters", name in IDLE)
            if (better := effect.better) is not None:
                gain = true(name, here) - true(name, better.value)
                yield Said(
                    moment, "better", name in IDLE, better.gain / spread, better.deviation / spread, gain / spread
                )


def figures(said: list[Said]) -> dict[str, float]:
    """The shares by which the statements are judged."""
    of = {what: [one for one in said if one.what == what] for what in ("nothing", "matters", "no effect", "better")}
    told, true, deviation = (np.array([getattr(b, f) for b in of["better"]]) for f in ("told", "true", "deviation"))
    error = np.abs(told - true) / np.maximum(deviation, 1e-12)
    found: dict[str, float] = {what.replace(" ", "_"): len(ones) for what, ones in of.items()}
    if of["matters"]:
        found["matters_idle"] = float(np.mean([one.idle for one in of["matters"]]))
    if of["no effect"]:
        found["no_effect_wrong"] = float(np.mean([one.true > 0.25 for one in of["no effect"]]))
    if of["better"]:
        found |= {
            "better_true": float(np.mean(true > 0)),
            "told": float(np.median(told)),
            "true": float(np.median(true)),
        }
        found |= {"within_1": float(np.mean(error < 1)), "within_2": float(np.mean(error < 2))}
    return {name: round(figure, 3) for name, figure in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="searches on each landscape (default 10)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--quick", action="store_true", help="two landscapes and 2 seeds: a look, not a result")
    parser.add_argument("--held-out", action="store_true", help="tables that no threshold was chosen on, other seeds")
    options = parser.parse_args()
    places, seeds = (PLACES[:1], 2) if options.quick else (PLACES, options.seeds)
    first = 0
    if options.held_out:
        places, first = HELD_OUT, 1000
    jobs = [
        Job(kind, place, seed)
        for kind in KINDS
        for place in places
        if kind == "padded" or place[0] == "hpobench"
        for seed in range(first, first + seeds)
    ]
    found = list(in_processes(run, jobs, options.workers))
    line: dict[str, Any] = {"seeds": seeds, "quick": options.quick, "held_out": options.held_out}
    for kind in KINDS:
        said = [one for job, statements in found if job.kind == kind for one in statements]
        for moment in MOMENTS:
            print(f"{kind} after {moment}: {figures([one for one in said if one.moment == moment])}")
        line[kind] = figures(said)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
