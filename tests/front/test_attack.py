"""``search attack``: cheats get through where a scorer is naive, and not where it is strict. Most run in-process."""

from __future__ import annotations

import contextlib
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import written
from inside import search

from archive.records import Conditions, Evaluation, Failed, Purpose, Request, Resources, Scored
from operators.languages.files import Files
from prepare.known import TaskError
from prepare.program import ProgramTask, Workspace
from prepare.scorer import Invalid
from prepare.task import Metric
from search.__main__ import _BESIDE
from search.attack.insertion import inserted
from search.attack.judge import Honest, Status, all_cheats, attack, honest_scores, target_of
from search.cli.attack import attack_task
from search.cli.new import KINDS, new
from train.program.gate import refuse

UP, DOWN = Metric("value", "maximise"), Metric("value", "minimise")
SEED = """from __future__ import annotations
def helper(x):
    return x / 2
def value(x):
    return [helper(x)]
"""
TOKEN = "attack-0123456789abcdef"
Judge = Callable[[Callable[..., Any]], float]


@pytest.fixture(autouse=True)
def _as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder of its own, and undo what a cheat changes in this process: generators that have a fixed seed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(np.random, "default_rng", np.random.default_rng)
    states = random.getstate(), np.random.get_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])


class Naive:
    """Runs a candidate and its judge in one process, as many evaluators do."""

    def __init__(self, folder: Path, judge: Judge, **more: Any) -> None:
        written(folder, {"main.py": SEED, "score.py": "SECRET = 1\n"})
        values = {"metric": UP, "workspace": Workspace(("main.py",)), "deterministic": True}
        self.task = ProgramTask("naive", str(folder), scorer="score.py", seconds=1.0, **{**values, **more})
        self.judge = judge

    @property
    def files(self) -> Files:
        return self.task.seed_files()

    def run(self, files: Files, seed: int, purpose: Purpose = "screen") -> Evaluation:
        request = Request("n", "r", 0, files, seed, purpose)
        common: dict[str, Any] = {
            "request": request, "conditions": Conditions("f", 1.0, "cpu"), "resources": Resources(0.0),
            "sandbox": "none", "trust": "verified", "device": "cpu", "started_at": 0.0, "finished_at": 0.0,
        }  # fmt: skip
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                score = self.judge(self._program(files))
            return Scored(**common, score=score, log=said.getvalue())
        except (ValueError, OverflowError) as error:  # of a judge that expects numbers: an error of the task
            raise TaskError(str(error)) from error
        except Invalid as invalid:
            return Failed(**common, outcome="invalid", reason=str(invalid))
        except (ArithmeticError, LookupError, TypeError, SystemExit) as error:
            return Failed(**common, outcome="crashed", reason=repr(error))

    def _program(self, files: Files) -> Callable[..., Any]:
        space: dict[str, Any] = {"__name__": "main", "__file__": self.task.folder + "/main.py"}
        exec(files["main.py"], space)
        value: Callable[..., Any] = space["value"]
        return value


def verdict(runs: Naive, name: str, honest: Honest | Failed | None = None) -> tuple[Status, str]:
    honest = honest or honest_scores(runs)
    assert isinstance(honest, Honest)
    cheats = [each for each in all_cheats(runs.task, runs.files) if each.name == name]
    (found,) = attack(runs, cheats, target_of(runs, honest, TOKEN), honest)
    return found.status, found.words


def returned(value: Callable[..., Any]) -> Any:
    return value(1.0)


def strict(value: Callable[..., Any]) -> float:
    """Judge a list of one finite float that is at most one half."""
    found = value(1.0)
    if not (isinstance(found, list) and len(found) == 1 and type(found[0]) is float and math.isfinite(found[0])):
        raise Invalid(f"got {found!r:.100}")
    if found[0] > 0.5:
        raise Invalid("it is above one half")
    return found[0]


def first(value: Callable[..., Any]) -> float:
    found = returned(value)
    return float(found[0] if isinstance(found, list) else found)


def without_check_for_nan(value: Callable[..., Any]) -> float:
    found = first(value)
    if found > 0.5 or found < 0:
        raise Invalid("it is outside of 0 to 0.5")
    return 0.5 if math.isnan(found) else found


def tolerant(value: Callable[..., Any]) -> float:
    if (found := strict_type(value)) > 0.5 + 1e-6:
        raise Invalid("it is above one half")
    return found


def strict_type(value: Callable[..., Any]) -> float:
    found = returned(value)
    if not (isinstance(found, list) and type(found[0]) is float):
        raise Invalid("no list of a float")
    return float(found[0])


def taken_as_it_is(value: Callable[..., Any]) -> float:
    found = returned(value)
    return 1.0 / found[0] if isinstance(found, list) and found else 0.0


