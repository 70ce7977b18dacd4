"""``--config-dir``: its Python files can be named, and its tasks' paths are relative to their YAML files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prepare.compose import compose
from prepare.known import locate

TASK = """\
defaults:
  - shakespeare
  - _self_
name: notes
seed_file: my_train.py
program: my_program.md
corpus:
  _target_: prepare.data.corpora.Folder
  name: notes
  path: texts
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "notes.yaml").write_text(TASK)
    return tmp_path


def test_files_beside_the_yaml_come_first_then_those_of_the_folder(folder: Path) -> None:
    (folder / "task" / "my_train.py").write_text("")
    (folder / "my_train.py").write_text("")
    (folder / "my_program.md").write_text("")
    (folder / "task" / "texts").mkdir()
    task = compose(["task=notes"], folder).values["task"]
    assert task["seed_file"] == str(folder / "task" / "my_train.py")
    assert task["program"] == str(folder / "my_program.md")
    assert task["corpus"]["path"] == str(folder / "task" / "texts")


def test_what_is_elsewhere_stays_as_it_is_written(folder: Path) -> None:
    (folder / "task" / "my_train.py").write_text("")
    task = compose(["task=notes", "task.seed_file=my_train.py"], folder).values["task"]
    assert (task["seed_file"], task["program"], task["corpus"]["path"]) == ("my_train.py", "my_program.md", "texts")


def test_a_shipped_task_has_its_own_files(folder: Path) -> None:
    plain = compose(["task=shakespeare"]).values["task"]
    assert compose(["task=shakespeare"], folder).values["task"] == plain


def test_a_class_in_the_folder_is_found_and_shadows_nothing(folder: Path) -> None:
    (folder / "of_the_users_own.py").write_text("class Policy: ...\n")
    (folder / "json.py").write_text("raise RuntimeError\n")
    compose(["task=notes"], folder)
    assert locate("of_the_users_own.Policy").__name__ == "Policy"
    assert sys.path[-1] == str(folder)
