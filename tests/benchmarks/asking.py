"""What it costs to ask a large archive.

    python tests/benchmarks/archive.py [--quick] [--nodes 100000]

    short_form_s      the slowest of the short forms (leaderboard, lineage, show, diff, runs, compare, events), process
                      start included, median of 5; the others are printed, and so is `check`, which reads every text
    summary_s         `summary`, which asks a dozen questions
    leaderboard_ms    SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10, on an open connection
    leaderboard_place_ms   the same with `place`, for which all nodes are ranked
    lineage_ms        lineage(ID), the slower of a node among 100,000 and of the end of a line of 500
    *_cpu_s, *_cpu_ms the CPU time of the same three, which depends less on what else the machine does
    live_sql_ms       one small question to the socket while the search writes, median (p95 printed)
    writer_slowdown   by how much longer a node takes to write while a client asks without a pause for the leaderboard
    export_500_s      a lineage of 500 nodes as a git branch, process start included

All on an archive that is preloaded in bulk, which is not measured. The last line is one JSON object. Where other work
shares the cores, `chrt -r 1 python tests/benchmarks/archive.py` (as root) has this one go first, as on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from preload import DEEP, DEPTH, WIDE, node_at, preload

from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.records import (
    Candidate,
    Conditions,
    MoveRecord,
    Node,
    Propose,
    Request,
    Resources,
    Scored,
    node_id_for,
)
from archive.storage import schema
from archive.storage.database import connect
from archive.storage.store import Archive

HOUSE = Path(__file__).resolve().parents[2]
ASKER = """
import sys
from archive.query.query import open_reader
reader = open_reader(sys.argv[1])
print("ready", flush=True)
while True:
    reader.query("SELECT node_id, score FROM leaderboard LIMIT 10")
"""


def timed(act: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def cpu_of(who: int) -> float:
    """Seconds of CPU time so far, of this process (RUSAGE_SELF) or of those that it has waited for (_CHILDREN)."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def median_of(act: Callable[[], object], tries: int, who: int) -> tuple[float, float]:
    """(wall seconds, CPU seconds), each the median of ``tries``, after one that warms."""
    act()
    walls, cpus = [], []
    for _ in range(tries):
        before = cpu_of(who)
        walls.append(timed(act))
        cpus.append(cpu_of(who) - before)
    return statistics.median(walls), statistics.median(cpus)


def short_forms(path: Path, nodes: int, tries: int) -> dict[str, tuple[float, float]]:
    """Median seconds (wall, CPU) of each command, from the start of the process to its end."""
    last, before = node_at(WIDE, nodes - 1), node_at(WIDE, nodes - 2)
    commands = {
        "summary": ["summary"],
        "leaderboard": ["leaderboard"],
        "lineage": ["lineage", node_at(DEEP, DEPTH - 1)],
        "show": ["show", last],
        "diff": ["diff", last, before],
        "runs": ["runs"],
        "compare": ["compare", WIDE.run, DEEP.run],
        "events": ["events", "--run", WIDE.run],
        "check": ["check"],
    }
    found = {}
    for name, words in commands.items():
        command = [sys.executable, "-m", "archive", *words, "--archive", str(path)]

        def once(command: list[str] = command) -> None:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=HOUSE)

        found[name] = median_of(once, tries, resource.RUSAGE_CHILDREN)
        print(f"  {name:<12} {found[name][0]:.3f} s ({found[name][1]:.3f} s of CPU time)", flush=True)
    return found


