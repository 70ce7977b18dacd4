"""What Treewright itself costs: driver CPU per node, bytes per program, time to the first training second.

    python tests/benchmarks/overhead.py [--quick] [--nodes 200]

    ms_per_node_1e3, ms_per_node_1e5   mean CPU time of the driver process for one node (choose a move, make the
                                       candidate, record it, record its evaluation) with a stub evaluator, on an
                                       archive that is preloaded with 1,000 and 100,000 nodes (variants of the seed
                                       program, 5 KB); the first ten nodes of a session, which fill caches, apart
    ms_per_node_1e3_20kb               the same at 1,000 nodes with programs of 20 KB
    bytes_per_program                  growth of the file by 1,000 variants of a 20 KB program, after a checkpoint
    launch_to_training_s               from `python -m search` to the first training second, packages in the page cache

The last line is one JSON object. Preloading is done in bulk with SQL and is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `python -m search` does, before numpy is imported

import duckdb

from archive.records import (
    ROOT_OPERATOR,
    Candidate,
    Conditions,
    Evaluation,
    Node,
    Request,
    Resources,
    Run,
    Scored,
    node_id_for,
    sha256,
)
from archive.storage.database import connect
from archive.storage.store import Archive
from prepare.language_model import LanguageModelTask
from prepare.load import task_from
from search import factory
from search.config import Config
from search.run.engine import Engine
from search.settings import config_for

WARMING = 10
CONDITIONS = Conditions("benchmark", 10.0, "stub")


def padded_seed(task: LanguageModelTask, size: int = 20_000) -> str:
    """The seed program, brought to ``size`` bytes with a function that does nothing new."""
    source = factory.seed_files(task)["train.py"]
    rng = random.Random(0)
    words = [f"{rng.getrandbits(32):08x}" for _ in range(400)]
    lines = []
    while len(source) + sum(map(len, lines)) < size:
        name = rng.choice(words)
        lines.append(
            f"def helper_{len(lines)}_{name}(x):\n    return x * {rng.randint(2, 99)} + {rng.random():.6f}\n\n\n"
        )
    return source.replace("def train(", "".join(lines) + "def train(", 1)


def variant(source: str, rng: random.Random) -> str:
    """A child: three lines changed."""
    lines = source.split("\n")
    for place in rng.sample(range(len(lines)), 3):
        if lines[place].startswith("    return x *"):
            lines[place] = f"    return x * {rng.randint(2, 99)} + {rng.random():.6f}"
        else:
            lines[place] += f"  # {rng.getrandbits(24):06x}"
    return "\n".join(lines)


def preload(path: Path, run: Run, source: str, count: int) -> None:
    """A run of ``count`` scored nodes, each a child of an earlier one, with sources that differ in a constant."""
    with Archive.open(path) as archive:
        archive.start_run(run)
    connection = connect(path, read_only=False)  # row groups as an archive has them
    head, _, tail = source.partition("WARMUP = 0.05")
    ids = [node_id_for(run.run_id, i) for i in range(count)]
    texts = [f"{head}WARMUP = {0.01 + i / (2 * count):.7f}{tail}" for i in range(count)]
    rng = random.Random(1)
    parents = [ids[rng.randrange(max(1, i // 2), i) if i > 1 else 0] for i in range(count)]
    scores = [3.6 - 0.5 * rng.random() for _ in range(count)]
    step = 5_000
    for begin in range(0, count, step):
        rows = [
            (i, ids[i], parents[i], sha256(texts[i]), texts[i], scores[i])
            for i in range(begin, min(count, begin + step))
        ]
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE fresh "
            "(i INT, id VARCHAR, parent VARCHAR, sha VARCHAR, text VARCHAR, score DOUBLE)"
        )
        columns = list(zip(*rows, strict=True))
        connection.execute(
            "INSERT INTO fresh SELECT unnest(?::INT[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), "
            "unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::DOUBLE[])",
            [list(column) for column in columns],
        )
        for statement in _BULK:
            connection.execute(statement.replace("$run", f"'{run.run}'"))
    connection.close()


_AT = "TIMESTAMP '2026-01-01' + INTERVAL 1 SECOND * i"
_BULK = (
    "INSERT INTO sources SELECT sha, text FROM fresh",
    "INSERT INTO files SELECT id, 'train.py', sha FROM fresh",
    "INSERT INTO parents SELECT id, parent, 0 FROM fresh WHERE i > 0",
    f"INSERT INTO nodes (node_id, run, number, move, operator, idea, lines, digest, created_at, arrival) "
    f"SELECT id, $run, i, i, if(i = 0, '{ROOT_OPERATOR}', 'tune'), 'WARMUP', 130, sha, {_AT}, 3 * i + 1 FROM fresh",
    f"INSERT INTO moves (run, move, kind, operator, parents, node_id, purpose, seed, reason, chosen_at, arrival) "
    f"SELECT $run, i, 'propose', if(i = 0, '{ROOT_OPERATOR}', 'tune'), if(i = 0, [], [parent]), NULL, 'screen', i, '', "
    f"{_AT}, 3 * i FROM fresh",
    "INSERT INTO evaluations (run, node_id, move, seed, purpose, split, outcome, score, trust, seconds, wall_seconds, "
    "phases, cpu_seconds, peak_memory_mb, device, hardware, fingerprint, budget_seconds, sandbox, metrics, log, "
    "started_at, finished_at, arrival) SELECT $run, id, i, i, 'screen', 'val', 'scored', score, 'audited', 10, 17, "
    f"'{{}}', 10, 400, 'cpu', 'stub', 'benchmark', 10, 'bwrap', '{{}}', '', {_AT}, {_AT}, 3 * i + 2 FROM fresh",
)


def stub_evaluation(request: Request, rng: random.Random) -> Evaluation:
    """What a real evaluation looks like in the archive, curve included, without the training."""
    now = time.time()
    return Scored(
        request=request, conditions=CONDITIONS, resources=Resources(seconds=10.0, phases={"train": 10.0}, steps=150),
        trust="audited", sandbox="bwrap", device="cpu", started_at=now, finished_at=now, log="step 1\n" * 50,
        score=3.6 - 0.5 * rng.random(),
    )  # fmt: skip


def moves_ms(search: Engine, count: int) -> list[float]:
    """CPU milliseconds of this process for each of ``count`` nodes, the first of which fill caches."""
    rng, spent = random.Random(2), []
    for _ in range(count):
        began = time.process_time()
        search.fill(1, 0)
        request = search.ask("screen")
        if request is None:
            raise RuntimeError("the policy made no move on the preloaded tree")
        search.tell(stub_evaluation(request, rng))
        spent.append(1000 * (time.process_time() - began))
    return spent


def driver_ms(folder: Path, config: Config, task: LanguageModelTask, source: str, preloaded: int, nodes: int) -> float:
    """Mean CPU milliseconds of the driver for one node."""
    path = folder / f"preloaded-{preloaded}-{len(source)}.duckdb"
    identity = {"benchmark": True}
    run = Run("bench", "0" * 32, task.name, "val_bpb", "minimise", "ucb", 0, {}, identity, 0.0)
    preload(path, run, source, preloaded)
    with Archive.open(path) as archive:
        tree = archive.tree(run, CONDITIONS)
        llm = factory.Llm(None, "")
        parts = factory.build_search(config, task, _NoGate(), llm)
        search = Engine(parts, archive, run, tree)
        spent = moves_ms(search, WARMING + nodes)
        search.close()
    print(
        f"  {preloaded:>7,} nodes: median {statistics.median(spent):.2f} ms, mean {statistics.mean(spent):.2f} ms",
        flush=True,
    )
    return statistics.mean(spent)


class _NoGate:
    """Stands where the evaluator's gate does."""

    def gate(self, files: Mapping[str, str]) -> str | None:
        return None


