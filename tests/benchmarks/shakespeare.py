"""Do edits as genes help in real searches? ``shakespeare``, tune and scripted edits of the code, equal evaluations.

    python tests/benchmarks/shakespeare.py [--seeds 1,2,3] [--evaluations 32] [--seconds 4] [--archive FILE] [--quick]

Each search is `python -m search` with ``tune``, ``crossover`` and ``code_edits.CodeEdits``, as often as ``tune``:

    genes    tune by the gene model: all programs that share a constant inform it, and changes of the code are genes
    tpe      tune by Optuna's TPE, which knows of programs with exactly the same constants, and of no code

What counts is the gain over the root that the claim reports, from fresh seeds of both sides; the leader's screening
mean is printed beside it. The searches of one seed run one after the other, the arms in turn. Nothing else should run
on the machine: a time budget measures it. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from default_run import verdicts

HERE = Path(__file__).parent
ARMS = ("genes", "tpe")
EDITING = "+operators.edit._target_=code_edits.CodeEdits"
CLAIM = ("claim.candidates=2", "claim.confirm_seeds=1", "claim.report_seeds=3", "claim.most_report_seeds=3")


def search(arm: str, seed: int, archive: Path, options: argparse.Namespace) -> None:
    command = [sys.executable, "-m", "search", "operators=numeric", EDITING, f"operators.tune.proposer={arm}"]
    command += [f"seed={seed}", f"run={arm}-{seed}", f"archive={archive}", f"task.seconds={options.seconds}"]
    command += [f"budget.evaluations={options.evaluations}", *CLAIM]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})


def screened(archive: Path) -> dict[str, tuple[float, int, int]]:
    """By run: the best screening mean, nodes, and nodes that carry an edit of the code."""
    with duckdb.connect(str(archive), read_only=True) as connection:
        rows = connection.execute(
            "SELECT n.run, min(m.score), count(DISTINCT n.node_id), "
            "count(DISTINCT n.node_id) FILTER (n.operator = 'edit') "
            "FROM nodes n LEFT JOIN (SELECT node_id, avg(score) AS score FROM screenings WHERE outcome = 'scored' "
            "GROUP BY node_id) m USING (node_id) GROUP BY n.run"
        ).fetchall()
    return {run: (float(best), int(nodes), int(edits)) for run, best, nodes, edits in rows}


def compared(runs: Sequence[dict[str, Any]], seeds: Sequence[int]) -> dict[str, Any]:
    """Means and standard errors of the reported gains, and of their differences on equal seeds."""
    gains = {(arm, seed): float(run["gain"] or 0.0) for run in runs for arm, seed in [_named(run["run"])]}
    line: dict[str, Any] = {}
    for arm in ARMS:
        of_arm = np.array([gains[arm, seed] for seed in seeds])
        line |= {f"{arm}_gain": round(float(of_arm.mean()), 4), f"{arm}_error": _error(of_arm)}
        line[f"{arm}_champions"] = sum(run["kind"] == "champion" for run in runs if run["run"].startswith(f"{arm}-"))
    difference = np.array([gains["genes", seed] - gains["tpe", seed] for seed in seeds])
    return line | {"difference": round(float(difference.mean()), 4), "difference_error": _error(difference)}


def _named(run: str) -> tuple[str, int]:
    arm, seed = run.split("-")
    return arm, int(seed)


def _error(values: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    return round(float(values.std(ddof=1) / np.sqrt(len(values))), 4) if len(values) > 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3", help="search seeds (%(default)s)")
    parser.add_argument("--evaluations", type=int, default=32, help="trainings of each search (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each training (%(default)s)")
    parser.add_argument("--archive", type=Path, help="keep the runs in this file (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="one seed, 14 short trainings: a look, not a result")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.evaluations, options.seconds = "1", 14, 0.5
    seeds = [int(seed) for seed in options.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="treewright-bench-") as folder:
        archive = options.archive or Path(folder) / "runs.duckdb"
        for seed in seeds:
            for arm in ARMS:
                search(arm, seed, archive, options)
        runs, best = verdicts(archive), screened(archive)
    for run in runs:
        print(f"{run['run']:8} {run['reason']}; best screening {best[run['run']][0]:.3f}, {best[run['run']][2]} edits")
    told = {run["run"]: {"gain": run["gain"], "best_screening": round(best[run["run"]][0], 4)} for run in runs}
    settings = {"seeds": seeds, "evaluations": options.evaluations, "seconds": options.seconds, "quick": options.quick}
    print(json.dumps({**settings, **compared(runs, seeds), "runs": told}))


if __name__ == "__main__":
    main()
