"""How much of a score's noise is the machine's speed, and how much of that the trusted workload sees.

    python tests/benchmarks/machine.py [--quick] [--runs 24]

The seed program of the default task is trained again and again, one at a time on the last core, with the audited
evaluator; in turn with nothing beside it, one busy process on its core, nothing, two. `--quick`: three runs of two
seconds. From the runs:

    correlation       of the score with the logarithm of the machine's speed (see train/hardware/speed.py)
    steps             the same with the logarithm of the steps that fitted, which the candidate reports about itself
    share, p          of the variance that speed accounts for, and the p value of the slope (see
    search/claims/machine_speed.py) sigma, sigma_at_equal_speed
    workload_s        CPU seconds of the two measurements around one training

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    Evaluation,
    MoveRecord,
    Node,
    Propose,
    Replicate,
    Request,
    Scored,
)
from archive.tree import Tree
from prepare.load import task_from
from search import factory
from search.claims.machine_speed import speed_effect
from search.settings import config_for
from train.hardware.slots import Slot, make_slots
from train.hardware.speed import machine_speed

BUSY = (0, 1, 0, 2)


@contextmanager
def busy_processes(count: int, slot: Slot) -> Iterator[None]:
    """So many endless loops on the slot's cores."""
    # They end with this process, however it ends.
    code = f"import os; os.sched_setaffinity(0, {set(slot.cores)})\nwhile os.getppid() == {os.getpid()}: pass"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def trained(runs: int, overrides: list[str]) -> Tree:
    """A tree whose root has so many screenings."""
    config = config_for(overrides, "cpu")
    task = task_from(config.task)
    stand, files, slot = factory.build_evaluation(config, task), factory.seed_files(task), make_slots(None)[-1]
    tree = Tree("machine", task.metric.direction, stand.evaluator.conditions(slot))
    for number in range(runs):
        move = Replicate("root") if number else Propose(ROOT_OPERATOR, ())
        record = MoveRecord("machine", number, move, 9000 + number)
        tree.choose(record)
        if not number:
            tree.add(Node("root", "machine", 0, 0, Candidate(files, (), ROOT_OPERATOR, "the seed program"), 0.0))
        request = Request("root", "machine", number, files, record.seed, "screen")
        with busy_processes(BUSY[number % len(BUSY)], slot):
            evaluation = stand.evaluator.evaluate(request, slot, threading.Event(), lambda *told: None)
        tree.record(evaluation)
        print(f"{number + 1:>3} {BUSY[number % len(BUSY)]} busy: {_line(evaluation)}", file=sys.stderr, flush=True)
    return tree


def _line(evaluation: Evaluation) -> str:
    score = f"{evaluation.score:.4f}" if isinstance(evaluation, Scored) else evaluation.outcome
    used = evaluation.resources
    return f"{score}, {used.steps} steps, {used.machine_speed or math.nan:.2f} workloads a second"


def figures(tree: Tree) -> dict[str, float | None]:
    found = [e for e in tree.evaluations[tree.root] if isinstance(e, Scored) and e.resources.steps]
    scores = np.array([e.score for e in found])
    speeds = np.log([e.resources.machine_speed or math.nan for e in found])
    steps = np.log([e.resources.steps or math.nan for e in found])
    effect = speed_effect(tree)
    began = time.thread_time()
    for _ in range(2):
        machine_speed(make_slots(None)[-1].cores)
    workload = time.thread_time() - began
    return {
        "runs": len(found),
        "correlation": float(np.corrcoef(speeds, scores)[0, 1]),
        "steps": float(np.corrcoef(steps, scores)[0, 1]),
        "share": None if effect is None else effect.share,
        "p": None if effect is None else effect.p,
        "sigma": None if effect is None else effect.sigma,
        "sigma_at_equal_speed": None if effect is None else effect.sigma_at_equal_speed,
        "workload_s": workload,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three runs of two seconds")
    parser.add_argument("--runs", type=int, default=24)
    options = parser.parse_args()
    tree = trained(3, ["task.seconds=2"]) if options.quick else trained(options.runs, [])
    print(json.dumps({name: None if v is None else float(f"{v:.4g}") for name, v in figures(tree).items()}))


if __name__ == "__main__":
    main()
