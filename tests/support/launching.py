"""``python -m search`` and ``python -m archive`` as a user meets them: processes of their own, and no key.

The evaluator is the stub of ``tests/search`` unless ``stub=False``; the toy task is one that a user could have written
in a folder of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

HOUSE = Path(__file__).resolve().parents[2]
STUB = ("--config-dir", str(HOUSE / "tests" / "conf"), "evaluator=stub")
PATHS = os.pathsep.join([str(HOUSE / "tests" / "search"), str(HOUSE)])
_OURS = ("ANTHROPIC_", "OPENAI_", "OPENROUTER_", "TREEWRIGHT_ARCHIVE", "PYTEST_")

_TOY = """\
name: toy
corpus: {{_target_: prepare.data.corpora.Folder, name: toy, path: {texts}}}
metric: {{name: val_bpb, direction: minimise, lower: 0.0, upper: 64.0, unit: bpb}}
seed_file: {candidates}/{seed}
program: {candidates}/program.md
seconds: 1.0
context: 32
rows: 32
batch: 16
audit_screen: 24
audit_claim: 80
limits: {{startup_seconds: 10.0, check_seconds: 10.0, score_seconds: 20.0, audit_seconds: 20.0, memory_mb: 1200,
         processes: 64, parameters: 100000, state_mb: 1.0, log_kb: 8}}
"""


def environment(**more: str) -> dict[str, str]:
    """This environment without keys, with this checkout and the stub evaluator within reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "PYTHONPATH": PATHS, **more}


def command(*words: str, stub: bool = True) -> list[str]:
    """The command line of a search; Hydra's own options, such as ``-m``, may be among the words."""
    return [sys.executable, "-m", "search", *(STUB if stub else ()), *words]


def search(
    folder: Path, *words: str, stub: bool = True, timeout: float = 250, **variables: str
) -> subprocess.CompletedProcess[str]:
    """One search in ``folder``, to its end."""
    return run(command(*words, stub=stub), folder, timeout, **variables)


def run(words: Sequence[str], folder: Path, timeout: float = 250, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def begin(folder: Path, *words: str, stub: bool = True, **variables: str) -> subprocess.Popen[str]:
    """A search that goes on by itself, in a process group of its own."""
    return subprocess.Popen(
        command(*words, stub=stub),
        cwd=folder,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sql(archive: Path, statement: str) -> list[dict[str, Any]]:
    """The rows that ``python -m archive`` gives, by column."""
    from inside import archive as command

    done = command(archive.parent, statement, "--json", "--archive", str(archive))
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def one(archive: Path, expression: str) -> Any:
    """A single value: ``one(path, "count(*) FROM nodes")``."""
    (row,) = sql(archive, f"SELECT {expression}")
    (value,) = row.values()
    return value


def toy_conf(folder: Path, seed: str = "bigram.py") -> Path:
    """A conf folder with ``task=toy``: made-up texts, one second of training, the seed program of that name."""
    rng = np.random.default_rng(7)
    texts = folder / "texts"
    texts.mkdir(parents=True)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), size=rng.integers(2, 9))) for _ in range(300)]
    for number in range(16):
        (texts / f"{number:02}.txt").write_text(" ".join(rng.choice(words, size=1000)))
    conf = folder / "conf"
    (conf / "task").mkdir(parents=True)
    candidates = HOUSE / "tests" / "train" / "candidates"
    (conf / "task" / "toy.yaml").write_text(_TOY.format(texts=texts, candidates=candidates, seed=seed))
    return conf
