"""The systems of ``peers.py``: each is run as its users run it, in a folder of its own, and says what it hands over.

    treewright        ``python -m search``, its defaults; the champion, without one the leader (as ``export`` does)
    treewright-model  the same without numeric search: the operators of a language model only
    openevolve        its command line, its defaults, without cascade; ``best_program.py``
    shinka            ``shinka_run``, its defaults, without embeddings, which would refuse near copies; the best program
    gepa              ``optimize_anything``, its defaults; with its cache where a score has no noise
    hillclimb         the rule of karpathy/autoresearch: keep what scores better, else go back

OpenEvolve, Shinka and GEPA run in an interpreter of their own, whose pins differ from this project's.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
from peers_evaluations import Evaluations
from peers_model import MODEL
from peers_tasks import ROOT, PeerTask

SCRIPTS = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Search:
    """What a system is given."""

    task: PeerTask
    seed: int
    model: str
    """The address of the stand-in model, with ``/v1``."""
    service: Evaluations
    folder: Path
    evaluations: int
    python: Path
    """The interpreter of the peers."""
    slots: int = 1
    sandbox: str = "auto"
    seconds: float | None = None
    """Wall time after which a search is ended."""


@dataclass(frozen=True)
class Handed:
    """What a system hands over, and what it says of it."""

    program: str
    gain: float
    """On the seed program, as the system reports it: of scores, positive where the program is better."""
    claimed: bool
    """Whether the system says that the program is better: a champion, or a higher score."""
    evaluations: int
    scored: int
    seconds: float
    cpu: float
    """Seconds of all its processes; of the peers without the evaluations, which the service makes."""
    bytes: int


@dataclass(frozen=True)
class Used:
    """What a command has used."""

    seconds: float
    cpu: float


def run(command: list[str], search: Search, more: dict[str, str] | None = None) -> Used:
    """Run a command in the folder. Raises RuntimeError with its output if it fails before its time is up."""
    began, log = time.perf_counter(), search.folder.with_suffix(".log")
    known = {"OPENAI_API_KEY": "none", "PYTHONHASHSEED": "0", "EVALUATIONS_URL": search.service.url}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=search.folder,
            env={**os.environ, **known, **(more or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        status, cpu = _waited(process, search.seconds)
    if status != 0 and search.seconds is None:
        raise RuntimeError(f"{command[:3]} ended with status {status}: {log.read_text(errors='replace')[-3000:]}")
    return Used(time.perf_counter() - began, cpu)


def _waited(process: subprocess.Popen[bytes], seconds: float | None) -> tuple[int, float]:
    """Return the exit status and the CPU seconds of a process and its descendants; end it when its time is up."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if end is not None and time.monotonic() > end:
            os.killpg(process.pid, 9)
            end = None
        time.sleep(0.02)


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


# ---------------------------------------------------------------- ours

_SUMMARY = """
    WITH reports AS (SELECT node_id, avg(score) AS score FROM evaluations WHERE purpose = 'report' GROUP BY node_id),
    root AS (SELECT avg(score) AS score FROM reports WHERE node_id = (SELECT node_id FROM nodes WHERE number = 0))
    SELECT coalesce(champion, leader), champion IS NOT NULL,
           if(champion IS NULL, leader_gain, if(direction = 'minimise', -1, 1) * (reports.score - root.score)),
           evaluations, failed
    FROM run_summary LEFT JOIN reports ON node_id = champion CROSS JOIN root
"""


def treewright(search: Search, *more: str) -> Handed:
    folder = search.folder / "task"
    named = search.task.write(folder).split()
    before, archive = size(search.folder), search.folder / "archive.duckdb"
    words = [*named, "llm=local", f"llm.base_url={search.model}", f"llm.model={MODEL}", f"seed={search.seed}"]
    words += [f"executor.slots={search.slots}", f"archive={archive}", f"sandbox={search.sandbox}", "run=benchmark"]
    hours, evaluations = f"budget.hours={(search.seconds or 0) / 3600}", f"budget.evaluations={search.evaluations}"
    words.append(hours if search.seconds else evaluations)
    whole = replace(search, seconds=None)  # it keeps its budget of time itself, the claim included
    used = run([sys.executable, "-m", "search", *words, *more], whole, {"PYTHONPATH": str(ROOT)})
    with duckdb.connect(str(archive), read_only=True) as connection:
        handed, champion, gain, evaluations, failed = connection.execute(_SUMMARY).fetchall()[0]
        ((program,),) = connection.execute(
            "SELECT text FROM programs WHERE node_id = ? AND path = ?", [handed, search.task.file]
        ).fetchall()
    spent = size(search.folder) - before
    return Handed(program, gain, champion, evaluations, evaluations - failed, used.seconds, used.cpu, spent)


