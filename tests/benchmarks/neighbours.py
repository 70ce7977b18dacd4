"""How much busy neighbours change the score of one program: deviation with 0, 1 and 2 busy loops beside it, by clock.

    python tests/benchmarks/neighbours.py [--quick] [--runs 6] [--clocks cpu wall] [--busy 0 1 2] [--anywhere]

The seed program of the default task is trained `--runs` times for each clock and each number of busy loops, one at a
time on the last core, with the audited evaluator and the same seeds for each number. The numbers of loops take turns,
so that a drift of the machine meets all alike. The loops run on the candidate's core (`--anywhere`: where the kernel
puts them). `--quick`: two runs of two seconds by the CPU clock. For each clock and number:

    deviation    of the score between seeds
    mean, steps  of the score, and of the steps that fitted, which the candidate reports about itself
    wall_s       mean wall seconds of the training
    failed       evaluations without a score, which are in none of the other figures

    together     deviation of all scores of one clock, whatever was beside them: what a search on a machine with a
                 changing load would see
    ratio        of `together` to the deviation with the least loops

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from machine import busy_processes

from archive.records import Evaluation, Request, Scored
from prepare.load import task_from
from search import factory
from search.settings import config_for
from train.hardware.slots import Slot, make_slots


@dataclass(frozen=True)
class Run:
    """One evaluation with so many busy loops beside it."""

    clock: str
    busy: int
    evaluation: Evaluation


class Bench:
    """The evaluator of one clock."""

    def __init__(self, clock: str, words: Sequence[str], everywhere: bool) -> None:
        config = config_for([*words, f"task.clock={clock}"], "cpu")
        task = task_from(config.task)
        self.clock = clock
        self.evaluator = factory.build_evaluation(config, task).evaluator
        self.files = factory.seed_files(task)
        self.slot = make_slots(None)[-1]
        cores = tuple(core for slot in make_slots(None) for core in slot.cores) if everywhere else self.slot.cores
        self.beside = Slot(0, "cpu", None, cores, 1)

    def run(self, busy: int, seed: int) -> Run:
        request = Request("root", "neighbours", seed, self.files, 9000 + seed, "screen")
        with busy_processes(busy, self.beside):
            evaluation = self.evaluator.evaluate(request, self.slot, threading.Event(), lambda *told: None)
        print(f"{self.clock:>4}, {busy} busy, seed {seed}: {_line(evaluation)}", file=sys.stderr, flush=True)
        return Run(self.clock, busy, evaluation)


def _line(evaluation: Evaluation) -> str:
    used = evaluation.resources
    score = f"{evaluation.score:.4f}" if isinstance(evaluation, Scored) else f"{evaluation.outcome}"
    wall = used.phases.get("train", math.nan)
    return f"{score}, {used.steps} steps, {used.seconds:.2f} training seconds in {wall:.1f} s"


def deviation(scores: Sequence[float]) -> float | None:
    return statistics.stdev(scores) if len(scores) > 1 else None


def figures(runs: Sequence[Run]) -> dict[str, object]:
    """The figures of one clock."""
    found: dict[str, object] = {}
    quiet = None
    for busy in sorted({run.busy for run in runs}):
        beside = [run.evaluation for run in runs if run.busy == busy]
        scored = [evaluation for evaluation in beside if isinstance(evaluation, Scored)]
        quiet = deviation([e.score for e in scored]) if quiet is None else quiet
        found[str(busy)] = {
            "deviation": _rounded(deviation([e.score for e in scored])),
            "mean": _mean([e.score for e in scored]),
            "steps": _mean([e.resources.steps or 0 for e in scored]),
            "wall_s": _mean([e.resources.phases.get("train", math.nan) for e in scored]),
            "failed": len(beside) - len(scored),
        }
    together = deviation([run.evaluation.score for run in runs if isinstance(run.evaluation, Scored)])
    return {
        **found,
        "together": _rounded(together),
        "ratio": _rounded(together / quiet if together and quiet else None),
    }


def _mean(values: Sequence[float]) -> float | None:
    return _rounded(statistics.fmean(values)) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of two seconds by the CPU clock")
    parser.add_argument("--runs", type=int, default=6, help="for each clock and number of loops (%(default)s)")
    parser.add_argument("--clocks", nargs="+", default=["cpu", "wall"], choices=["cpu", "wall"])
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 2], help="numbers of busy loops (0 1 2)")
    parser.add_argument("--anywhere", action="store_true", help="the loops run on any core")
    parser.add_argument("--words", nargs="*", default=[], help="settings of the search, such as task.seconds=3")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.clocks, options.words = 2, ["cpu"], ["task.seconds=2", *options.words]
    found = {}
    for clock in options.clocks:
        bench = Bench(clock, options.words, options.anywhere)
        found[clock] = figures([bench.run(busy, n) for n, busy in itertools.product(range(options.runs), options.busy)])
    print(json.dumps({**found, "runs": options.runs, "quick": options.quick}))


if __name__ == "__main__":
    main()
