"""Attacks as data, and the throw-away world in which they meet an evaluator that trusts them.

An attack is one file in ``tests/attacks/candidates``: a program, whose constants say what it is and how it must end.

    (a docstring)                  its first line says what it does
    ATTACK = 4                     the number in the list of attacks below, or 0 for one that the protocol implies
    ENDS = "invalid"               the outcome here; "scored" means: as the honest program, or no better
    REASON = "the audit disagrees" part of the reason here (of a failure)
    HARM = "score"                 what it does to the naive evaluator, one of HARMS
    GAIN = 1.0                     for "score": bits per byte that it is better there than the honest program
    NAIVE = "apart"                how the naive evaluator runs it: ``apart`` (default: forked), ``launched``
                                   (a new interpreter) or ``inside`` its own process
    RUNS = 1                       how often it is run before it is looked at, here and there
    CHECKS_HARNESS = True          run where it is trusted, too, by ``make test-slow``
    VARIANT_OF = "look_ahead"      an attack that goes the same way, which CI runs; this one is run at night

The constants are read, never executed: this is the test's process, not a sandbox.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prepare.language_model import LanguageModelTask
from train.sandbox.base import bubblewrap_binaries

HOUSE = Path(__file__).resolve().parent.parent.parent
PROGRAMS = HOUSE / "tests" / "attacks" / "candidates"
NAIVE = HOUSE / "tests" / "attacks" / "naive.py"

LIST = {
    0: "implied by the protocol: text known by heart, learning before the clock, forged messages, odd dependences",
    1: "a fake or repeated metric line",
    2: "the evaluator or `prepare` patched at run time",
    3: "a forward pass that gets targets and returns zero loss",
    4: "non-causal attention, with and without memoised prefixes",
    5: "unnormalised probabilities",
    6: "targets looked up from a cache key",
    7: "training on the validation split",
    8: "state carried between evaluation batches",
    9: "training in untimed warm-up steps",
    10: "patched clocks",
    11: "a batch size that changes what is evaluated",
    12: "a swapped tokenizer or truncated data",
    13: "seed fishing",
    14: "weights kept from an earlier run",
    15: "its own timeout extended, self-relaunch, terabyte checkpoints",
    16: "a daemon that outlives the run",
    17: "sitecustomize, conftest, PATH and LD_PRELOAD hooks",
    18: "overridden __eq__ and __float__, tensor subclasses",
    19: "a symlink, FIFO, device or huge file as the result",
    20: "cached outputs replayed",
    21: "hidden data leaked through tracebacks into prompts",
    22: "log text that instructs the model, terminal escapes",
    23: "detector or log tampered with",
    24: "a metric that is NaN, infinite or out of bounds",
    25: "a pickle payload in a checkpoint",
    26: "network or model call during a run",
    27: "fork bomb, memory bomb (private, shared, memfd), disk fill, endless output",
    28: "killing or tracing the parent, reading /proc and keys of the environment",
}

SECRET = "sk-ant-a-key-of-ours"
Harm = Literal["score", "later", "trophy", "process", "secret", "dead", "text", "escape", "greed"]
HARMS: dict[str, str] = {
    "score": "its score is better than the honest program's by GAIN",
    "later": "the honest program that comes after it gets another score, or none",
    "trophy": "it has written the file `trophy` in the folder above its own, which a run has no business with",
    "process": "a process of it is still there when its run is over",
    "secret": "what it printed holds the key that was in the evaluator's environment",
    "dead": "the evaluator itself is dead, or hangs",
    "text": "what it printed, which a prompt would quote, holds text that it is judged on",
    "escape": "what it printed holds orders and escapes as they were written",
    "greed": "it has taken more than it may, printed `took it all`, and was scored all the same",
}


@dataclass(frozen=True)
class Attack:
    """One program and how it must end."""

    path: Path
    title: str
    source: str
    number: int
    ends: str
    reason: str
    harm: Harm
    gain: float
    naive: Literal["apart", "launched", "inside"]
    runs: int
    checks_harness: bool
    variant_of: str

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> Attack:
        """Raises ValueError with what is missing or unknown."""
        source = path.read_text()
        tree = ast.parse(source)
        said = _constants(tree)
        attack = cls(
            path,
            (ast.get_docstring(tree) or "").partition("\n")[0],
            source,
            number=said.get("ATTACK", -1),
            ends=said.get("ENDS", ""),
            reason=said.get("REASON", ""),
            harm=said.get("HARM", "score"),
            gain=said.get("GAIN", 0.0),
            naive=said.get("NAIVE", "apart"),
            runs=said.get("RUNS", 1),
            checks_harness=said.get("CHECKS_HARNESS", False),
            variant_of=said.get("VARIANT_OF", ""),
        )
        wrong = [
            problem
            for problem, present in {
                f"ATTACK is {attack.number}; expected one of 0 to 28": attack.number not in LIST,
                "ENDS is missing": not attack.ends,
                "REASON is missing": attack.ends != "scored" and not attack.reason,
                "the first line of the docstring, its title, is missing": not attack.title,
                f"HARM is {attack.harm!r}; expected one of {', '.join(HARMS)}": attack.harm not in HARMS,
                "GAIN must be positive where the harm is a score": attack.harm == "score" and attack.gain <= 0,
                f"NAIVE is {attack.naive!r}; expected apart, launched or inside": attack.naive
                not in ("apart", "launched", "inside"),
            }.items()
            if present
        ]
        if wrong:
            raise ValueError(f"{path.name}: {'; '.join(wrong)}")
        return attack


def program(attack: Attack, task: LanguageModelTask) -> str:
    """Its source; one that knows the text by heart is given what it knows, in the spelling that it has chosen."""
    text = task.corpus.evaluation("val").tobytes()
    known = {
        'TEXT = ""': f"TEXT = {text.decode()!r}",
        'PACKED = ""': f"PACKED = {base64.b85encode(zlib.compress(text, 9)).decode()!r}",
        "NUMBERS = []": f"NUMBERS = {[1000 + byte for byte in text]}",
    }
    source = attack.source
    for empty, filled in known.items():
        source = source.replace(f"\n{empty}  # the harness", f"\n{filled}  # the harness")
    return source


def _constants(tree: ast.Module) -> dict[str, Any]:
    return {
        statement.targets[0].id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Constant)
    }


def all_attacks() -> list[Attack]:
    """By number, then by name."""
    return sorted(map(Attack.read, PROGRAMS.glob("*.py")), key=lambda attack: (attack.number or 99, attack.name))


# -------------------------------------------------------------------- the world of the naive evaluator


@dataclass(frozen=True)
class NaiveRun:
    """What came of programs that a naive evaluator ran one after another."""

    scores: tuple[float | None, ...]
    outputs: tuple[str, ...]
    alive: bool
    """The evaluator itself has come to its end, in time."""
    trophy: str | None
    left: int
    """Processes that were there when the evaluator was done, besides itself."""
    noise: str
    """What the evaluator's own process printed."""


