"""How well many slots are used, and what the driver spends on each evaluation.

    python tests/benchmarks/slots.py [--quick] [--evaluations 40] [--seconds 10] [--latency 10] [--slots 1,4,16]
                                     [--operators llm|auto] [--ray]

Whole searches (`python -m search`) whose trainings sleep, so that one machine can play many. The language model is a
local server that speaks the Messages API and takes as long for each answer as a training (`--latency`). With
`--operators auto`, as a search with a key has it, tune and crossover stand in where no answer is there; with `llm`
nothing does.

    use_1, use_4, use_16      share of the slots' time that evaluations occupy, from the root's start to the end of the
                              search; the claim, which has few trainings, is in `whole_` and not here
    full_1, full_4, ...       the same from the moment when all slots were busy for the first time: without the first
                              answers, which can be asked for only when the root has a score
    whole_1, whole_4, ...     use_ with the claim
    driver_ms_256             CPU milliseconds of the driver for one evaluation at 256 slots, numeric operators: choose,
                              make, record, lead, start and end it. From two searches of different length, so that
                              start-up and summary drop out
    driver_mb_256             memory of that driver at its largest
    ray_ms                    with --ray: CPU milliseconds of the driver for one evaluation that goes through
                              `train.executors.ray.executor`: request, progress and result; on a cluster of one node
                              here

`--quick`: trainings and answers of 1 s, 10 for each slot, and a driver with few trainings: a minute or two, and no
figure to compare. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

sys.path += [str(Path(__file__).resolve().parents[1] / name) for name in ("support", "search")]

from busy import CLAIM, Setting, searched, share_between
from launching import STUB, command, environment

from prepare.load import task_from


@dataclass(frozen=True)
class Many(Setting):
    """A search whose model may be asked as often at a time as many slots need."""

    @property
    def words(self) -> list[str]:
        return [*super().words, f"llm.concurrency={max(16, 3 * self.slots)}"]


@dataclass(frozen=True)
class Spent:
    """What a finished process has used."""

    seconds: float
    """CPU, user and system."""
    megabytes: float
    """Resident, at its largest."""


@dataclass(frozen=True)
class Usage:
    """Shares of the slots' time, in [0, 1]."""

    use: float
    full: float
    whole: float


_SPANS = """
    SELECT epoch(started_at), epoch(finished_at), purpose = 'screen' FROM evaluations WHERE outcome <> 'lost' ORDER BY 1
"""


def use(slots: int, evaluations: int, seconds: float, latency: float, operators: str) -> Usage:
    """One search, read from its archive. Raises RuntimeError if it fails."""
    setting = Many(slots, slots * evaluations, latency, seconds, seconds, operators)
    with searched(setting) as (path, _), duckdb.connect(str(path), read_only=True) as archive:
        spans = archive.execute(_SPANS).fetchall()
        refused, answers = archive.execute(
            "SELECT (SELECT count(*) FROM refusals), (SELECT count(*) FROM llm_calls)"
        ).fetchall()[0]
    searching = [(began, ended) for began, ended, screen in spans if screen]
    first, last = searching[0][0], max(ended for _, ended in searching)
    filled = next(began for began, _ in searching if _busy_at(began, searching) == slots)
    final = searching[-1][0]  # after the last start there is nothing left for a slot that becomes free
    usage = Usage(
        share_between(searching, slots, first, last),
        share_between(searching, slots, filled, final),
        share_between(spans, slots, first, max(span[1] for span in spans)),
    )
    print(
        f"  {slots:>2} slots, {len(spans)} trainings of {seconds:g} s, {answers} answers in {latency:g} s, {refused} "
        f"refused: used {usage.use:.1%} (once full {usage.full:.1%}, with the claim {usage.whole:.1%})",
        flush=True,
    )
    return usage


def _busy_at(moment: float, spans: Sequence[tuple[float, float]]) -> int:
    return sum(began <= moment < ended for began, ended in spans)


