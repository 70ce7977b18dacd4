"""The folders of conf/task: complete, named by ``task=NAME``, listed, and each evaluated once in a sandbox."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from gallery import NAMES, TASKS, judged, task_of

from prepare.compose import choices_of, compose
from prepare.scorer import Invalid
from search.cli.check import check
from search.cli.tasks import tasks

_MOST_LINES = 120


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_complete(name: str) -> None:
    task, folder = task_of(name), TASKS / name
    task.prepare()
    assert task.name == name
    assert 30 <= len((folder / "program.md").read_text().splitlines()) <= 60
    for path in folder.glob("*.py"):
        assert len(path.read_text().splitlines()) < _MOST_LINES, f"{path} is long"
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} does not say what it does"
    if task.known is not None:
        assert task.metric.check(task.known.value) is None
        assert f"{task.known.value:g}"[:5] in (folder / "program.md").read_text(), "the record is in the instructions"


def test_a_folder_is_named_like_a_file() -> None:
    assert set(NAMES) <= set(choices_of("task"))
    composed = compose(["task=circles26"]).values
    assert composed["task"]["folder"] == str(TASKS / "circles26")
    assert composed["evaluator"]["_target_"].endswith("ProgramEvaluator")


def test_a_folder_of_ones_own_conf_is_named_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "task" / "mine"
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(
        "name: mine\nmetric: {name: value, direction: minimise}\nworkspace: {editable: [a.txt]}\ncommand: cat a.txt\n"
        "seconds: 3\nknown: {value: 7, source: me}\n"
    )
    (folder / "a.txt").write_text("METRIC value=8\n")
    assert compose(["task=mine"], tmp_path).values["task"]["folder"] == str(folder)
    assert tasks(["--config-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("mine ")] == [
        ["mine", "-", "min", "value", "3", "self_reported", "7", "(me)"]
    ]
    assert {line.split()[0] for line in lines if line} >= {*NAMES, "shakespeare", "gpt"}


@pytest.mark.parametrize("name", [name for name in NAMES if task_of(name).editable[0].endswith(".py")])
def test_functions_that_return_nothing_have_no_score(name: str) -> None:
    """Every function that the scorer calls is there, takes anything and returns None."""
    functions = defaultdict[str, Callable[..., None]](lambda: lambda *args, **kwargs: None)
    with pytest.raises(Invalid):
        judged(name, functions)
    assert functions, "the scorer called nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_is_evaluated_in_a_sandbox(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Launches sandboxes, since this is the one test of the folders as a search uses them."""
    assert check([name, "executor.slots=1", "llm=none"]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert "problem" not in said
    assert "at the bound of the metric" not in said
