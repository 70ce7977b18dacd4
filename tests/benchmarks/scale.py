"""One driver for a thousand slots, and an archive of a million nodes.

    python tests/benchmarks/scale.py [--quick] [--slots 1000] [--seconds 60] [--minutes 10] [--nodes 1000000]
                                     [--only slots|archive]

A whole search (policy, numeric operators, archive on the disk, claim off) drives slots that only keep time: a
training takes ``--seconds``, times a lognormal factor of deviation 0.3, and has the score of the tests' stub evaluator.

    used              share of the slots' time in which a training ran, from the moment when all were busy once
    late_ms           from the end of a training until the driver has recorded it, median; late_p95_ms
    late_growth       mean lateness of the last fifth of the trainings over that of the second fifth: it grows if the
                      driver falls behind
    driver_share      CPU seconds of the driver by wall seconds; driver_ms: by evaluation; driver_mb: its most memory

The archive is preloaded in bulk with programs of 1.4 KB, which is not measured.

    leaderboard_ms    SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10, on an open connection, median
    lineage_ms        lineage(ID) of a node in the largest run, median
    resume_s          open the archive and rebuild the tree of the largest run; resume_mb: memory of that process
    next_move_ms      CPU of the driver for a node after that, mean of 50

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `python -m search` does, before numpy is imported
sys.path += [str(Path(__file__).resolve().parents[1] / folder) for folder in ("search", "support")]

from overhead import CONDITIONS, WARMING, moves_ms
from preload import WIDE, node_at, preload
from stub_evaluator import StubEvaluator

from archive.records import Conditions, Landed, Request
from archive.storage import schema
from archive.storage.database import connect
from archive.storage.store import Archive
from prepare.load import task_from
from search import factory
from search.run.controller import RunController
from search.run.engine import Engine
from search.run.loop import SlotLoop
from search.run.resume import open_run
from search.settings import config_for
from train.executors.base import Running
from train.hardware.slots import Slot
from train.sandbox.base import NoSandbox


@dataclass
class TimekeepingExecutor:
    """Slots that train nothing: an evaluation ends when its time has passed."""

    evaluator: StubEvaluator
    slots: tuple[Slot, ...]
    seconds: float
    rng: random.Random
    in_flight: int = 0
    notes: tuple[str, ...] = ()
    began: float | None = None
    """When all slots were busy for the first time."""
    idle: float = 0.0
    """Seconds of slots between the end of a training and the start of the next, from then on."""
    late: list[float] = field(default_factory=list)
    """Seconds from the end of each training until the driver has come for it."""
    _ends: list[tuple[float, int, Request]] = field(default_factory=list)
    _freed: list[float] = field(default_factory=list)  # when the free slots became free, a heap
    _woken: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def free(self) -> int:
        return len(self.slots) - self.in_flight

    @property
    def conditions(self) -> Conditions:
        return self.evaluator.conditions(self.slots[0])

    def running(self) -> Sequence[Running]:
        return ()

    def submit(self, request: Request) -> None:
        now, takes = time.monotonic(), self.seconds * self.rng.lognormvariate(0.0, 0.3)
        heapq.heappush(self._ends, (now + takes, request.move, request))
        self.in_flight += 1
        if self.began is not None:
            self.idle += now - heapq.heappop(self._freed)
        elif self.free == 0:
            self.began = now
            self._freed.clear()

    def wait(self, seconds: float) -> list[Landed]:
        until = time.monotonic() + seconds
        while (first := self._ends[0][0] if self._ends else until) > time.monotonic() and time.monotonic() < until:
            if self._woken.wait(max(0.0, min(first, until) - time.monotonic())):
                self._woken.clear()
                break
        landed: list[Landed] = []
        while self._ends and self._ends[0][0] <= time.monotonic():
            end, _, request = heapq.heappop(self._ends)
            landed.append(self.evaluator.evaluate(request, self.slots[0], threading.Event(), lambda *_: None))
            self.late.append(time.monotonic() - end)
            heapq.heappush(self._freed, end)
            self.in_flight -= 1
        return landed

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._ends.clear()


class _Silent:
    """A display that shows nothing, and stops the search when the time is over."""

    def __init__(self, stop: threading.Event, seconds: float) -> None:
        self._stop, self._end = stop, time.monotonic() + seconds

    def landed(self, engine: Engine, evaluation: Landed, total: int | None) -> None:
        pass

    def show(self, message: str) -> None:
        pass

    def tick(self, engine: Engine, running: Sequence[Running], total: int | None) -> None:
        if time.monotonic() > self._end:
            self._stop.set()


def drive(folder: Path, slots: int, seconds: float, minutes: float) -> dict[str, float]:
    """Search for so many minutes."""
    config = config_for(
        ["operators=numeric", "llm=none", "budget.evaluations=1000000", "claim=off", "run=scale"], "cpu"
    )
    task = task_from(config.task)
    places = tuple(Slot(index=i, device="cpu", gpu=None, cores=(), threads=1) for i in range(slots))
    executor = TimekeepingExecutor(StubEvaluator(task, NoSandbox()), places, seconds, random.Random(1))
    stop = threading.Event()
    with Archive.open(folder / "driven.duckdb") as archive, executor:
        opened = open_run(archive, config, task, executor.conditions, 0.0)
        parts = factory.build_search(config, task, executor.evaluator, factory.Llm(None, ""))
        engine = Engine(parts, archive, opened.run, opened.tree)
        engine.start(factory.seed_files(task))
        controller = RunController(engine, config.budget, config.claim, slots=slots)
        cpu, wall = _cpu(), time.monotonic()
        SlotLoop(controller, executor, _Silent(stop, 60 * minutes), stop).run()
        cpu, wall = _cpu() - cpu, time.monotonic() - wall
        if executor.began is None:
            raise RuntimeError(f"the driver never had all {slots} slots busy within {minutes:g} minutes")
        used = 1 - executor.idle / (slots * (time.monotonic() - executor.began))
        engine.close()
    late = [1000 * each for each in executor.late[slots:]]  # the first ones end before all slots are busy
    fifth = max(1, len(late) // 5)
    return {
        "slots": slots,
        "evaluations": len(executor.late),
        "used": used,
        "late_ms": statistics.median(late),
        "late_p95_ms": statistics.quantiles(late, n=20)[-1],
        "late_growth": statistics.mean(late[-fifth:]) / statistics.mean(late[fifth : 2 * fifth]),
        "driver_share": cpu / wall,
        "driver_ms": 1000 * cpu / len(executor.late),
        "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ask(path: Path, nodes: int, tries: int) -> dict[str, float]:
    """Median milliseconds of two questions on an open connection."""
    connection = connect(path, read_only=True)
    schema.prepare_reading(connection, path)
    wanted = {
        "leaderboard_ms": "SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10",
        "lineage_ms": f"FROM lineage('{node_at(WIDE, nodes - 1)}')",
    }
    return {name: _median_ms(lambda sql=sql: connection.execute(sql).fetchall(), tries) for name, sql in wanted.items()}  # type: ignore[misc]


def _median_ms(act: Callable[[], Any], tries: int) -> float:
    spent = []
    for _ in range(tries):
        began = time.perf_counter()
        act()
        spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent)


def resume(path: Path) -> dict[str, float]:
    """Open the archive, rebuild the tree, and make some nodes; for a process of its own."""
    began = time.perf_counter()
    config = config_for(["operators=numeric", "llm=none"], "cpu")
    with Archive.open(path) as archive:
        tree = archive.tree(WIDE, CONDITIONS)
        seconds = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        task = task_from(config.task)
        evaluator = StubEvaluator(task, NoSandbox())
        engine = Engine(factory.build_search(config, task, evaluator, factory.Llm(None, "")), archive, WIDE, tree)
        spent = moves_ms(engine, WARMING + 50)
        engine.close()
    return {"resume_s": seconds, "resume_mb": memory, "next_move_ms": statistics.mean(spent[WARMING:])}


def archive_figures(folder: Path, nodes: int, tries: int) -> dict[str, float]:
    path = folder / "large.duckdb"
    began = time.perf_counter()
    preload(path, nodes)
    print(f"  {nodes:,} nodes preloaded in {time.perf_counter() - began:.0f} s", flush=True)
    size = path.stat().st_size / 1e6
    found = {"nodes": nodes, "archive_mb": size, **ask(path, nodes, tries)}
    command = [sys.executable, __file__, "--resume", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**found, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60 slots, trainings of 4 s, 20 s; 20,000 nodes")
    parser.add_argument("--slots", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a training (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the search (%(default)s)")
    parser.add_argument("--nodes", type=int, default=1_000_000, help="of the preloaded archive (%(default)s)")
    parser.add_argument("--only", choices=("slots", "archive"), help="one part")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume is not None:
        print(json.dumps(resume(options.resume)))
        return
    slots, seconds, minutes = (60, 4.0, 1 / 3) if options.quick else (options.slots, options.seconds, options.minutes)
    nodes, tries = (20_000, 3) if options.quick else (options.nodes, 5)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as name:
        if options.only != "archive":
            found |= drive(Path(name), slots, seconds, minutes)
            print(f"  {found}", flush=True)
        if options.only != "slots":
            found |= archive_figures(Path(name), nodes, tries)
    print(json.dumps({**{key: round(value, 4) for key, value in found.items()}, "quick": options.quick}))


if __name__ == "__main__":
    main()