def drive(slots: int, evaluations: int, seconds: float) -> Spent:
    """One search with trainings that sleep. Raises RuntimeError if it fails."""
    words = (
        *("operators=numeric", "llm=none", f"executor.slots={slots}", f"budget.evaluations={evaluations}"),
        *(f"task.seconds={seconds}", f"evaluator.delay={seconds}"),
    )
    with tempfile.TemporaryDirectory(prefix="slots-bench-") as folder:
        process = subprocess.Popen(
            command(*STUB, *words, *CLAIM, stub=False),
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        errors = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the search failed:\n{errors.decode()[-2000:]}")
    return Spent(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def driver(slots: int, short: int, long: int, seconds: float) -> dict[str, float]:
    """Keys ``driver_ms_N`` and ``driver_mb_N``."""
    less, more = (drive(slots, slots * rounds, seconds) for rounds in (short, long))
    ms = 1000 * (more.seconds - less.seconds) / (slots * (long - short))
    print(
        f"  {slots} slots, {slots * short} and {slots * long} trainings of {seconds:g} s: the driver used "
        f"{less.seconds:.1f} and {more.seconds:.1f} s of CPU time, {ms:.1f} ms an evaluation, {more.megabytes:.0f} MB",
        flush=True,
    )
    return {f"driver_ms_{slots}": round(ms, 2), f"driver_mb_{slots}": round(more.megabytes)}


def through_ray(evaluations: int, seconds: float) -> dict[str, float]:
    """Key ``ray_ms``: CPU time of this process while evaluations go through a cluster on this machine."""
    from pretending import PretendedRay
    from ray_nodes import RayNodes
    from stub_evaluator import StubEvaluator

    from archive.records import Request
    from search import factory, settings
    from train.sandbox.base import NoSandbox

    with RayNodes(nodes=1, cpus=4, gpus=4) as nodes:
        words = ["executor=ray", f"executor.address={nodes.address}"]
        stub = {"_target_": "stub_evaluator.StubEvaluator", "delay": seconds}
        config = settings.config_for(words, "cpu", evaluator=stub, sandbox="none")
        task = task_from(config.task)
        files = factory.seed_files(task)
        slots = PretendedRay.find_slots(config.executor.options)
        with PretendedRay.of(config.execution, StubEvaluator(task, NoSandbox()), slots) as executor:
            began, used = time.monotonic(), _cpu()
            executor.wait(5.0)  # what it costs to be there at all
            idle = (_cpu() - used) / (time.monotonic() - began)
            began, used = time.monotonic(), _cpu()
            for number in range(evaluations):
                executor.submit(Request(f"{number}", "bench", number, files, number, "screen"))
            while executor.in_flight:
                executor.wait(0.25)
            spent, wall = _cpu() - used, time.monotonic() - began
    ms = 1000 * (spent - idle * wall) / evaluations
    print(
        f"  Ray: {evaluations} trainings of {seconds:g} s on {len(slots)} hosts in {wall:.1f} s: {ms:.2f} ms of CPU "
        f"time an evaluation, beside {1000 * idle:.1f} ms a second for being there",
        flush=True,
    )
    return {"ray_ms": round(ms, 2), "ray_idle_ms_per_s": round(1000 * idle, 2)}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="trainings of 1 s; one to three minutes")
    parser.add_argument("--evaluations", type=int, default=40, help="trainings for each slot (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a training sleeps (%(default)s)")
    parser.add_argument("--latency", type=float, help="seconds before each answer of the model (as a training)")
    parser.add_argument("--slots", default="1,4,16", help="numbers of slots (%(default)s)")
    parser.add_argument("--operators", default="auto", help="auto (%(default)s), or llm: nothing else feeds a slot")
    parser.add_argument("--ray", action="store_true", help="measure ray_ms, too")
    parser.add_argument("--only", choices=("use", "driver", "ray"), help="one part")
    options = parser.parse_args()
    evaluations, seconds = (10, 1.0) if options.quick else (options.evaluations, options.seconds)
    latency = seconds if options.latency is None else options.latency
    found: dict[str, object] = {}
    if options.only in (None, "use"):
        for slots in map(int, options.slots.split(",")):
            shares = asdict(use(slots, evaluations, seconds, latency, options.operators))
            found |= {f"{name}_{slots}": round(share, 4) for name, share in shares.items()}
    if options.only in (None, "driver"):
        found |= driver(256, 1, 2, 1.0) if options.quick else driver(256, 2, 6, seconds)
    if options.only == "ray" or options.ray:
        found |= through_ray(100 if options.quick else 400, 0.1)
    print(
        json.dumps(
            {**found, "seconds": seconds, "latency": latency, "operators": options.operators, "quick": options.quick}
        )
    )


if __name__ == "__main__":
    main()
