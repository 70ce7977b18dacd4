"""From a configuration to a task: what is missing or unknown is named, with what was expected."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import inside
import pytest

from prepare.data.corpora import Folder, Plays
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, TaskError, find_file, locate, task_beside, task_from
from prepare.standalone import main
from prepare.task import Metric

CONFIG: dict[str, Any] = {
    "name": "own",
    "corpus": {"_target_": "prepare.data.corpora.Folder", "name": "own", "path": "/texts"},
    "metric": {"name": "val_bpb", "direction": "minimise"},
    "seed_file": "seed.py",
    "program": "program.md",
    "seconds": 5.0,
    "context": 32,
    "limits": {"memory_mb": 300},
    "constants": {"WIDTH": 64},
}


@pytest.fixture
def config() -> dict[str, Any]:
    return copy.deepcopy(CONFIG)


def test_a_configuration_becomes_a_task(config: dict[str, Any]) -> None:
    task = task_from(config)
    assert task.corpus == Folder("own", "/texts")
    assert (task.metric.direction, task.limits.memory_mb, task.limits.processes) == ("minimise", 300, 256)
    assert task.constants == {"WIDTH": 64}
    assert config == CONFIG  # what was given is not changed


def test_the_task_that_we_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_beside(Path("shakespeare.py"))
    assert isinstance(task.corpus, Plays)
    assert find_file(task.seed_file).name == "shakespeare.py"
    assert find_file(task.program).suffix == ".md"


def test_settings_may_stand_on_both_sides_of_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "none.py"), "task.rows=2", "--seed", "1", "task.seconds=1"])
    with pytest.raises(SystemExit, match="error: no task for"):
        main(lambda session: {}, lambda state, info: None)


@pytest.mark.parametrize("metric", [None, {}, {"name": "val_bpb"}, {"name": "val_bpb", "direction": None}, "val_bpb"])
def test_no_direction_names_the_key(config: dict[str, Any], metric: object) -> None:
    config["metric"] = metric
    with pytest.raises(TaskError, match=r"Set task\.metric\.direction to 'minimise' or 'maximise'"):
        task_from(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": {"name": "m", "direction": "up"}}, "task.metric.direction is 'up'; expected 'minimise' or 'maxim"),
        ({"corpus": None}, "task.corpus has no _target_"),
        ({"corpus": {"_target_": "nowhere.Corpus"}}, "_target_ 'nowhere.Corpus' cannot be imported"),
        ({"corpus": {"_target_": "prepare.data.corpora.Missing"}}, "cannot be imported"),
        ({"corpus": {"_target_": "Folder"}}, "expected package.module.Class"),
        ({"corpus": {"_target_": "prepare.data.corpora.Folder", "nmae": "x"}}, "'nmae'"),
        ({"limits": {"memroy_mb": 1}}, r"task.limits has no 'memroy_mb' \(did you mean memory_mb\?\)"),
        ({"secnods": 1}, "'secnods'"),
        ({"seconds": 0}, "task.seconds is 0; expected a positive number"),
        ({"seconds": float("nan")}, "task.seconds is nan; expected a finite number"),
        ({"seconds": float("inf")}, "task.seconds is inf; expected a finite number"),
        ({"seconds": "ten"}, "task.seconds is 'ten'; expected a number"),
        ({"rows": True}, "task.rows is True; expected a whole number"),
        ({"limits": 3}, "task.limits is 3; expected startup_seconds, "),
        ({"constants": [1]}, r"task.constants is \[1\]; expected a mapping"),
        ({"context": 0}, "task.context is 0; expected a number of at least 1"),
        ({"audit_claim": 0}, "task.audit_claim is 0"),
        ({"claim_windows": 1}, "task.claim_windows is 1"),
        ({"claim_stages": 0}, "task.claim_stages is 0; expected 1 to 64, or null"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        task_from({**config, **change})


def test_what_is_missing_is_named(config: dict[str, Any]) -> None:
    del config["seed_file"]
    with pytest.raises(TaskError, match=r"task\.seed_file is missing; expected a text"):
        task_from(config)


@pytest.mark.parametrize(
    ("score", "reason"), [(3.0, None), (float("nan"), "not a finite"), (-1.0, "outside"), (99.0, r"outside \[0, 64\]")]
)
def test_a_score_must_be_a_value_of_its_metric(score: float, reason: str | None) -> None:
    import re

    found = Metric("val_bpb", "minimise", 0.0, 64.0).check(score)
    assert (found is None) if reason is None else re.search(reason, found or "")


def test_an_export_carries_its_own_task(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "task.json").write_text(json.dumps(config))
    assert task_beside(tmp_path / "train.py").name == "own"


def test_a_program_without_a_task_says_where_one_was_sought(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"expected .*task\.json or .*conf/task/train\.yaml"):
        task_beside(tmp_path / "train.py")


def test_a_file_is_sought_here_and_in_our_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").touch()
    assert find_file("own.py").resolve() == tmp_path / "own.py"
    assert find_file("train/seeds/shakespeare.py") == ROOT / "train/seeds/shakespeare.py"
    with pytest.raises(TaskError, match=r"names the file 'missing\.py', which is not in"):
        find_file("missing.py")


def test_locate_finds_what_a_target_names() -> None:
    assert locate("prepare.data.corpora.Plays") is Plays


# ---------------------------------------------------------------- as programs


@pytest.fixture
def house(tmp_path: Path, toy_task) -> dict[str, str]:
    """An environment, and in ``tmp_path`` an export-like folder: a program with its task.json."""
    corpus = toy_task.corpus
    task = {
        **CONFIG,
        "corpus": {"_target_": "prepare.data.corpora.Folder", "name": "toy", "path": corpus.path},
        "rows": 32,
    }
    (tmp_path / "task.json").write_text(json.dumps(task))
    (tmp_path / "train.py").write_text(Path(toy_task.seed_file).read_text())
    return {**os.environ, "TREEWRIGHT_CACHE": str(corpus.directory().parent), "PYTHONPATH": str(ROOT)}


def run(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=cwd, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_a_program_runs_alone_and_prints_its_score(house: dict[str, str], tmp_path: Path) -> None:
    done = run(["train.py", "--seconds", "1"], house, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "val_bpb " in done.stdout
    assert 3.0 < float(done.stdout.split("val_bpb ")[1].split()[0]) < 6.0
    assert "65,536 parameters" in done.stdout
    assert "self-reported" in done.stdout


@pytest.mark.slow
def test_a_program_alone_without_its_task_says_so(house: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "task.json").unlink()
    done = run(["train.py"], house, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no task for train.py")


@pytest.mark.parametrize("command", [pytest.param(["train.py"], marks=pytest.mark.slow), ["-m", "prepare"]])
def test_a_task_beside_a_program_cannot_name_code(house: dict[str, str], tmp_path: Path, command: list[str]) -> None:
    owned = json.loads(
        '{"name":"x","metric":{"name":"m","direction":"minimise"},'
        '"corpus":{"_target_":"os.system","command":"touch owned"},'
        '"seed_file":"a","program":"b","seconds":1,"context":1}'
    )
    (tmp_path / "task.json").write_text(json.dumps(owned))
    shutil.copytree(ROOT / "prepare", tmp_path / "prepare")  # as in an export
    done = run(command, house, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "error: task.corpus names the class 'os.system'; expected one of prepare.data.corpora.Plays, " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_the_seed_program_runs_alone() -> None:
    if not Plays().is_prepared():
        pytest.skip("python -m prepare has not been run")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = run(["train/seeds/shakespeare.py", "--seconds", "1"], environment, ROOT)
    assert done.returncode == 0, done.stderr
    assert 3.0 < float(done.stdout.split("val_bpb ")[1].split()[0]) < 8.0


def test_python_m_prepare(house: dict[str, str], tmp_path: Path) -> None:
    """Launched, as a user does; the other tests of the command run inside this process."""
    fresh = {**house, "TREEWRIGHT_CACHE": str(tmp_path / "cache")}
    first = run(["-m", "prepare"], fresh, tmp_path)
    assert (first.returncode, first.stderr) == (0, "")
    assert "toy: prepared in" in first.stdout
    assert "fingerprint toy-" in first.stdout
    assert "toy: already prepared in" in run(["-m", "prepare"], fresh, tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--help"], 0, "usage: python -m prepare [task=NAME]"),
        (["shakespeare"], 2, "unknown argument 'shakespeare'"),
        (["task=unknown"], 2, "error: no task for unknown.py"),
    ],
)
def test_python_m_prepare_misused(tmp_path: Path, arguments: list[str], status: int, words: str) -> None:
    done = inside.prepare(tmp_path, *arguments)
    assert done.returncode == status
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_prepare_of_tokens(tmp_path: Path, toy_task: LanguageModelTask) -> None:
    cache = str(tmp_path / "cache")
    data = ["data=folder", f"data.path={toy_task.corpus.path}"]  # type: ignore[attr-defined]
    command = ["task=gpt", *data, "task.context=32", "task.vocab=300", "device=cuda_24gb"]
    first = inside.prepare(tmp_path, *command, TREEWRIGHT_CACHE=cache)
    assert first.returncode == 0, first.stderr
    assert "folder: prepared in" in first.stdout
    assert "million tokens" in first.stdout
    assert "of the training tokens are cropped" in first.stdout
    assert "/bpe300-" in first.stdout
    assert "folder: already prepared in" in inside.prepare(tmp_path, *command, TREEWRIGHT_CACHE=cache).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["task=gpt", "shards=0"], "data.shards is 0; expected 1 to 6,542"),
        (["task=gpt", "data=wikipedia"], "there is no data=wikipedia. Choices for data: climbmix, folder, python"),
        (["task=gpt", "data=folder"], "data.path"),
        (["task=gpt", "device=80gb"], "'80gb' is not a device"),
        (["task=shakespeare", "shards=3"], "unknown override 'data.shards'"),
    ],
)
def test_python_m_prepare_with_settings_that_make_no_sense(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = inside.prepare(tmp_path, *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_task_of_an_export_cannot_be_set(house: dict[str, str], tmp_path: Path) -> None:
    for command, status in ((["-m", "prepare"], 2), (["train.py"], 1)):
        done = run([*command, "task.context=8"], house, tmp_path)
        assert done.returncode == status
        assert "'task.context=8' cannot be set here: the task of an exported branch is" in done.stderr
