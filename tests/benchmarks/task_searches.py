"""Whole searches of one small task with a model that answers at once: ours, and OpenEvolve's. Part of ``tasks.py``.

The candidate computes for 10 ms of CPU time, then returns a number. Both systems ask a local server that speaks
OpenAI's chat completions; each answer is a search/replace block that applies to every descendant, no two alike. Two
evaluations run at a time. Ours runs as users run it (``python -m search`` with the default operators, a fresh sandbox
for each candidate, a scorer process, the archive); OpenEvolve with its defaults, without cascade, in its process pool.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from model_server import Say, an_edit
from openai_api import OpenAiApi

HOUSE = Path(__file__).resolve().parents[2]
WARMING = 10
"""First evaluations, which fill caches; left out of the driver's CPU time."""
SLOTS = 2
MODEL = "stand-in"

PROGRAM = '''import math
import time

X = 0.5  # tune: 0..1


def height():
    """Return a height after 10 ms of computing."""
    end = time.process_time() + 0.010
    while time.process_time() < end:
        math.sqrt(X)
    return 1 - (X - 0.3) ** 2
'''
FOLDER = {
    "work.py": PROGRAM,
    "program.md": "Make height() as large as possible.\n",
    "task.yaml": (
        "name: height\nmetric: {name: height, direction: maximise, lower: 0, upper: 1}\n"
        "workspace: {editable: [work.py]}\nscorer: score.py\nseconds: 10\ndeterministic: true\nsmallest_gain: 0.001\n"
    ),
    "score.py": "def score(candidate, case):\n    return max(0.0, min(1.0, float(candidate.call('height'))))\n",
}
DRIVER = """
import json, os, sys, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as python -m search does before numpy is imported
from search.__main__ import main
from search.run.engine import Engine
told, marks = Engine.tell, []

def tell(self, *words):
    told(self, *words)
    marks.append(time.process_time())

Engine.tell = tell
out = sys.argv.pop(1)
try:
    main()
finally:
    with open(out, "w") as file:
        json.dump(marks, file)
"""
"""The search, which also notes its CPU time after each evaluation."""

EVALUATOR = """
import importlib.util, time
from pathlib import Path

def evaluate(path):
    spec = importlib.util.spec_from_file_location("work", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    height = module.height()
    with open(Path(__file__).with_name("times"), "a") as file:
        file.write(f"{time.time()}\\n")
    return {"combined_score": height}
"""


@dataclass(frozen=True)
class Rates:
    """Evaluations a minute: of the whole command with its start, and from the end of the first to that of the last."""

    whole: float
    steady: float

    @classmethod
    def of(cls, ends: list[float], seconds: float) -> Rates:
        return cls(60 * len(ends) / seconds, 60 * (len(ends) - 1) / (max(ends) - min(ends)))


class CpuGroup:
    """Counts the CPU time of this process and of all that it starts inside. Raises OSError where the kernel cannot."""

    def __enter__(self) -> CpuGroup:
        own = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().split() if ":cpuacct:" in line)
        self._before = Path(f"/sys/fs/cgroup/cpuacct{own}")
        self._folder = self._before / f"benchmark-{os.getpid()}"
        self._folder.mkdir()
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        (self._before / "cgroup.procs").write_text(str(os.getpid()))
        self._folder.rmdir()

    def milliseconds(self) -> float:
        return int((self._folder / "cpuacct.usage").read_text()) / 1e6


def server() -> OpenAiApi:
    """A server whose answers arrive at once."""
    return OpenAiApi(act=lambda number: Say(an_edit(number).replace("TRIED_", "tried_")), model=MODEL)


def write_task(folder: Path) -> None:
    folder.mkdir()
    for name, text in FOLDER.items():
        (folder / name).write_text(text)


def search_here(folder: Path, url: str, evaluations: int, sandbox: str) -> tuple[Rates, list[float]]:
    """Run a search in a new folder; return its rates and the driver's CPU seconds after each evaluation."""
    write_task(folder)
    archive, marks = folder / "archive.duckdb", folder / "marks.json"
    words = [f"task={folder}", "llm=local", f"llm.base_url={url}/v1", f"llm.model={MODEL}", "llm.concurrency=4"]
    words += [f"executor.slots={SLOTS}", f"budget.evaluations={evaluations}", "claim=off", f"archive={archive}"]
    command = [sys.executable, "-c", DRIVER, str(marks), *words, f"sandbox={sandbox}", "run=benchmark"]
    seconds = _run(command, folder, {"PYTHONPATH": str(HOUSE)})
    with duckdb.connect(str(archive), read_only=True) as connection:
        rows = connection.execute("SELECT epoch(finished_at) FROM evaluations WHERE outcome = 'scored'").fetchall()
    return Rates.of([end for (end,) in rows], seconds), json.loads(marks.read_text())


def search_openevolve(python: Path, folder: Path, url: str, evaluations: int) -> Rates:
    """Run OpenEvolve on the same program in a new folder; return its rates."""
    folder.mkdir()
    (folder / "initial_program.py").write_text(PROGRAM)
    (folder / "evaluator.py").write_text(EVALUATOR)
    config = {
        "max_iterations": evaluations - 1,  # the initial program is evaluated as well
        "checkpoint_interval": 10 * evaluations,
        "llm": {"primary_model": MODEL, "api_base": f"{url}/v1", "api_key": "none"},
        "evaluator": {"cascade_evaluation": False, "parallel_evaluations": SLOTS},
    }
    (folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML
    program = "import sys; from openevolve.cli import main; sys.exit(main())"
    files = ["initial_program.py", "evaluator.py", "--config", "config.yaml", "--output", "out"]
    seconds = _run([str(python), "-c", program, *files], folder, {})
    return Rates.of([float(line) for line in (folder / "times").read_text().split()], seconds)


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    """Run a command; return its wall seconds. Raises RuntimeError with its output if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return time.perf_counter() - began
