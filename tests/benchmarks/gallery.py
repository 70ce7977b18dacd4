"""What searches without a language model reach on the tasks of conf/task, and what a few scripted edits add.

    python tests/benchmarks/gallery.py [--tasks NAME,...] [--evaluations N] [--seeds 1,2,3] [--quick]
                                         [--only tune|edits]

Each task is searched for a number of evaluations with (a) `tune` alone and, with the edits of gallery_edits.py,
(b) `tune`, crossover and these. Programs run in this process, as they are trusted, judged by the task's own score.py
on the cases of val; one that takes more CPU seconds than its task allows has no score. What is timed (kernels) is
evaluated in sandboxes. No claim is made. Where scores depend on the evaluation's seed, the table has the mean of the
seed program and of the leader on FRESH seeds. `prompt` has no numbers, so (a) is left out.

The table: the seed's score, the median and the best over the search seeds for (a) and (b), the best known value, and
how far the median of (a) is from it.
The last line is one JSON object. `--quick` is one seed with ten evaluations of two tasks.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(Path(__file__).parent)]

from gallery import judged, mean, task_of  # noqa: E402
from gallery_edits import EDITS, ScriptedEdits  # noqa: E402

from archive.records import Failed  # noqa: E402
from operators.numeric.tune import Tune  # noqa: E402
from operators.recombine.crossover import Crossover  # noqa: E402
from prepare.program import ProgramTask  # noqa: E402
from prepare.scorer import Invalid  # noqa: E402
from search import OwnTask, Search  # noqa: E402
from search.cli.trials import Trials, open_trials, parser  # noqa: E402

KINDS = ("tune", "edits")
FRESH = range(1000, 1016)
"""Evaluation seeds that no search uses; of what is timed the first three."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(sorted(EDITS)), help="(%(default)s)")
    parser.add_argument("--evaluations", type=int, default=60, help="of each search (%(default)s)")
    parser.add_argument("--seeds", default="1,2,3", help="search seeds (%(default)s)")
    parser.add_argument("--only", choices=KINDS, help="one of the two kinds of search (default: both)")
    parser.add_argument("--quick", action="store_true", help="ten evaluations of capset and regression, one seed")
    options = parser.parse_args()
    names = ["capset", "regression"] if options.quick else options.tasks.split(",")
    seeds = [1] if options.quick else [int(seed) for seed in options.seeds.split(",")]
    evaluations = 10 if options.quick else options.evaluations
    found = {}
    print(
        f"{'task':<16}{'seed':>10}{'tune':>10}{'best':>10}{'edits':>10}{'best':>10}{'known':>10}{'within':>9}",
        flush=True,
    )
    for name in names:
        found[name] = measured(name, seeds, evaluations, [options.only] if options.only else KINDS)
        print(row(name, found[name]), flush=True)
    print(json.dumps({"evaluations": evaluations, "seeds": seeds, "tasks": found}))


def measured(name: str, seeds: list[int], evaluations: int, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Return the scores of these kinds of search on a task."""
    known, numbers = task_of(name).known, has_numbers(name)
    asked = {"tune": "tune" in kinds and numbers, "edits": "edits" in kinds}
    return {
        "seed": reported(name, task_of(name).seed_files()),
        **{kind: [searched(name, seed, evaluations, kind) for seed in seeds if asked[kind]] for kind in KINDS},
        "known": None if known is None else known.value,
        "direction": task_of(name).metric.direction,
    }


def searched(name: str, seed: int, evaluations: int, kind: str) -> float:
    """Return the score of the leader of one search, on fresh seeds where it depends on the seed."""
    task = task_of(name)
    own = OwnTask(
        lambda request: scored(name, request.files, request.seed % 2**32),
        task.seed_files(),
        direction=task.metric.direction,
        name=name,
        deterministic=task.deterministic,
    )
    more = {"crossover": Crossover("crossover"), "edits": ScriptedEdits(name)} if kind == "edits" else {}
    operators = {"tune": Tune("tune"), **more}
    with Search(own, operators=operators, seed=seed, budget=evaluations, claim=False) as search:  # type: ignore[arg-type]
        while (request := search.ask()) is not None:
            search.tell(search.evaluate(request))
        leader = search.tree.leader()
        assert leader is not None
        value = reported(name, search.tree[leader].candidate.files)
        print(f"{name}, {kind}, seed {seed}: {value:.6g}", file=sys.stderr, flush=True)
        return value


def reported(name: str, files: Mapping[str, str]) -> float:
    """Return the mean of a program's scores on fresh seeds; one score if the task is deterministic."""
    task = task_of(name)
    seeds = FRESH[:1] if task.deterministic else FRESH[:3] if is_timed(task) else FRESH
    return statistics.fmean(scored(name, files, seed) for seed in seeds)


def scored(name: str, files: Mapping[str, str], seed: int) -> float:
    """Return a program's score on val. Raises Invalid for one that is too slow, and whatever it raises."""
    task = task_of(name)
    if is_timed(task):
        return timed(name, files, seed)
    functions = vars(loaded(task, files)) if has_numbers(name) else {}
    with limited(task.seconds):
        return mean(judged(name, functions, seed=seed, files={path: text.encode() for path, text in files.items()}))


def has_numbers(name: str) -> bool:
    return any("tune:" in text for text in task_of(name).seed_files().values())


def is_timed(task: ProgramTask) -> bool:
    """Return whether a task's scores are times, which this process cannot take."""
    return task.clock == "wall"


def timed(name: str, files: Mapping[str, str], seed: int) -> float:
    """Return the score of an evaluation in sandboxes. Raises Invalid for a failed one."""
    found = trials_of(name).run(files, seed)
    if isinstance(found, Failed):
        raise Invalid(found.reason)
    return found.score


@cache
def trials_of(name: str) -> Trials:
    return open_trials(parser("gallery", "").parse_args([name, "executor.slots=1", "llm=none"]))


def loaded(task: ProgramTask, files: Mapping[str, str]) -> ModuleType:
    """Return a module with the functions of a program and of the task's read-only files."""
    program = ModuleType("candidate")
    texts = [files[task.editable[0]], *(text.decode() for text in task.readonly_files().values())]
    sys.modules[Path(task.editable[0]).stem] = program  # a read-only file imports it by this name
    for text in texts:
        exec(compile(text, "candidate", "exec"), vars(program))
    return program


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Invalid after this many CPU seconds."""

    def ended(number: int, frame: object) -> None:
        raise Invalid(f"more than {seconds:g} CPU seconds")

    before = signal.signal(signal.SIGPROF, ended)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def row(name: str, found: Mapping[str, Any]) -> str:
    best = max if found["direction"] == "maximise" else min
    numbers = [found["seed"]]
    for kind in ("tune", "edits"):
        numbers += [statistics.median(found[kind]), best(found[kind])] if found[kind] else [math.nan, math.nan]
    known = found["known"]
    share = "" if known is None or not found["tune"] else f"{abs(numbers[1] - known) / abs(known):.2%}"
    return f"{name:<16}" + "".join(f"{x:>10.5g}" for x in [*numbers, known or float("nan")]) + f"{share:>9}"


if __name__ == "__main__":
    main()