def bytes_per_program(folder: Path, source: str, count: int) -> float:
    """Growth of the archive file by ``count`` variants, each a few lines from its parent, after a checkpoint."""
    path = folder / "programs.duckdb"
    run = Run("bench", "1" * 32, "t", "val_bpb", "minimise", "ucb", 0, {}, {}, 0.0)
    with Archive.open(path) as archive:
        archive.start_run(run)
    before = path.stat().st_size
    rng, texts = random.Random(3), [source]
    with Archive.open(path) as archive:
        for number in range(count):
            if number:
                texts.append(variant(texts[rng.randrange(len(texts))], rng))
            candidate = Candidate({"train.py": texts[-1]}, (), "tune", "a variant")
            archive.add(Node(node_id_for(run.run_id, number), run.run, number, number, candidate, time.time()))
    size = statistics.mean(len(text) for text in texts)
    grown = (path.stat().st_size - before) / count
    print(f"  {count:,} programs of {size:,.0f} bytes: {grown:,.0f} bytes each in the file", flush=True)
    return grown


def launch_to_training(folder: Path, tries: int) -> float:
    """Median seconds from the start of the command to the first training second, after one warming run."""
    found = []
    for number in range(tries + 1):
        path = folder / f"launch-{number}.duckdb"
        command = [
            sys.executable,
            "-m",
            "search",
            f"archive={path}",
            "budget.evaluations=1",
            "task.seconds=0.5",
            "executor.slots=1",
        ]
        began = time.time()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        connection = duckdb.connect(str(path), read_only=True)
        row = connection.execute(
            "SELECT epoch(started_at), wall_seconds, phases FROM evaluations ORDER BY started_at LIMIT 1"
        ).fetchone()
        connection.close()
        assert row is not None
        phases = json.loads(row[2])
        # `launch` is the sum over three equal sandboxes, of which the first comes before the training.
        found.append(row[0] - began + phases["launch"] / 3 + phases["startup"])
    print(f"  launch to training: {', '.join(f'{x:.2f}' for x in found)} s (the first one warms)", flush=True)
    return statistics.median(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, under a minute; the figures are rougher")
    parser.add_argument(
        "--nodes", type=int, default=200, help="nodes to measure on each preloaded archive (%(default)s)"
    )
    options = parser.parse_args()
    nodes, large, programs, tries = (40, 20_000, 1000, 1) if options.quick else (options.nodes, 100_000, 1000, 5)
    config = config_for(["operators=numeric", "llm=none"], "cpu")
    task = task_from(config.task)
    seed = factory.seed_files(task)["train.py"]
    padded = padded_seed(task)
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as name:
        folder = Path(name)
        figures = {
            "ms_per_node_1e3": driver_ms(folder, config, task, seed, 1000, nodes),
            "ms_per_node_1e5": driver_ms(folder, config, task, seed, large, nodes),
            "ms_per_node_1e3_20kb": driver_ms(folder, config, task, padded, 1000, nodes // 2),
            "bytes_per_program": bytes_per_program(folder, padded, programs),
            "launch_to_training_s": launch_to_training(folder, tries),
        }
    figures = {key: round(value, 3) for key, value in figures.items()}
    print(json.dumps({**figures, "quick": options.quick, "large": large}))


if __name__ == "__main__":
    main()
