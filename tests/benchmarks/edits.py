"""What is won by counting edits of the code as genes: searches over constants and blocks of code, with scripted edits.

    python tests/benchmarks/edits.py [--quick] [--seeds 20] [--blocks 8] [--workers 2]
    python tests/benchmarks/edits.py --worth [--first 0]

A language model is stood in for by ``edit``, which adds one of ``--blocks`` blocks to a program or (one time in ten)
takes one out. A block is worth something or does harm; half of them move the best value of one constant, and half bring
a constant of their own, on which their worth depends. Everything else is the real search: policy, ``tune``,
``crossover``, claim; the constants and their scores are tables of real trainings (HPOBench-MLP). 100 evaluations, one
child in five crashes. What counts is how far the best program has come on the way from the median of the table to the
best program of all, by true scores: at the end, and on average over the evaluations (a search that is early is better).

    genes      tune as it ships, every program that has some of the constants informs it; and graft, which takes the
               most promising change of the code over from other branches
    ungrafted  the same without graft
    alike      tune knows only programs with exactly the same constants, and takes their code for the same
    tpe        tune with Optuna's TPE, which knows as much as ``alike``

With ``--worth`` it is asked instead what ``operators.analysis.edit_effects`` says of the blocks, at the best program
of each search by its scores, and how often that is so: in truth a block helps or does harm to this very program.

The last line is one JSON object: the figures, and the mean differences of ``genes`` to the others on equal landscapes,
with their standard errors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import tables
from numpy.typing import NDArray
from playing import Game, Player, in_processes, play, summary
from policies import player

from archive.records import Candidate, Propose
from archive.tree import Tree
from operators.analysis.edit_effects import Worth, Worths
from operators.base import Context, NoCandidate, Operator
from operators.factory import build_operators
from operators.languages.code_changes import Changes
from operators.languages.parameters import read_constants
from operators.numeric import tune
from operators.numeric.observations import history
from operators.numeric.surrogate import Key, Observation

RATES = (1, 2, 3, 4, 5)
EVALUATIONS = 100
ARMS = ("genes", "ungrafted", "alike", "tpe")
PLACES = (("hpobench", "car"), ("hpobench", "segment"), ("hpobench", "phoneme"), ("hpobench", "vehicle"))

Setting = tuple[int, ...]
"""The places of the table's constants, then for each block 0, or 1 and the place of its own constant."""