@pytest.mark.parametrize(
    ("cheat", "judge"),
    [
        ("reported value", first),
        ("text", first),
        ("True", first),
        ("inputs returned", first),
        ("nan", without_check_for_nan),
        ("nan inside", lambda value: 0.75 if math.isnan(strict_type(value)) else 0.5),
        ("True inside", first),
        ("large inside", first),
        ("nearly valid, larger", tolerant),
        ("empty", lambda value: 0.5 if value(1.0) is not None else 0.0),
        ("reads the scorer", strict),
        ("cached outputs", strict),
    ],
)  # fmt: skip
def test_gets_through_where_the_scorer_is_naive(tmp_path: Path, cheat: str, judge: Judge) -> None:
    assert verdict(Naive(tmp_path, judge), cheat)[0] == "GOT THROUGH"
    assert not Path(f"/tmp/.attack-{TOKEN}").exists()


@pytest.mark.parametrize(
    "cheat",
    ["reported value", "reported result", "nan", "inf", "True", "text", "nothing", "empty", "inputs returned",
     "nan inside", "inf inside", "True inside", "text inside", "None inside", "large inside", "sys.exit(0)",
     "nearly valid, larger"],
)  # fmt: skip
def test_is_rejected_where_the_scorer_is_strict(tmp_path: Path, cheat: str) -> None:
    assert verdict(Naive(tmp_path, strict), cheat)[0] == "rejected"


def test_a_scorer_of_its_own_is_no_file_of_a_candidate(tmp_path: Path) -> None:
    runs = Naive(tmp_path, strict)
    (cheat,) = (each for each in all_cheats(runs.task, runs.files) if each.name == "own scorer")
    (files,) = cheat.make(target(runs))
    assert "return" in files["score.py"]
    assert str(refuse(runs.task, runs.files, files)).startswith("'score.py' is not among the files")


def target(runs: Naive) -> Any:
    honest = honest_scores(runs)
    assert isinstance(honest, Honest)
    return target_of(runs, honest, TOKEN)


@pytest.mark.parametrize("cheat", ["metric twice", "nearly valid, smaller"])
def test_the_seeds_own_work_is_no_break(tmp_path: Path, cheat: str) -> None:
    assert verdict(Naive(tmp_path, strict), cheat)[0] == "no gain"


def test_results_that_may_be_off_by_any_amount_are_no_break(tmp_path: Path) -> None:
    assert verdict(Naive(tmp_path, strict_type), "nearly valid, larger") == (
        "no gain",
        "scores 0.5; larger changes are valid, too",
    )


def test_luck_is_a_break_only_where_it_lasts_until_the_claim(tmp_path: Path) -> None:
    lucky = "import random\ndef value(x):\n    return [random.random()]\n"
    runs = Naive(tmp_path, strict_type, deterministic=False)
    written(tmp_path, {"main.py": lucky})
    assert verdict(runs, "seed shopping", Honest((0.1, 0.1, 0.1), UP, 9.0))[0] == "no gain"
    status, words = verdict(runs, "seed shopping", Honest((0.1, 0.1), UP, 0.0))
    assert (status, words[:12]) == ("GOT THROUGH", "scores 0.956")  # random.seed(2)
    assert verdict(Naive(tmp_path, strict), "seed shopping")[0] == "not applicable"


def test_a_scorer_that_fails_is_a_break(tmp_path: Path) -> None:
    status, words = verdict(Naive(tmp_path, taken_as_it_is), "large inside")
    assert (status, words[:16]) == ("GOT THROUGH", "the scorer fails")


def test_noise_is_no_gain() -> None:
    honest = Honest((1.0, 1.2, 1.1), UP, 0.05)
    assert not honest.better(1.4)
    assert honest.better(1.6)
    assert honest.as_good(1.0)
    assert not Honest((1.0, 1.2, 1.1), DOWN, 0.05).better(0.8)
    assert Honest((1.0, 1.2, 1.1), DOWN, 0.05).better(0.6)


def test_a_tasks_own_cheats_replace_its_files_and_are_seen_by_no_candidate(tmp_path: Path) -> None:
    runs = Naive(tmp_path, strict, workspace=Workspace(("*.py", "**/*.py")))
    lazy = "def value(x):\n    return [0.5]\n"
    before = runs.task.fingerprint()
    written(tmp_path, {"cheats/lazy.py": lazy, "cheats/two/main.py": lazy, "cheats/two/inside/b.py": "X = 1\n"})
    assert not any("cheats" in path for path in runs.task.seed_files())
    assert runs.task.fingerprint() == before
    names = [each.name for each in all_cheats(runs.task, runs.files)]
    assert names[-2:] == ["cheats/lazy.py", "cheats/two"]
    assert verdict(runs, "cheats/lazy.py") == ("GOT THROUGH", "scores 0.5")
    assert all_cheats(runs.task, runs.files)[-1].make(target(runs))[0]["inside/b.py"] == "X = 1\n"


