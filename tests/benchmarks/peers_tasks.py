"""The tasks of ``peers.py``: a seed program with its edits, how it is scored, and its true value.

    circles26    conf/task/circles26: exact, so a score is the true value
    binpacking   conf/task/binpacking: scored on the published instances, true on new ones
    noisy        a program of named parts and four constants, whose value is known: a score has noise as a training of
                 ``shakespeare`` has it, and a third of its edits only seem to help
    null         the same without any edit or setting that is better than the seed program
    shakespeare  the language model of conf/task, trained for 4 s, by its constants alone; needs a quiet machine

Scores are given to all systems so that larger is better; a program that fails has none.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(Path(__file__).parent)]

from gallery import TASKS, judged, mean, task_of  # noqa: E402
from peers_edits import Catalogue, Edit  # noqa: E402

START, END = "# EVOLVE-BLOCK-START\n", "# EVOLVE-BLOCK-END\n"
SIGMA = 0.02
"""Deviation of the noise: of an accuracy near 0.6, and as large as half of a good edit's worth."""
HIDDEN = range(7001, 7006)
"""Seeds of the hidden instances."""


@dataclass(frozen=True)
class PeerTask:
    """One task, for a seed of the model's script."""

    name: str
    file: str
    program: str
    goal: str
    catalogue: Catalogue
    evaluations: int
    noisy: bool
    score: Callable[[str, int], float]
    """Of a program text and the number of the evaluation; raises what the program raises."""
    truth: Callable[[str], float]
    """Of a program text, in the task's own unit."""
    sign: float
    """-1 if smaller is better there."""
    write: Callable[[Path], str]
    """Write the task's files into a new folder for ``python -m search``; return the words that name the task."""

    def gain(self, text: str) -> float:
        """Return the true gain of a program on the seed program, positive where it is better."""
        return self.sign * (self.truth(text) - self.truth(self.program))


def peer_task(name: str, seed: int, pause: float = 0.0) -> PeerTask:
    """Return a task. Raises KeyError for an unknown name. ``pause``: seconds of an evaluation of ours, if noisy."""
    makers = {"circles26": _gallery, "binpacking": _gallery, "noisy": _synthetic, "null": _synthetic}
    return {**makers, "shakespeare": _language_model}[name](name, seed, pause)


# ---------------------------------------------------------------- tasks of conf/task

_CIRCLES = (
    Edit(
        "good",
        "    centres, r = polished(centres, radii(centres))\n    return",
        """    centres, r = polished(centres, radii(centres))
    from scipy.optimize import linprog

    one, other = np.triu_indices(n, 1)
    pairs = np.zeros((len(one), n))
    pairs[np.arange(len(one)), one] = pairs[np.arange(len(one)), other] = 1
    apart = np.sqrt(((centres[one] - centres[other]) ** 2).sum(1))
    walls = np.minimum(centres, 1 - centres).min(1)
    r = linprog(-np.ones(n), A_ub=pairs, b_ub=apart, bounds=[(0, wall) for wall in walls]).x.clip(0) * (1 - 1e-9)
    return""",
    ),
    Edit("good", "ROUNDS = 3 ", "ROUNDS = 15 "),
    Edit("good", "STEPS = 100 ", "STEPS = 600 "),
    Edit(
        "neutral", '    """Return n circles [x, y, radius]."""', '    """Return n circles as lists [x, y, radius]."""'
    ),
    Edit("neutral", "    r = radii(centres)\n    for step", "    r = 1.0 * radii(centres)\n    for step"),
    Edit("harmful", "grown(centres, r) * (1 - 1e-12)", "grown(centres, r) * (1 - 3e-3)"),
    Edit("harmful", "    return moved.clip(0.02, 0.98)", "    return moved.clip(0.15, 0.85)"),
    Edit("broken", "    centres = spread(rows(n))", "    centres = spread(rows(n), START)"),
    Edit("broken", "zip(centres, grown(centres, r)", "zip(centres, 1.01 * grown(centres, r)"),
)
_PACKING = (
    Edit("harmful", "NEAR = 12 ", "NEAR = 2 "),
    Edit("good", "FAR = 12 ", "FAR = 20 "),
    Edit("harmful", "FAR_100 = 12 ", "FAR_100 = 20 "),
    Edit("neutral", "    gap = bins - item\n", "    gap = 1 * bins - item\n"),
    Edit("harmful", "1000 - gap, np", "1000 + gap, np"),
    Edit("harmful", "] = -500", "] = 5000"),
    Edit("broken", "    gap = bins - item\n", "    gap = bins - items\n"),
    Edit("broken", "np.where(gap <= near,", "np.where(gap.near,"),
)
_GALLERY = {
    "circles26": (_CIRCLES, 40, "Make the sum of the radii of 26 circles in a unit square as large as possible."),
    "binpacking": (_PACKING, 40, "Give online bin packing priorities that leave few bins; larger scores are better."),
}


