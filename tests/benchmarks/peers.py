"""Head to head with OpenEvolve, ShinkaEvolve, GEPA, Optuna and a hill climber after karpathy/autoresearch.

    python tests/benchmarks/peers.py --python PEERS/bin/python --out peers.jsonl     all tasks, five seeds; hours
    python tests/benchmarks/peers.py --python PEERS/bin/python --tasks noisy,null    two of them
    python tests/benchmarks/peers.py --quick                                         ours and the hill climber; a look
    python tests/benchmarks/peers.py --python PEERS/bin/python --tasks noisy --seconds 60 --pause 1 --slots 2

The same task, seed program, stand-in model (its answers follow from the seed, their number and the program, never from
who asks; served over HTTP to each system's own client) and number of evaluations. What counts is the true value of the
program that is handed over: on hidden instances, or known. See ``peers_tasks.py`` and ``peers_systems.py``.

PEERS: a virtual environment of its own, as their pins differ, with what the extra [peers] lists; without ``--python``
the peers are left out. ``--out``: a file of rows, to which searches are added; those that it has are not run again.
``--seconds``: equal wall time instead of equal evaluations: each search is ended after it and hands over what it has by
then. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peers_evaluations import Evaluations, pool
from peers_model import StandIn
from peers_report import markdown, tables_markdown, tables_report, tasks_report
from peers_systems import SYSTEMS, Search
from peers_tasks import PeerTask, peer_task

TASKS = ("noisy", "null", "circles26", "binpacking", "tables")
ALONE = ("treewright", "treewright-model", "hillclimb", "optuna")
"""What runs without the peers' interpreter; Optuna on tables only."""
Row = dict[str, Any]


def row(task: PeerTask, seed: int, system: str, words: argparse.Namespace, processes: ProcessPoolExecutor) -> Row:
    """Run one search; return its figures."""
    model, allowed = StandIn(task.catalogue, seed, task.program), 10**6 if words.seconds else task.evaluations
    with (
        tempfile.TemporaryDirectory() as name,
        model.server() as api,
        Evaluations(task.name, seed, allowed, processes, words.pause) as service,
    ):
        folder = Path(name) / system
        folder.mkdir()
        search = Search(
            task,
            seed,
            f"{api.url}/v1",
            service,
            folder,
            allowed,
            words.python,
            words.slots,
            words.sandbox,
            words.seconds,
        )
        found = SYSTEMS[system](search)
    gain = task.gain(found.program)
    figures = {key: value for key, value in vars(found).items() if key not in ("program", "gain")}
    place = {"system": system, "task": task.name, "seed": seed, "answers": model.answers}
    return {**place, "gain": gain, "over_claim": found.gain - gain, **figures}


def searches(words: argparse.Namespace, done: set[Any]) -> Iterator[Row]:
    """Yield the rows of all searches that are not done, seed by seed, so that a part of them is comparable."""
    with pool(words.slots) as processes:
        for seed in words.seeds:
            for name in words.tasks:
                if name == "tables":
                    continue
                task = peer_task(name, seed, words.pause)
                if words.evaluations:
                    task = replace(task, evaluations=words.evaluations)
                for system in words.systems:
                    if system in SYSTEMS and (system, name, seed) not in done:
                        yield row(task, seed, system, words, processes)
    if "tables" in words.tasks:
        import peers_tables

        yield from peers_tables.measured(words.systems, words.seeds, words.quick, done)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="(%(default)s; also shakespeare)")
    parser.add_argument("--systems", help=f"of {', '.join(SYSTEMS)}, optuna; default: all that can run")
    parser.add_argument("--seeds", default="1,2,3,4,5", help="of the model's script (%(default)s)")
    parser.add_argument("--evaluations", type=int, help="of each search; default: the task's")
    parser.add_argument("--python", type=Path, help="the interpreter that has the peers")
    parser.add_argument("--out", type=Path, help="JSON lines: one a search")
    parser.add_argument("--slots", type=int, default=1, help="evaluations at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, help="end each search after so much wall time")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that an evaluation of a noisy task takes (0)")
    parser.add_argument("--sandbox", default="auto", help="of ours (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="noisy and one landscape, one seed, 12 evaluations")
    words = parser.parse_args()
    if words.quick:
        words.tasks, words.seeds, words.evaluations = "noisy,tables", "1", 12
        words.systems = words.systems or "treewright,hillclimb,optuna"
    known = (*SYSTEMS, "optuna") if words.python else ALONE
    words.systems = words.systems.split(",") if words.systems else list(known)
    words.tasks, words.seeds = words.tasks.split(","), [int(seed) for seed in words.seeds.split(",")]
    if missing := set(words.systems) - set(known):
        parser.error(
            f"expected systems of {', '.join(known)}, more with --python PYTHON; got {', '.join(sorted(missing))}"
        )
    return words


def main() -> None:
    words = options()
    rows = [json.loads(line) for line in words.out.read_text().splitlines()] if words.out and words.out.exists() else []
    for found in searches(words, {(one["system"], one["task"], one["seed"]) for one in rows}):
        rows.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
        if words.out:
            with words.out.open("a") as file:
                file.write(json.dumps(found) + "\n")
    tasks = tasks_report([one for one in rows if "gain" in one])
    tables = tables_report([one for one in rows if "picked" in one])
    print(markdown(tasks) if tasks else "", tables_markdown(tables) if tables else "", sep="\n\n")
    print(json.dumps({"quick": words.quick, "tasks": tasks, "tables": tables}))


if __name__ == "__main__":
    main()
