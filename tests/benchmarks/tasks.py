"""What a candidate of any program costs beside its own computing.

    python tests/benchmarks/tasks.py [--quick] [--sandbox auto|bwrap|landlock|none]

    start_ms        CPU time of a sandbox, from its launch over the candidate's files to its first answer and its end,
                    all processes together (a Python program without imports); median
    start_wall_ms   the same by the wall clock
    call_ms         CPU time of a call with 1 kB, of the driver and the candidate together; mean
    call_wall_ms    the same by the wall clock

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

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

ARGUMENTS = pack({"args": ["x" * 1000], "kwargs": {}})


def started(sandboxes: CandidateSandboxes) -> float:
    """Return the wall seconds until a candidate's first answer."""
    began = time.perf_counter()
    with sandboxes.open() as sandbox:
        sandbox.call("pack", ARGUMENTS)
        return time.perf_counter() - began


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
    request = Request("node", "run", 0, task.seed_files(), 1, "screen")
    used, walls = [], []
    for _ in range(starts):
        progress = Progress()
        walls.append(started(host.sandboxes(request, slot, progress, threading.Event())))
        used.append(progress.cpu_seconds)
    cpu, wall = called(host.sandboxes(request, slot, Progress(), threading.Event()), calls)
    host.close()
    seconds = {"start": statistics.median(used), "start_wall": statistics.median(walls), "call": cpu, "call_wall": wall}
    return {"sandbox": host.sandbox.tier, **{f"{name}_ms": round(1000 * value, 2) for name, value in seconds.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--sandbox", default="auto", help="kind of sandbox: auto, bwrap, landlock or none")
    words = parser.parse_args()
    starts, calls = (5, 200) if words.quick else (25, 3000)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), words.sandbox, starts, calls)))


if __name__ == "__main__":
    main()
