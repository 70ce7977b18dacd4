"""What a task of any program costs beside the candidate's own computing, and how that compares with OpenEvolve.

    python tests/benchmarks/tasks.py [--quick] [--sandbox auto|bwrap|landlock|none] [--openevolve PYTHON] [--cpu]

    start_ms        CPU time of a sandbox, from its launch over the candidate's files to its first answer, all processes
                    and the driver together (a Python program without imports); median
    start_wall_ms   the same by the wall clock
    call_ms         CPU time of a call with 1 kB, of the driver and the candidate together; mean
    call_wall_ms    the same by the wall clock

Of a whole search with two slots, a candidate of 10 ms and a model that answers at once (``task_searches.py``):

    driver_ms                CPU time of the driver process for each evaluation after the tenth
    driver_start_ms          its CPU time until the tenth evaluation's end, imports included
    evaluations_per_minute   of the whole command; steady_: from the end of the first evaluation to that of the last
    ratio, steady_ratio      both divided by those of OpenEvolve, searches in turn, medians

``--openevolve``: an interpreter that has openevolve==0.4.0; without one the ratios are left out. The last line is one
JSON object.

``--cpu``: for a machine with other work beside, count CPU time in place of the clock (all processes of a search,
sandboxes and the model's server included; needs root and control groups of version 1), by searches of 20 and 120:

    cpu_ms, cpu_start_ms     of an evaluation, and of a search beside its evaluations; openevolve_cpu_ms the same there
    cpu_rate                 evaluations a minute of a search of 100, start included, if two cores did nothing else
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import task_searches

from archive.records import Request
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric
from prepare.values import pack
from train.hardware.slots import make_slots
from train.program.candidate import CandidateHost
from train.program.sandboxes import CandidateSandboxes
from train.progress import Progress
from train.sandbox.base import find_sandbox
from train.sandbox.cgroup import find_groups

FEW_AND_MANY = 20, 120
ARGUMENTS = pack({"args": ["x" * 1000], "kwargs": {}})


def started(sandboxes: CandidateSandboxes) -> tuple[float, float]:
    """Return the wall seconds until a candidate's first answer, and this process's CPU seconds until its end."""
    began, cpu = time.perf_counter(), time.process_time()
    with sandboxes.open() as sandbox:
        sandbox.call("pack", ARGUMENTS)
        wall = time.perf_counter() - began
    return wall, time.process_time() - cpu


def called(sandboxes: CandidateSandboxes, calls: int) -> tuple[float, float]:
    """Return CPU and wall seconds of one call."""
    with sandboxes.open() as sandbox:
        sandbox.call("pack", ARGUMENTS)
        before, cpu, began = sandbox.seconds, time.process_time(), time.perf_counter()
        for _ in range(calls):
            sandbox.call("pack", ARGUMENTS)
        wall = time.perf_counter() - began
        return (time.process_time() - cpu + sandbox.seconds - before) / calls, wall / calls


def measure(folder: Path, tier: str, starts: int, calls: int) -> dict[str, float | str]:
    (folder / "pack.py").write_text("def pack(text):\n    return text\n")
    task = ProgramTask(
        "benchmark", str(folder), Metric("m", "maximise"), Workspace(["pack.py"]), 1000.0, scorer="score.py"
    )
    slot = make_slots(1)[0]
    host = CandidateHost(task, find_sandbox(tier), find_groups())
    host.keep_spare(slot)  # starts what a slot keeps; no sandbox is started ahead here
    request = Request("node", "run", 0, task.seed_files(), 1, "screen")
    used, walls = [], []
    for _ in range(starts):
        progress = Progress()
        wall, ours = started(host.sandboxes(request, slot, progress, threading.Event()))
        walls.append(wall)
        used.append(progress.cpu_seconds + ours)
    cpu, wall = called(host.sandboxes(request, slot, Progress(), threading.Event()), calls)
    host.remove_spare(slot)
    host.close()
    seconds = {"start": statistics.median(used), "start_wall": statistics.median(walls), "call": cpu, "call_wall": wall}
    return {"sandbox": host.sandbox.tier, **{f"{name}_ms": round(1000 * value, 2) for name, value in seconds.items()}}


def searched(folder: Path, tier: str, evaluations: int, rounds: int, openevolve: Path | None) -> dict[str, float]:
    """Return the figures of whole searches, ours and OpenEvolve's in turn."""
    own, theirs, marks = [], [], []
    for number in range(rounds):
        with task_searches.server() as model:
            rates, marks = task_searches.search_here(folder / f"own{number}", model.url, evaluations, tier)
        own.append(rates)
        print(f"  own: {rates.whole:.0f} evaluations a minute, steady {rates.steady:.0f}", flush=True)
        if openevolve is None:
            continue
        with task_searches.server() as model:
            other = task_searches.search_openevolve(openevolve, folder / f"other{number}", model.url, evaluations)
        theirs.append(other)
        print(f"  OpenEvolve: {other.whole:.0f} evaluations a minute, steady {other.steady:.0f}", flush=True)
    warm = marks[task_searches.WARMING - 1]
    found = {
        "driver_ms": 1000 * (marks[-1] - warm) / (len(marks) - task_searches.WARMING),
        "driver_start_ms": 1000 * warm,
        "evaluations_per_minute": statistics.median(rates.whole for rates in own),
        "steady_evaluations_per_minute": statistics.median(rates.steady for rates in own),
    }
    if openevolve is None:
        print("  no comparison: name an interpreter that has openevolve==0.4.0 with --openevolve PYTHON", flush=True)
        return found
    return found | {
        "ratio": statistics.median(a.whole / b.whole for a, b in zip(own, theirs, strict=True)),
        "steady_ratio": statistics.median(a.steady / b.steady for a, b in zip(own, theirs, strict=True)),
    }


