"""The default search on several search seeds: baseline, champion, and whether the interval excludes zero.

    python tests/benchmarks/default_run.py [--seeds 1,2,3] [--archive FILE] [--quick]

Runs `python -m search` as a user would (12 experiments of 10 s, then the claim; about 5 minutes a seed on 2 cores) and
reads the verdicts from the archive. `--quick` is one run with `experiment=quick`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb


def run(seed: int, archive: Path, extra: list[str]) -> None:
    """One search with its ordinary output."""
    command = [sys.executable, "-m", "search", f"seed={seed}", f"run=seed-{seed}", f"archive={archive}", *extra]
    subprocess.run(command, check=True)


def verdicts(archive: Path) -> list[dict[str, Any]]:
    """Baseline, champion and interval of each run, as its last claim left them."""
    connection = duckdb.connect(str(archive), read_only=True)
    rows = connection.execute(
        "SELECT run, kind, reason, detail, (SELECT sum(wall_seconds) FROM evaluations e WHERE e.run = d.run), "
        "(SELECT count(*) FROM evaluations e WHERE e.run = d.run) "
        "FROM decisions d WHERE kind <> 'leader' ORDER BY decided_at"
    ).fetchall()
    connection.close()
    found = {}
    for name, kind, reason, detail, wall, trainings in rows:
        figures = json.loads(detail)
        found[name] = {
            "run": name,
            "kind": kind,
            "reason": reason,
            "baseline": round(sum(figures["baseline"]) / max(1, len(figures["baseline"])), 4),
            "champion": round(sum(figures["champion"]) / max(1, len(figures["champion"])), 4),
            "gain": figures.get("gain"),
            "low": figures.get("low"),
            "high": figures.get("high"),
            "trainings": trainings,
            "wall_seconds_of_all_slots": round(wall),
        }
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3", help="search seeds (%(default)s)")
    parser.add_argument("--archive", type=Path, help="keep the runs in this file (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="one seed, two seconds a training: under a minute")
    options = parser.parse_args()
    seeds = [1] if options.quick else [int(seed) for seed in options.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as folder:
        archive = options.archive or Path(folder) / "runs.duckdb"
        for seed in seeds:
            run(seed, archive, ["experiment=quick"] if options.quick else [])
        runs = verdicts(archive)
    print(json.dumps({"quick": options.quick, "champions": sum(r["kind"] == "champion" for r in runs), "runs": runs}))


if __name__ == "__main__":
    main()
