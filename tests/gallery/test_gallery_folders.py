"""The folders of conf/task: complete, named by ``task=NAME``, listed, and each evaluated once in a sandbox."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from gallery import NAMES, TASKS, cheats_of, judged, mean, module_of, seed_of, task_of

from prepare.compose import choices_of, compose
from prepare.scorer import Invalid
from search.cli.check import check
from search.cli.tasks import lines_of, tasks

_MOST_LINES = 120
_WIDEST = 120
_EXACT = ("autocorrelation", "capset", "circles26", "jobshop", "matmul", "overlap", "regression", "sorting")


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_complete(name: str) -> None:
    task, folder = task_of(name), TASKS / name
    task.prepare()
    assert task.name == name
    instructions = (folder / "program.md").read_text().splitlines()
    assert 30 <= len(instructions) <= 60
    assert max(map(len, instructions)) <= _WIDEST
    assert len(cheats_of(name)) >= 2
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
        ["mine", "-", "min", "value", "3", "s", "self_reported", "7", "me"]
    ]
    assert {line.split()[0] for line in lines if line} >= {*NAMES, "shakespeare", "gpt"}


@pytest.mark.parametrize("columns", [80, 120])
def test_a_narrow_terminal_cuts_words_and_no_number(columns: int) -> None:
    rows = [
        ("name", "what is improved", "metric", "time", "trust", "best known", "source"),
        ("autocorrelation", "First " * 9, "min multiplications", "180 s", "verified", "2.635983085", "x" * 90),
    ]
    lines = lines_of(rows, columns)
    assert all(len(line) <= columns for line in lines)
    assert lines[1].split()[0] == "autocorrelation"
    assert "…  min multiplications  180 s  verified  2.635983085" in lines[1]
    assert lines_of(rows, None)[1].endswith("x" * 90), "a file has all"


@pytest.mark.parametrize("name", [name for name in NAMES if task_of(name).editable[0].endswith(".py")])
def test_functions_that_return_nothing_have_no_score(name: str) -> None:
    """Every function that the scorer calls is there, takes anything and returns None."""
    functions = defaultdict[str, Callable[..., None]](lambda: lambda *args, **kwargs: None)
    with pytest.raises(Invalid):
        judged(name, functions)
    assert functions, "the scorer called nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [path for name in _EXACT for path in cheats_of(name) if path.stem != "undefined_outside"],
    ids=lambda path: f"{path.parent.parent.name}-{path.stem}",
)
def test_cheats_have_no_score(path: Path) -> None:
    """Those of other tasks are in the tests of these."""
    with pytest.raises(Invalid):
        judged(path.parent.parent.name, vars(module_of(path)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("sorting", {"LAYERS": 4, "EFFORT": 20000}),
        ("tabular", {"PRODUCTS": 1, "WAVES": 1, "CUTS": 4, "TERMS": 8}),
        ("regression", {"DEGREE": 3, "WAVES": 1, "DECAYS": 1, "BELOW": 2, "TERMS": 4, "PENALTY": 0.1}),
        ("capset", {"GENERATORS": 1, "PART": 4, "TRIES": 20}),
    ],
)
def test_the_parameters_of_a_seed_improve_it(name: str, settings: dict[str, float]) -> None:
    """What is off in the seed program works, so that a search over numbers alone can find it."""
    seed = seed_of(name)
    before = mean(judged(name, vars(seed)))
    vars(seed).update(settings)
    sign = 1 if task_of(name).metric.direction == "maximise" else -1
    assert sign * mean(judged(name, vars(seed))) > sign * before


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_is_evaluated_in_a_sandbox(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Launches sandboxes, since this is the one test of the folders as a search uses them: the seed, twice, and
    broken versions of it."""
    monkeypatch.setattr("search.cli.check.SEEDS", 2)
    assert check([name, "executor.slots=1", "llm=none"]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert "problem" not in said
    assert "at the bound of the metric" not in said