def _gallery(name: str, seed: int, pause: float) -> PeerTask:
    task, (edits, evaluations, goal) = task_of(name), _GALLERY[name]
    file = task.editable[0]
    sign = 1.0 if task.metric.direction == "maximise" else -1.0
    shift = 0.0 if sign > 0 else 100.0  # peers give a program that fails 0

    def value(text: str, split: str = "val", seeds: range = range(1, 2)) -> float:
        return statistics.fmean(mean(judged(name, _loaded(name, text), split, seed)) for seed in seeds)

    def truth(text: str) -> float:
        return value(text) if name == "circles26" else value(text, "holdout", HIDDEN)

    def write(folder: Path) -> str:
        shutil.copytree(TASKS / name, folder, ignore=shutil.ignore_patterns("cheats", "__pycache__"))
        (folder / file).write_text(program)
        return f"task={folder}"

    program = START + task.seed_files()[file] + END
    return PeerTask(
        name,
        file,
        program,
        goal,
        Catalogue(edits, 0.6),
        evaluations,
        False,
        lambda text, number: shift + sign * value(text),
        truth,
        sign,
        write,
    )


def _loaded(name: str, text: str) -> dict[str, Any]:
    """Return the functions of a program and of the files beside it, which import it by its name."""
    task, module = task_of(name), ModuleType("candidate")
    sys.modules[Path(task.editable[0]).stem] = module
    for source in (text, *(more.decode() for more in task.readonly_files().values())):
        exec(compile(source, "candidate", "exec"), vars(module))
    return vars(module)


# ---------------------------------------------------------------- the language model of conf/task

_BUDGET = "task.seconds=4"
_BITS = 10.0
"""Scores of the peers are this less the bits a byte."""