def test_code_goes_where_a_task_allows_it() -> None:
    module = '#!/bin/x\n"""Text."""\nfrom __future__ import annotations\nimport os\n'
    assert inserted(module, "A\n", "B\n", python=True, blocks=False) == module.replace(
        "import os\n", "A\nimport os\nB\n"
    )
    blocks = "a\n# EVOLVE-BLOCK-START\nb\n# EVOLVE-BLOCK-END\nc\n"
    assert inserted(blocks, "A\n", "B\n", python=False, blocks=True) == blocks.replace("b\n", "A\nb\nB\n")
    assert inserted("x", "", "B\n", python=False, blocks=False) == "x\nB\n"


@pytest.mark.parametrize("main", ["run.sh", "kernel.c", "prompt.txt"])
def test_other_languages_have_fewer_cheats(tmp_path: Path, main: str) -> None:
    runs = Naive(tmp_path, strict, workspace=Workspace((main,)))
    written(tmp_path, {main: "x\n"})
    made = {each.name: each.make(target_of(runs, Honest((1.0,), UP, 0.0), TOKEN)) for each in _cheats(runs)}
    assert not made["reported value"]
    assert made["empty files"] == [{main: "\n"}]
    assert bool(made["exit 0 (sh)"]) == (main == "run.sh")
    assert bool(made["early exit (C)"]) == (main == "kernel.c")


def _cheats(runs: Naive) -> list[Any]:
    return all_cheats(runs.task, runs.files)


def test_the_command_prints_a_table_and_fails_for_a_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Naive(tmp_path, first)
    monkeypatch.setattr("search.cli.attack.open_trials", lambda options: runs)
    assert _BESIDE["attack"] == ("search.cli.attack", "attack_task")
    assert attack_task(["naive", "--only", "reported value"]) == 1
    assert "1 of 1 cheats got through: reported value" in capsys.readouterr().out
    runs.judge = strict
    assert attack_task(["naive", "--only", "reported value"]) == 0
    assert "reported value          rejected        returns the best score: invalid: got" in capsys.readouterr().out
    assert attack_task(["naive", "--only", "no such cheat"]) == 1
    capsys.readouterr()
    assert attack_task(["naive", "--only", "reported value", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["cheats"]
    assert (row["cheat"], row["status"], row["what"]) == ("reported value", "rejected", "returns the best score")
    runs.judge = taken_as_it_is
    written(tmp_path, {"main.py": "def value(x):\n    return 1 / 0\n"})
    assert attack_task(["naive", "--only", "nan"]) == 1
    assert "honest seed             PROBLEM         crashed: ZeroDivisionError" in capsys.readouterr().out
    assert attack_task(["naive", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["honest"], said["cheats"]) == (None, [])
    assert said["problem"].startswith("crashed: ZeroDivisionError")


@pytest.mark.slow
@pytest.mark.parametrize("cheat", ["reported value", "fork stays", "malformed"])
def test_a_sample_with_real_sandboxes(tmp_path: Path, cheat: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Processes that stay, and bytes that are no message, end in a real sandbox only."""
    new([str(tmp_path / "function")])
    assert attack_task([str(tmp_path / "function"), "executor.slots=1", "--only", cheat]) == 0, capsys.readouterr().out


@pytest.mark.slow
def test_without_a_sandbox_cheats_get_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cheats work where nothing keeps them away."""
    new([str(tmp_path / "function")])
    words = [str(tmp_path / "function"), "executor.slots=1", "sandbox=none", "--only"]
    for cheat in ("reads the scorer", "cached outputs"):
        assert attack_task([*words, cheat]) == 1, capsys.readouterr().out


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "command"])
def test_all_cheats_against_each_sample_with_a_scorer(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new([str(tmp_path / kind), "--kind", kind])
    assert attack_task([str(tmp_path / kind), "executor.slots=1"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["shakespeare", "./nothing-here"])
def test_what_cannot_be_attacked_is_one_sentence(name: str, tmp_path: Path) -> None:
    done = search(tmp_path, "attack", name, stub=False)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("text", ["'a\x0cb'", '"""a\x1cb\n"""', "# a\x85b"])
def test_only_line_ends_end_a_line(text: str) -> None:
    """``str.splitlines`` ends lines that Python's parser does not."""
    source = f"from __future__ import annotations\n{text}\nX = 1\n" if text[0] == "#" else f"{text}\nX = 1\n"
    made = inserted(source, "BEFORE = 1\n", "", python=True, blocks=False)
    compile(made, "made", "exec")
    assert "BEFORE = 1\n" in made.splitlines(keepends=True)
