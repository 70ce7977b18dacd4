"""``python -m search check``: what it says of good tasks, of broken ones, and of folders that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import folders
import pytest
from folders import written
from simulated import scored
from test_adopt import KINDS as FORMATS

from archive.records import Evaluation, EvaluationBase, Failed, Request
from prepare.command_line import command
from prepare.program import ProgramTask, Workspace
from prepare.task import Metric
from search.cli.adopt import adopt
from search.cli.check import _noise, check
from search.cli.new import KINDS, new
from search.cli.tasks import tasks
from search.cli.trials import open_trials, parser

TASK = """\
name: small
metric: {name: value, direction: maximise}
workspace: {editable: [program.py]}
scorer: score.py
seconds: 5
"""
SCORE = "def score(candidate, case):\n    return candidate.call('value', case.seed)\n"
SEED = "def value(seed):\n    return 3\n"


def small(folder: Path, task: str = TASK, score: str = SCORE, seed: str = SEED) -> Path:
    return written(
        folder / "small", {"task.yaml": task, "score.py": score, "program.py": seed, "program.md": "Larger."}
    )


@pytest.mark.slow
def test_a_sample_is_described_and_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new([str(tmp_path / "mein ordner")])
    assert check([str(tmp_path / "mein ordner"), "executor.slots=1"]) == 0
    said = capsys.readouterr().out
    for line in (
        "ok       tune       searches ROWS 1..5",
        "ok       trust      verified: score.py",
        "ok       seed       sum_radii 1",
        "ok       head-room  0.785",
        "ok       repeated   the same score with two seeds",
        "ok       direction  a program whose functions return 0 fails (invalid)",
        f"Ready: {command('search')} 'task={tmp_path}/mein ordner' executor.slots=1",
    ):
        assert line in said
    assert not list(tmp_path.glob("*.duckdb"))


def test_the_findings_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "broken", {"task.yaml": TASK, "score.py": SCORE, "program.md": "Larger."})
    assert check([str(folder), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["ready"], said["next"]) == (False, None)
    assert [each["level"] for each in said["findings"]] == ["problem"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 2, 3])
def test_a_lost_evaluation_is_made_again(tmp_path: Path, lost: int) -> None:
    """A machine that was stopped for seconds is no problem of a seed; the third loss is reported as such."""
    options = parser("check", "").parse_args([str(small(tmp_path)), "executor.slots=1", "llm=none"])
    trials, left = open_trials(options), list(range(lost))

    class Loses:
        def evaluate(self, request: Request, *more: object) -> Evaluation:
            made = scored(request, 3.0, 0.0)
            common = {each.name: getattr(made, each.name) for each in fields(EvaluationBase)}
            return Failed(**common, outcome="lost", reason=f"stopped {left.pop()}") if left else made

    trials.local = replace(trials.local, evaluator=Loses())  # type: ignore[arg-type]
    assert trials.run(trials.files, 1).outcome == ("lost" if lost == 3 else "scored")
    assert not left
    assert len(trials.seconds) == 1


def test_the_tasks_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks(["--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert (found["circles26"]["direction"], found["circles26"]["trust"]) == ("maximise", "verified")
    assert found["circles26"]["best_known"]["value"] > 2.6
    assert found["shakespeare"]["best_known"] is None


@pytest.mark.parametrize(
    ("smallest", "level", "words"),
    [(None, "note", "set smallest_gain"), (10.0, "ok", "is 10"), (0.01, "note", "takes 1,000 or more evaluations")],
)
def test_noise_is_that_of_all_seeds(smallest: float | None, level: str, words: str) -> None:
    workspace, metric = Workspace(["a.py"]), Metric("value", "maximise")
    task = ProgramTask("t", "/t", metric, workspace, 1.0, scorer="score.py", smallest_gain=smallest)
    found = _noise(task, [1.0, 2.0, 3.0, 4.0])
    assert (found.level, "standard deviation 1.29 over 4 seeds" in found.line, words in found.line) == (
        level,
        True,
        True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "function"])
def test_every_sample_is_ready(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.cli.check.SEEDS", 2)
    new([str(tmp_path / kind), "--kind", kind])
    assert check([str(tmp_path / kind), "executor.slots=1"]) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_every_adopted_format_is_ready(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.cli.check.SEEDS", 2)
    files, words, *_ = FORMATS[kind]
    adopt([str(written(tmp_path / "theirs", files)), "--to", str(tmp_path / "ours"), *words])
    assert check([str(tmp_path / "ours"), "executor.slots=1"]) == 0, capsys.readouterr().out
    expected = {"OpenEvolve": "0.51", "METRIC lines": "81", "Harbor": "0", "autoresearch": "1.49"}
    assert f"{expected.get(kind, '0.')}" in capsys.readouterr().out


@pytest.mark.slow
def test_harbors_own_solution_gets_the_reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adopt([str(written(tmp_path / "theirs", folders.HARBOR)), "--to", str(tmp_path / "ours")])
    (tmp_path / "ours" / "solve.sh").write_text("awk '{s += $1} END {print s}' numbers.txt > sum.txt\n")
    assert check([str(tmp_path / "ours"), "executor.slots=1"]) == 0
    assert "seed       reward 1" in capsys.readouterr().out


def test_files_may_have_the_names_of_packages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scorer's process starts in the task's folder, where ``train.py`` is no package of this project."""
    folder = small(tmp_path)
    for name in ("train.py", "prepare.py"):
        (folder / name).write_text("raise SystemExit(3)\n")
    assert check([str(folder), "executor.slots=1"]) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"seed": "def value(seed):\n    raise KeyError('no such thing')\n"}, "KeyError: 'no such thing'"),
        ({"score": "def score(candidate, case):\n    return 1 / 0\n"}, "ZeroDivisionError"),
        (
            {"seed": "def value(seed):\n    return -3\n"},
            "problem  direction  a program whose functions return 0 scores 0",
        ),
        (
            {"task": TASK + "deterministic: true\n", "seed": "def value(seed):\n    return float(seed)\n"},
            "problem  repeated   1.0, then 2.0: remove `deterministic: true`",
        ),
    ],
)
def test_problems_that_evaluations_show(
    tmp_path: Path, parts: Mapping[str, str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check([str(small(tmp_path, **parts)), "executor.slots=1"]) == 1
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (TASK.replace(", direction: maximise", ""), "does not say whether its metric is minimised or maximised"),
        (TASK.replace("program.py", '"*.rs"'), "matches no file"),
        (TASK.replace("program.py", "../x.py"), "reaches outside"),
        (TASK.replace("program.py", "link.py"), "is a link"),
        (TASK.replace("scorer: score.py", "scorer: judge.py"), "judge.py"),
        (TASK.replace("seconds: 5", "seconds: -1"), "task.seconds is -1"),
        (TASK + "colour: red\n", "colour"),
        ("[1, 2]", "holds list"),
        ("a: [", "cannot be read"),
    ],
)
def test_folders_that_cannot_be_tasks(
    tmp_path: Path, task: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small(tmp_path, task)
    (folder / "link.py").symlink_to("/etc/passwd")
    assert check([str(folder)]) == 1
    assert words in capsys.readouterr().out


def test_texts_that_are_not_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small(tmp_path)
    for name in ("program.md", "program.py", "task.yaml"):
        kept = (folder / name).read_bytes()
        (folder / name).write_bytes(b"# \xff\xfe\n" + kept)
        assert check([str(folder)]) == 1
        assert name in (said := capsys.readouterr().out)
        assert "utf-8" in said.lower()
        (folder / name).write_bytes(kept)


def test_other_words_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    for word, said in (
        ("empty", "there is no empty/task.yaml"),
        ("nothing", "there is no task=nothing"),
        ("shakespeare", "python -m search doctor task=shakespeare"),
    ):
        assert check([word]) == 1
        assert said in capsys.readouterr().out