def counted(name: str, search: Callable[[Path, str, int], object], folder: Path) -> dict[str, float]:
    """Return CPU milliseconds of an evaluation and of a search's start, and what rate two cores would give."""
    used = []
    for evaluations in FEW_AND_MANY:
        with task_searches.CpuGroup() as group, task_searches.server() as model:
            search(folder / f"{name}{evaluations}", model.url, evaluations)
            used.append(group.milliseconds())
    few, many = FEW_AND_MANY
    each = (used[1] - used[0]) / (many - few)
    start = used[0] - few * each
    rate = 60_000 * 2 * 100 / (start + 100 * each)
    return {f"{name}cpu_ms": each, f"{name}cpu_start_ms": start, f"{name}cpu_rate": rate}


def counted_all(folder: Path, tier: str, openevolve: Path | None) -> dict[str, float]:
    found = counted("", lambda place, url, n: task_searches.search_here(place, url, n, tier), folder)
    if openevolve is None:
        return found
    return found | counted(
        "openevolve_", lambda place, url, n: task_searches.search_openevolve(openevolve, place, url, n), folder
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--sandbox", default="auto", help="kind of sandbox: auto, bwrap, landlock or none")
    parser.add_argument("--openevolve", type=Path, metavar="PYTHON", help="an interpreter that has openevolve==0.4.0")
    parser.add_argument("--cpu", action="store_true", help="count CPU time in place of the clock")
    words = parser.parse_args()
    starts, calls, evaluations, rounds = (5, 200, 30, 1) if words.quick else (25, 3000, 100, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = measure(folder, words.sandbox, starts, calls)
        if words.cpu:
            rates = counted_all(folder, words.sandbox, words.openevolve)
        else:
            rates = searched(folder, words.sandbox, evaluations, rounds, words.openevolve)
    print(json.dumps(found | {key: round(value, 2) for key, value in rates.items()}))


if __name__ == "__main__":
    main()