def _language_model(name: str, seed: int, pause: float) -> PeerTask:
    def bits(text: str, *words: str) -> float:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "train.py").write_text(text)
            command = [sys.executable, "-m", "search", "evaluate", f"{folder}/train.py", f"task={name}", _BUDGET]
            done = subprocess.run([*command, "--json", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return statistics.fmean(run["score"] for run in json.loads(done.stdout)["runs"])

    def write(folder: Path) -> str:
        folder.mkdir()
        (folder / "seed.py").write_text(program)
        return f"task={name} {_BUDGET} task.seed_file={folder / 'seed.py'}"

    program = START + (ROOT / "train" / "seeds" / "shakespeare.py").read_text() + END
    return PeerTask(
        name,
        "train.py",
        program,
        "Make the bits a byte of the language model on held-out plays as few as possible in 4 s of training.",
        Catalogue((), 1.0),
        29,
        True,
        lambda text, number: _BITS - bits(text, "--runs", "1"),
        lambda text: bits(text, "--runs", "4", "--split", "select"),
        -1.0,
        write,
    )


# ---------------------------------------------------------------- a score with noise, of a known value

_SECTIONS = ("data", "model", "optimiser", "schedule", "loss", "sampling")
_KINDS = 8 * ("good",) + 24 * ("neutral",) + 12 * ("harmful",) + 4 * ("broken",)
_PROGRAM = '''RATE = 0.01  # tune: 0.0001..1 log
WIDTH = 64  # tune: 16..1024 log step 1
DROPOUT = 0.3  # tune: 0..0.8
WARMUP = 0.2  # tune: 0..0.5


def design():
    """Return the settings and the parts of a training."""
    parts = []
    # data
    # model
    # optimiser
    # schedule
    # loss
    # sampling
    return {"rate": RATE, "width": WIDTH, "dropout": DROPOUT, "warmup": WARMUP, "parts": parts}
'''
_SCORE = '''"""Judges a design of a training by a known value with noise."""

import math
import time
import zlib

import numpy as np

WORTH = {worth!r}
BEST = {best!r}


def value(design):
    """Return the mean score of a design: 0.6 and the worth of its parts and settings."""
    places = [math.log(design["rate"]) / 9.2 + 1, math.log(design["width"] / 16) / 4.16]
    places += [design["dropout"] / 0.8, design["warmup"] / 0.5]
    lost = sum({steep!r} * (place - best) ** 2 for place, best in zip(places, BEST))
    return 0.6 + sum(WORTH[part] for part in set(design["parts"])) - lost


def noisy(design, seed):
    """Return one training's score."""
    rng = np.random.default_rng([seed % 2**32, zlib.crc32(repr(design).encode())])
    return min(1.0, max(0.0, value(design) + {sigma!r} * float(rng.normal())))


def score(candidate, case):
    time.sleep({pause!r})
    return noisy(candidate.call("design"), case.seed)
'''
_TASK = """name: "{name}"
metric: {{name: accuracy, direction: maximise, lower: 0, upper: 1}}
workspace: {{editable: [train.py]}}
scorer: score.py
seconds: 10
smallest_gain: 0.03
"""
_SEED_PLACES = (0.5, 0.333, 0.375, 0.4)


def _synthetic(name: str, seed: int, pause: float) -> PeerTask:
    """Return a task whose landscape is drawn from the seed: of ``null`` the seed program is at the optimum."""
    rng = np.random.default_rng([seed, 7])
    kinds = [kind if name == "noisy" or kind != "good" else "neutral" for kind in rng.permutation(_KINDS)]
    sizes = rng.uniform(0.015, 0.05, len(kinds))
    worth = {f"part {n}": _worth(kind, float(size)) for n, (kind, size) in enumerate(zip(kinds, sizes, strict=True))}
    away = rng.choice((-1, 1), 4) * rng.uniform(0.15, 0.35, 4) if name == "noisy" else np.zeros(4)
    best = [float(place) for place in np.clip(np.add(_SEED_PLACES, away), 0.02, 0.98)]
    source = _SCORE.format(worth=worth, best=best, sigma=SIGMA, steep=0.5, pause=pause)
    scorer = ModuleType("scorer")
    exec(compile(source, "score.py", "exec"), vars(scorer))

    def design(text: str) -> Any:
        found: dict[str, Any] = {}
        exec(compile(text, "train.py", "exec"), found)
        return found["design"]()

    def score(text: str, number: int) -> float:
        return float(scorer.noisy(design(text), 1000 * seed + number))

    def truth(text: str) -> float:
        return float(scorer.value(design(text)))

    def write(folder: Path) -> str:
        folder.mkdir()
        files = {"train.py": program, "score.py": source, "task.yaml": _TASK.format(name=name), "program.md": goal}
        for file, text in files.items():
            (folder / file).write_text(text)
        return f"task={folder}"

    program, goal = START + _PROGRAM + END, "Make the accuracy of the training as large as possible.\n"
    edits = [_part(place, str(kind)) for place, kind in enumerate(kinds)]
    return PeerTask(name, "train.py", program, goal, Catalogue(edits, 0.25), 60, True, score, truth, 1.0, write)


def _worth(kind: str, size: float) -> float:
    return {"good": size, "harmful": -size}.get(kind, 0.0)


def _part(place: int, kind: str) -> Edit:
    """Return an edit that adds a part to its section; a broken one fails when it runs."""
    mark = f"    # {_SECTIONS[place % len(_SECTIONS)]}\n"
    line = f'    parts.append("part {place}")\n' if kind != "broken" else f'    parts.append("part " + {place})\n'
    return Edit(kind, mark, mark + line, line)  # type: ignore[arg-type]
