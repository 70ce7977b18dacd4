"""``python -m search new``: five samples, each of which is a task as it stands; nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare.command_line import command
from prepare.compose import compose
from prepare.config import SettingsError
from prepare.load import task_from
from prepare.program import ProgramTask
from search.cli.new import KINDS, TEMPLATES, new


def made(folder: Path, *words: str) -> ProgramTask:
    assert new([str(folder), *words]) == 0
    task = task_from(compose([f"task={folder}"]).task_for("cpu"))
    assert isinstance(task, ProgramTask)
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_a_task(tmp_path: Path, kind: str) -> None:
    task = made(tmp_path / kind, "--kind", kind)
    task.prepare()
    assert task.name == kind
    assert len(task.seed_files()) == 1
    assert len(task.instructions()) > 200
    assert task.trust == ("self_reported" if kind == "command" else "verified")
    assert task.deterministic == (kind in ("function", "command"))


def test_every_template_is_a_kind() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == KINDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["größe und maß", "null", "1e3", "a: b", "it's", "-x"])
def test_names_of_any_kind_are_the_tasks_names(tmp_path: Path, name: str) -> None:
    assert made(tmp_path / name).name == name


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "link"):
        with pytest.raises(SettingsError, match="exists already"):
            new([str(tmp_path / name)])
    assert list((tmp_path / "empty").iterdir()) == []


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="cannot be written"):
        new([str(tmp_path / "file" / "task")])
    with pytest.raises(SettingsError, match="control characters"):
        new([str(tmp_path / "two\nlines")])


def test_the_commands_to_type_next_are_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new([str(tmp_path / "mein ordner")])
    assert f"{command('search')} check '{tmp_path}/mein ordner'" in capsys.readouterr().out