@dataclass(frozen=True)
class Landscape:
    """A table whose programs may carry blocks of code. It stands where a ``Table`` does in ``playing``."""

    table: tables.Table
    seed: int
    blocks: int = 8

    @property
    def family(self) -> str:
        return self.table.family

    @property
    def name(self) -> str:
        return f"{self.table.name} with blocks"

    @cached_property
    def _draws(self) -> Mapping[str, NDArray[Any]]:
        rng = np.random.default_rng([self.seed, 99])
        return {
            "worth": rng.normal(0.0, 1.0, self.blocks),
            "moved": rng.integers(len(self.table.sizes), size=self.blocks),
            "steps": np.where(np.arange(self.blocks) % 4 < 2, rng.integers(-2, 3, size=self.blocks), 0),
            "rate": rng.integers(len(RATES), size=self.blocks),
        }

    @cached_property
    def _mean(self) -> NDArray[np.float64]:
        return np.nanmean(self.table.scores, axis=1)

    @cached_property
    def _unit(self) -> float:
        """Half the spread of the better half of the table: what one block is worth."""
        return float(np.quantile(self._mean, 0.5) - np.quantile(self._mean, 0.02)) / 2

    def _moved(self, places: NDArray[np.int64], blocks: Sequence[int]) -> NDArray[np.int64]:
        """[constants, ...] where in the table programs with these blocks are looked up: blocks move best values."""
        places = places.copy()
        for block in blocks:
            constant = self._draws["moved"][block]
            there = places[constant] + self._draws["steps"][block]
            places[constant] = np.clip(there, 0, self.table.sizes[constant] - 1)
        return places

    def _base(self, setting: Setting) -> Setting:
        constants = len(self.table.sizes)
        blocks = [block for block, here in enumerate(setting[constants:]) if here]
        return tuple(int(place) for place in self._moved(np.array(setting[:constants]), blocks))

    def _extra(self, setting: Setting) -> float:
        extra = 0.0
        for block, here in enumerate(setting[len(self.table.sizes) :]):
            if here:
                off = abs(here - 1 - int(self._draws["rate"][block])) / len(RATES) if block % 2 else 0.0
                extra += (float(self._draws["worth"][block]) + off) * self._unit
        return extra

    def draw(self, setting: Setting, seed: int) -> float:
        return self.table.draw(self._base(setting), seed) + self._extra(setting)

    def true(self, setting: Setting) -> float:
        return float(self._mean[self.table.place(self._base(setting))]) + self._extra(setting)

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        """The true score of the best program of all, and the median one without blocks."""
        indices = np.indices(self.table.sizes).reshape(len(self.table.sizes), -1)
        worth, moving = self._draws["worth"], np.flatnonzero(self._draws["steps"])
        others = np.delete(worth, moving)
        best = np.inf
        for number in range(2 ** len(moving)):  # each of the others is in the best program if it helps
            here = [int(block) for place, block in enumerate(moving) if number >> place & 1]
            places = self._moved(indices, here)
            reached = self._mean[np.ravel_multi_index(tuple(places), self.table.sizes)].min()
            best = min(best, float(reached) + self._unit * float(worth[here].sum()))
        return best + self._unit * float(others[others < 0].sum()), float(np.median(self._mean))

    def place(self, setting: Setting) -> Setting:
        return setting

    @property
    def percentiles(self) -> Landscape:
        return self

    def __getitem__(self, setting: Setting) -> float:
        """The share of the way from the median of the table to the best program of all, negative: lower is better."""
        best, median = self._bounds
        return min(0.0, (self.true(setting) - median) / (median - best))

    def worth(self, tree: Tree, program: str, found: Worth) -> float:
        """By how much a program is truly better with a change than without it, in what one block is worth."""
        after = self._of(tree, found.node_id)
        before = self._of(tree, tree[found.node_id].parents[0])
        here = list(self._of(tree, program))
        first = len(self.table.sizes)
        block = next(place for place in range(first, len(here)) if bool(after[place]) != bool(before[place]))
        have, lack = list(here), list(here)
        present = here[block] or after[block] or before[block]
        have[block], lack[block] = (present, 0) if after[block] else (0, present)
        return (self.true(tuple(lack)) - self.true(tuple(have))) / self._unit

    def _of(self, tree: Tree, node_id: str) -> Setting:
        return self.setting(read_constants(tree[node_id].candidate.files["train.py"]))

    # ------------------------------------------------------------ programs

    def start(self, rng: np.random.Generator) -> Setting:
        return (*self.table.start(rng), *(0,) * self.blocks)

    def program(self, setting: Setting) -> str:
        """The table's constants; then a place for each block, with lines between, so that merges find their way."""
        constants = len(self.table.sizes)
        text = self.table.program(setting[:constants])
        for block, here in enumerate(setting[constants:]):
            text += f"\n\n# block {block}\n\nHAS_{block}_VERSION = {int(here > 0)}\n"
            if here:
                text += f"\n\ndef block_{block}(x):\n    return x + {block}\n"
                if block % 2:
                    text += f"\n\nRATE_{block} = {RATES[here - 1]}  # tune: {'|'.join(map(str, RATES))}\n"
            text += f"\n\n# end of {block}\n\n"
        return text

    def setting(self, constants: Mapping[str, Any]) -> Setting:
        blocks = []
        for block in range(self.blocks):
            has = constants[f"HAS_{block}_VERSION"]
            blocks.append(has * (1 + RATES.index(constants.get(f"RATE_{block}", RATES[0]))))
        return (*self.table.setting(constants), *blocks)


class Edit:
    """A language model's stand-in: one block more; one time in ten, one less."""

    arity = 1
    needs_llm = False
    name = "edit"

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape

    def applies(self, tree: Tree, node_id: str) -> bool:
        return not np.isnan(tree.means[tree.index[node_id]])

    def propose(self, move: Propose, context: Context) -> Candidate | NoCandidate:
        source = context.tree[move.parents[0]].candidate.files["train.py"]
        setting = list(self._landscape.setting(read_constants(source)))
        blocks = self._landscape.blocks
        first = len(setting) - blocks
        present = [b for b in range(blocks) if setting[first + b]]
        absent = [b for b in range(blocks) if not setting[first + b]]
        if absent and (not present or context.rng.random() < 0.9):
            block = absent[int(context.rng.integers(len(absent)))]
            setting[first + block] = 1 + (int(context.rng.integers(len(RATES))) if block % 2 else 0)
        else:
            block = present[int(context.rng.integers(len(present)))]
            setting[first + block] = 0
        text = self._landscape.program(tuple(setting))
        return Candidate({"train.py": text}, move.parents, self.name, f"block {block}")


def alike(tree: Tree, keys: Collection[Key], limit: int, code: Changes | None = None) -> list[Observation]:
    """What ``tune`` was fed with before code counted: programs of exactly these constants, their code left out."""
    found = history(tree, keys, limit, code)
    return [Observation(t.values, t.score, t.runs, t.state) for t in found if t.values.keys() == set(keys)]


def arm(name: str, landscape: Landscape) -> Player:
    """The default search with ``edit`` beside its operators, as often as ``tune``."""
    usual = player("ucb")
    entries: Any = {
        "tune": {
            "_target_": "operators.numeric.tune.Tune",
            "weight": 1.0,
            "proposer": "tpe" if name == "tpe" else "genes",
        },
        "crossover": {"_target_": "operators.recombine.crossover.Crossover", "weight": 0.2},
    }
    if name == "genes":
        entries["graft"] = {"_target_": "operators.recombine.graft.Graft", "weight": 0.2}
    box = build_operators(entries, None)
    operators: Mapping[str, Operator] = {**box.operators, "edit": Edit(landscape)}
    return Player(usual.policy, lambda table: operators, {**box.weights, "edit": 1.0}, usual.plan)