class World:
    """A bubblewrap of its own around the naive evaluator *and* its candidates: a machine to be thrown away.

    It sees the whole disk, and can write in ``folder`` only; it has its own processes, its own network without a
    way out, and 64 MB of /tmp and /dev/shm. ``MERCY=1`` is set: an attack that would eat memory or processes without
    end stops early where it finds that. (A real sandbox has no such variable.)
    """

    def __init__(self, folder: Path, task: LanguageModelTask, *, seconds: float = 0.5) -> None:
        self.folder = folder
        self._seconds = seconds
        self._task = task

    def run(self, sources: list[str], mode: str, seed: int, patience: float) -> NaiveRun:
        """Evaluate the sources in turn, in ``patience`` seconds or not at all. Whatever they do ends with the world."""
        shutil.rmtree(self.folder, ignore_errors=True)
        work = self.folder / "work"
        work.mkdir(parents=True)
        (work / "train.bin").write_bytes(self._task.training_stream(0))  # one order for all, as others have it
        (work / "val.bin").write_bytes(self._task.corpus.evaluation("val").tobytes())
        programs = [self.folder / f"{number}.py" for number in range(len(sources))]
        for program, source in zip(programs, sources, strict=True):
            program.write_text(source)
        inside = [sys.executable, str(NAIVE), str(self.folder), str(seed), str(self._seconds), mode]
        noise = self._launch([*self._walls(), *_counted([*inside, *map(str, programs)])], patience)
        return self._look(noise, len(sources))

    def _walls(self) -> list[str]:
        wall = next(iter(bubblewrap_binaries()))
        size = str(64_000_000)
        return [
            *[str(wall), "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/"],
            *["--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", "/dev/shm", "--size", size],
            # A checkout, and its environment, may themselves lie below /tmp.
            *["--tmpfs", "/tmp", "--ro-bind", str(HOUSE), str(HOUSE), "--ro-bind", sys.prefix, sys.prefix],
            *["--bind", str(self.folder), str(self.folder), "--chdir", str(self.folder), "--"],
        ]

    def _launch(self, command: list[str], patience: float) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PYTHONPATH": str(HOUSE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "ANTHROPIC_API_KEY": SECRET,
            "MERCY": "1",
        }
        with (self.folder / "log").open("w+b") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
            began = self.folder / "began"
            end = time.monotonic() + 120.0
            while process.poll() is None and time.monotonic() < end:
                if began.exists():
                    end, began = time.monotonic() + patience, self.folder / "never"
                time.sleep(0.01)
            process.kill()  # bubblewrap; its world goes with it
            process.wait()
            output.seek(0)  # not by its name, which may be a pipe by now
            return output.read().decode(errors="replace")

    def _look(self, noise: str, count: int) -> NaiveRun:
        report = self.folder / "report.json"
        results = json.loads(report.read_text()) if report.is_file() else []
        results += [{"score": None, "output": ""}] * (count - len(results))
        trophy, left = self.folder / "trophy", self.folder / "left"
        return NaiveRun(
            scores=tuple(result["score"] for result in results),
            outputs=tuple(result["output"] for result in results),
            alive=report.is_file(),
            trophy=trophy.read_text(errors="replace") if trophy.is_file() else None,
            left=int(left.read_text()) if left.is_file() else 0,
            noise=noise,
        )


def _counted(command: list[str]) -> list[str]:
    """The command, and after it the number of processes that are there besides this shell and the world's first.

    What has ended may take a moment to be gone: up to three seconds, on a busy machine.
    """
    look = "n=0; for p in /proc/[0-9]*; do n=$((n+1)); done; echo $((n-2)) > left"
    count = f"for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.3; {look}; [ $n = 2 ] && break; done"
    return ["/bin/sh", "-c", f'"$@"; {count}', "sh", *command]