def treewright_model(search: Search) -> Handed:
    return treewright(search, "operators=llm")


# ---------------------------------------------------------------- the peers


def openevolve(search: Search) -> Handed:
    config = {
        "max_iterations": search.evaluations - 1,  # the initial program is evaluated as well
        "random_seed": search.seed,
        "llm": {"primary_model": MODEL, "api_base": search.model, "api_key": "none"},
        "prompt": {"system_message": search.task.goal},
        "database": {"random_seed": search.seed},
        "evaluator": {"cascade_evaluation": False, "parallel_evaluations": search.slots},
    }
    written(search)
    (search.folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    program = "import sys; from openevolve.cli import main; sys.exit(main())"
    files = ["initial.py", "evaluator.py", "--config", "config.yaml", "--output", "out"]
    used = run([str(search.python), "-c", program, *files], search)
    if search.seconds:
        return best_recorded(search, used)
    best = search.folder / "out" / "best"
    score = json.loads((best / "best_program_info.json").read_text())["metrics"]["combined_score"]
    return handed(search, (best / "best_program.py").read_text(), score, used)


def shinka(search: Search) -> Handed:
    written(search)
    settings = {
        "evo.llm_models": json.dumps([f"local/{MODEL}@{search.model}"]),
        "evo.embedding_model": "none",
        "evo.task_sys_msg": search.task.goal,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    words += ["--max-evaluation-jobs", str(search.slots), "--no-verbose"]
    program = f"import sys, random, numpy; random.seed({search.seed}); numpy.random.seed({search.seed}); "
    program += "from shinka.cli.run import main; sys.exit(main())"
    command = [
        str(search.python),
        "-c",
        program.replace("SEED", str(search.seed)),
        "--task-dir",
        ".",
        "--results_dir",
        "out",
    ]
    path = f"{search.python.parent}{os.pathsep}{os.environ['PATH']}"
    used = run([*command, "--num_generations", str(search.evaluations), *words], search, {"PATH": path})
    if search.seconds:
        return best_recorded(search, used)
    with closing(sqlite3.connect(search.folder / "out" / "programs.sqlite")) as connection:
        best = "SELECT code, combined_score FROM programs WHERE correct ORDER BY combined_score DESC LIMIT 1"
        program, score = connection.execute(best).fetchone()
    return handed(search, program, score, used)


def gepa(search: Search) -> Handed:
    written(search)
    cache = "no" if search.task.noisy else "yes"
    words = [search.model, MODEL, str(search.evaluations), str(search.seed), cache, search.task.goal]
    return from_json(search, run([str(search.python), "gepa_search.py", *words], search))


def hillclimb(search: Search) -> Handed:
    written(search)
    return from_json(
        search, run([sys.executable, "hillclimb.py", search.model, MODEL, str(search.evaluations)], search)
    )


def written(search: Search) -> None:
    """Write the files of a peer's task."""
    shutil.copytree(SCRIPTS, search.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (search.folder / "initial.py").write_text(search.task.program)


def from_json(search: Search, used: Used) -> Handed:
    if search.seconds:
        return best_recorded(search, used)
    best = json.loads((search.folder / "best.json").read_text())
    return handed(search, best["program"], best["score"], used)


def best_recorded(search: Search, used: Used) -> Handed:
    """Return the best single score by the end, which is what all four peers hand over."""
    best = max(
        (entry for entry in search.service.entries if entry.score is not None), key=lambda entry: entry.score or 0
    )
    assert best.score is not None
    return handed(search, best.program, best.score, used)


def handed(search: Search, program: str, score: float, used: Used) -> Handed:
    """Return what a peer hands over; its gain is on its first evaluation, of the seed program."""
    entries = search.service.entries
    gain = score - (entries[0].score or 0.0)
    scored = sum(entry.score is not None for entry in entries)
    return Handed(program, gain, gain > 0, len(entries), scored, used.seconds, used.cpu, size(search.folder))


SYSTEMS: dict[str, Callable[[Search], Handed]] = {
    "treewright": treewright,
    "treewright-model": treewright_model,
    "openevolve": openevolve,
    "shinka": shinka,
    "gepa": gepa,
    "hillclimb": hillclimb,
}