def queries(path: Path, nodes: int, tries: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds (wall, CPU) of the queries on an open connection, one thread as always."""
    connection = connect(path, read_only=True)
    schema.prepare_reading(connection, path)
    wanted = {
        "leaderboard": "SELECT node_id, operator, score, idea FROM leaderboard LIMIT 10",
        "leaderboard_place": "SELECT place, node_id, score, idea FROM leaderboard LIMIT 10",
        "lineage_wide": f"FROM lineage('{node_at(WIDE, nodes - 1)}')",
        "lineage_deep": f"FROM lineage('{node_at(DEEP, DEPTH - 1)}')",
        "children": f"FROM children('{node_at(WIDE, nodes // 3)}')",
        "progress": "SELECT count(*), min(best) FROM progress",
        "operator_stats": "FROM operator_stats",
        "run_summary": "FROM run_summary",
    }
    found = {}
    for name, sql in wanted.items():

        def once(sql: str = sql) -> None:
            connection.execute(sql).fetchall()

        wall, cpu = median_of(once, tries, resource.RUSAGE_SELF)
        found[name] = 1000 * wall, 1000 * cpu
        print(f"  {name:<18} {1000 * wall:.1f} ms ({1000 * cpu:.1f} ms of CPU time)", flush=True)
    connection.close()
    return found


def write_nodes(archive: Archive, first: int, count: int) -> list[float]:
    """Seconds that each of ``count`` nodes took: its move, itself and its evaluation, each a commit."""
    conditions = Conditions("benchmark", 10.0, "stub")
    spent = []
    for number in range(first, first + count):
        candidate = Candidate({"train.py": f"NEW = {number}\n"}, (node_at(WIDE, 0),), "tune", "an idea")
        node = Node(node_id_for(WIDE.run_id, number), WIDE.run, number, number, candidate, time.time(), str(number))
        request = Request(node.node_id, WIDE.run, number, candidate.files, number, "screen")
        scored = Scored(
            request=request, conditions=conditions, resources=Resources(10.0, {"train": 10.0}, steps=150),
            trust="audited", sandbox="bwrap", device="cpu", started_at=time.time(), finished_at=time.time(), score=3.5,
        )  # fmt: skip
        began = time.perf_counter()
        archive.choose(MoveRecord(WIDE.run, number, Propose("tune", candidate.parents), number))
        archive.add(node)
        archive.record(scored)
        spent.append(time.perf_counter() - began)
        time.sleep(0.005)  # a search writes now and then
    return spent


@contextmanager
def asker(path: Path) -> Iterator[None]:
    """A client that asks the search without a pause."""
    client = subprocess.Popen([sys.executable, "-c", ASKER, str(path)], stdout=subprocess.PIPE, text=True, cwd=HOUSE)
    try:
        assert client.stdout is not None
        client.stdout.readline()
        yield
    finally:
        client.kill()
        client.wait()


def live(path: Path, nodes: int, writes: int) -> dict[str, float]:
    """What asking costs while a search writes, and what it costs the search."""
    with Archive.open(path) as archive, SqlServer(archive):
        reader, asked, stop = open_reader(path), list[float](), threading.Event()
        small = "SELECT node_id, score FROM evaluations WHERE run = 'wide' ORDER BY arrival DESC LIMIT 1"

        def ask() -> None:
            while not stop.wait(0.02):
                asked.append(timed(lambda: reader.query(small)))

        write_nodes(archive, nodes, 20)  # warms
        alone = statistics.median(write_nodes(archive, nodes + 20, writes))
        thread = threading.Thread(target=ask)
        thread.start()
        write_nodes(archive, nodes + 20 + writes, writes)
        stop.set()
        thread.join()
        with asker(path):
            busy = statistics.median(write_nodes(archive, nodes + 20 + 2 * writes, writes))
    milliseconds = sorted(1000 * seconds for seconds in asked)
    p95 = milliseconds[int(0.95 * len(milliseconds))]
    print(f"  live SQL: median {statistics.median(milliseconds):.2f} ms, p95 {p95:.2f} ms", flush=True)
    print(
        f"  a node is written in {1000 * alone:.2f} ms alone, in {1000 * busy:.2f} ms while a client asks", flush=True
    )
    return {"live_sql_ms": statistics.median(milliseconds), "writer_slowdown": busy / alone - 1}


def export(folder: Path, path: Path) -> float:
    """Return the seconds of an export of a deep lineage, the faster of two."""
    base = [sys.executable, "-m", "archive", "--archive", str(path), "export", node_at(DEEP, DEPTH - 1)]

    def run(branch: str) -> float:
        words = [*base, "--branch", branch, "--repo", str(folder / "r")]
        return timed(lambda: subprocess.run(words, cwd=HOUSE, check=True, stdout=subprocess.DEVNULL))

    seconds = min(run(f"deep-{i}") for i in range(2))
    print(f"  export of {DEPTH}: {seconds:.2f} s", flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 nodes, fewer tries: under a minute, and rougher")
    parser.add_argument("--nodes", type=int, default=100_000, help="nodes of the preloaded archive (%(default)s)")
    options = parser.parse_args()
    nodes, tries, writes = (20_000, 2, 60) if options.quick else (options.nodes, 5, 300)
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as name:
        path = Path(name) / "large.duckdb"
        seconds = timed(lambda: preload(path, nodes))
        print(f"  {nodes:,} nodes preloaded in {seconds:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)
        forms = short_forms(path, nodes, tries)
        asked = queries(path, nodes, tries)
        slowest = max(seconds for form, seconds in forms.items() if form not in ("check", "summary"))
        lineage = max(asked["lineage_wide"], asked["lineage_deep"])
        figures: dict[str, float | None] = {
            "short_form_s": slowest[0],
            "short_form_cpu_s": slowest[1],
            "summary_s": forms["summary"][0],
            "leaderboard_ms": asked["leaderboard"][0],
            "leaderboard_cpu_ms": asked["leaderboard"][1],
            "leaderboard_place_ms": asked["leaderboard_place"][0],
            "lineage_ms": lineage[0],
            "lineage_cpu_ms": lineage[1],
            **live(path, nodes, writes),
            "export_500_s": export(Path(name), path),
        }
    print(
        json.dumps(
            {
                **{key: None if value is None else round(value, 4) for key, value in figures.items()},
                **{"nodes": nodes, "quick": options.quick},
            }
        )
    )