@dataclass(frozen=True)
class Job:
    arm: str
    place: tuple[str, str]
    seed: int
    blocks: int = 8

    def landscape(self) -> Landscape:
        return Landscape(tables.load(*self.place), self.seed, self.blocks)


@dataclass(frozen=True)
class Way:
    """How far a search has come, 1 the whole way."""

    end: float
    mean: float


def run(job: Job) -> tuple[Job, Way]:
    landscape = job.landscape()
    tune.history = alike if job.arm == "alike" else history  # type: ignore[attr-defined]
    played = play(cast(tables.Table, landscape), arm(job.arm, landscape), job.seed, EVALUATIONS)
    return job, Way(-float(played.best[-1]), -float(played.best.mean()))


# ---------------------------------------------------------------- what is said of blocks


@dataclass(frozen=True)
class Said:
    """What is known of one change of the code, and the truth: by how much it is better, in what one block is worth."""

    worth: Worth
    truth: float


def said(job: Job) -> tuple[Job, list[Said]]:
    """All that could be said of the blocks at the leader of one search, unclear or not."""
    landscape = job.landscape()
    game = Game(cast(tables.Table, landscape), arm("genes", landscape), job.seed)
    game.search(EVALUATIONS, 1)
    leader = game.tree.leader() or game.tree.root
    found = Worths().all(game.tree, leader, ("train.py",))
    return job, [Said(worth, landscape.worth(game.tree, leader, worth)) for worth in found]


def report(found: Sequence[Said]) -> dict[str, Any]:
    """How often a statement is true, and how much of what there is to say is said."""
    clear = [one for one in found if one.worth.clear]
    line: dict[str, Any] = {"changes": len(found)}
    for carried in (True, False):
        for helps in (True, False):
            ones = [one for one in clear if (one.worth.carried, one.worth.gain > 0) == (carried, helps)]
            wrong = sum((one.truth > 0) != helps for one in ones)
            key = f"{'carried' if carried else 'lacking'}_{'helps' if helps else 'harms'}"
            line |= {key: len(ones), f"{key}_wrong": wrong}
            print(f"{key:14} said of {len(ones):4}, wrong of {wrong:3}")
    for least in (1.0, 1.5, 2.0, 2.5, 3.0):
        ones = [one for one in found if abs(one.worth.gain) >= least * one.worth.deviation]
        ones = [one for one in ones if min(one.worth.having, one.worth.lacking) >= 2]
        wrong = sum((one.truth > 0) != (one.worth.gain > 0) for one in ones)
        print(f"from {least} deviations on: said of {len(ones)} of {len(found)}, wrong of {wrong}")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="searches on each of the four landscapes (default 20)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--quick", action="store_true", help="one landscape and 2 seeds: a look, not a result")
    parser.add_argument("--worth", action="store_true", help="what is said of the blocks, and how often it is true")
    parser.add_argument("--blocks", type=int, default=8, help="blocks of code that there are (default 8)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    options = parser.parse_args()
    places, seeds = (PLACES[:1], 2) if options.quick else (PLACES, options.seeds)
    pairs = [(place, seed) for place in places for seed in range(options.first, options.first + seeds)]
    line = {"seeds": seeds, "first": options.first, "blocks": options.blocks, "quick": options.quick}
    if options.worth:
        jobs = [Job("genes", place, seed, options.blocks) for place, seed in pairs]
        found = [one for _, many in in_processes(said, jobs, options.workers) for one in many]
        line |= report(found)
    else:
        line |= compared(pairs, options.blocks, options.workers)
    print(json.dumps(line))


def compared(pairs: Sequence[tuple[tuple[str, str], int]], blocks: int, workers: int) -> dict[str, Any]:
    """The arms on equal landscapes."""
    jobs = [Job(name, *pair, blocks) for pair in pairs for name in ARMS]
    found = dict(in_processes(run, jobs, workers))
    line: dict[str, Any] = {}
    for figure in ("end", "mean"):
        values = {name: np.array([getattr(found[Job(name, *pair, blocks)], figure) for pair in pairs]) for name in ARMS}
        for name in ARMS:
            mean, error = summary(values[name])
            print(f"{figure:4} {name:9} {mean:.3f} ± {error:.3f}")
            line[f"{name}_{figure}"] = round(mean, 4)
        for other in ARMS[1:]:
            mean, error = summary(values["genes"] - values[other])
            line[f"over_{other}_{figure}"], line[f"over_{other}_{figure}_error"] = round(mean, 4), round(error, 4)
    return line


if __name__ == "__main__":
    main()
