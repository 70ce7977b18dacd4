"""Tasks that are folders, as a choice of the group ``task``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prepare.compose import CONF, compose
from prepare.config import SettingsError
from prepare.load import TaskError, task_from
from prepare.program import ProgramTask
from prepare.task_folders import task_folder

YAML = """
name: packing
metric: {name: radii, direction: maximise, upper: 3}
workspace: {editable: [pack.py]}
scorer: score.py
seconds: 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my packing ü"
    folder.mkdir()
    (folder / "task.yaml").write_text(YAML)
    (folder / "pack.py").write_text("A = 1\n")
    (folder / "score.py").write_text("def score(candidate, case):\n    return 1\n")
    return folder


def made(*overrides: str) -> ProgramTask:
    task = task_from(compose(overrides).task_for("cpu"))
    assert isinstance(task, ProgramTask)
    return task


def changed(folder: Path, old: str, new: str) -> Path:
    text = (folder / "task.yaml").read_text()
    assert old in text
    (folder / "task.yaml").write_text(text.replace(old, new))
    return folder


def test_a_path_with_spaces_and_umlauts_is_a_task(folder: Path) -> None:
    task = made(f"task={folder}")
    assert (task.name, task.root, task.metric.upper) == ("packing", folder.resolve(), 3.0)
    assert task.seed_files() == {"pack.py": "A = 1\n"}


def test_a_relative_path_and_the_settings_file_name_it_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert made(f"task=./{folder.name}").folder == made(f"task={folder.name}/task.yaml").folder


def test_its_settings_can_be_overridden_defaults_included(folder: Path) -> None:
    task = made(f"task={folder}", "task.seconds=2", "task.limits.memory_mb=300", "task.deterministic=true")
    assert (task.seconds, task.limits.memory_mb, task.deterministic) == (2, 300, True)


def test_its_evaluator_is_the_scorers_unless_another_is_named(folder: Path) -> None:
    assert compose([f"task={folder}"]).values["evaluator"]["_target_"].endswith("ProgramEvaluator")
    chosen = compose([f"task={folder}", "evaluator=audited"]).values["evaluator"]["_target_"]
    assert chosen.endswith("AuditedEvaluator")


def test_a_sweep_may_have_several(folder: Path) -> None:
    from prepare.compose import sweep

    runs = sweep([f"task={folder},shakespeare"])
    assert [compose(run).values["task"]["name"] for run in runs] == ["packing", "shakespeare"]


def test_a_task_of_the_user_s_own_hides_a_shipped_one_of_its_name(folder: Path, tmp_path: Path) -> None:
    """A YAML file as well as a folder: the shipped one may be a folder, whose evaluator is another."""
    own = tmp_path / "conf"
    (own / "task").mkdir(parents=True)
    shipped = task_folder("circles26", (CONF, own))
    assert shipped == CONF / "task" / "circles26"
    shutil.copytree(folder, own / "task" / "circles26")
    assert task_folder("circles26", (CONF, own)) == own / "task" / "circles26"
    shutil.rmtree(own / "task" / "circles26")
    shutil.copy(CONF / "task" / "shakespeare.yaml", own / "task" / "circles26.yaml")
    assert task_folder("circles26", (CONF, own)) is None
    assert compose(["task=circles26"], own).values["evaluator"]["_target_"].endswith("AuditedEvaluator")


def test_a_path_without_a_task_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="search new"):
        compose([f"task={tmp_path}"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("direction: maximise, ", "", "minimised or maximised"),
        ("direction: maximise", "direction: up", "'minimise' or 'maximise'"),
        ("seconds: 5", "secondz: 5", "did you mean seconds"),
        ("seconds: 5", "seconds: -1", "positive number"),
        ("[pack.py]", "[../pack.py]", "reaches outside"),
        ("[pack.py]", "[/etc/passwd]", "reaches outside"),
        ("[pack.py]", "pack.py", "a list of texts"),
        ("[pack.py]", "[]", "is empty"),
        ("[pack.py]", "[1]", "a list of texts"),
        ("scorer: score.py", "{}", "one of scorer"),
        ("scorer: score.py", "scorer: score.py\ncommand: make", "both or neither"),
        ("scorer: score.py", "scorer: score.py\nconstraints: [{metric: x}]", "at_most or at_least"),
        ("scorer: score.py", "scorer: score.py\nconstraints: [{at_most: 1}]", "expected metric"),
        ("scorer: score.py", "scorer: score.py\nlimits: {memory_mb: 1}", "task.limits.memory_mb is 1"),
        ("scorer: score.py", "scorer: score.py\nsmallest_gain: 0", "smallest_gain"),
    ],
)
def test_unusable_settings_are_named(folder: Path, old: str, new: str, message: str) -> None:
    text = (folder / "task.yaml").read_text().replace(old, new).replace("{}\n", "")
    (folder / "task.yaml").write_text(text)
    with pytest.raises((SettingsError, TaskError, ValueError), match=message):
        made(f"task={folder}")


@pytest.mark.parametrize("text", ["[1]", "\t: x", "name: packing\n  x: 1"])
def test_a_file_that_is_no_mapping_is_named(folder: Path, text: str) -> None:
    (folder / "task.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"task\.yaml"):
        made(f"task={folder}")


def test_files_that_are_missing_or_links_are_refused(folder: Path) -> None:
    task = made(f"task={folder}", "task.workspace.editable=[pack.py,'src/**/*.c']")
    with pytest.raises(TaskError, match=r"src/\*\*/\*.c.* matches no file"):
        task.seed_files()
    (folder / "src").mkdir()
    (folder / "src" / "a.c").symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="is a link"):
        task.seed_files()
    (folder / "src" / "a.c").unlink()
    (folder / "src" / "a.c").write_bytes(b"\xe9")
    with pytest.raises(TaskError, match="not UTF-8"):
        task.seed_files()


def test_a_scorer_that_candidates_could_read_is_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match="it is hidden"):
        made(f"task={folder}", "task.workspace.readonly=[score.py]").prepare()
    with pytest.raises(TaskError, match=r"'judge.py', which is not in"):
        made(f"task={folder}", "task.scorer=judge.py").prepare()


def test_instructions_that_are_not_utf8_are_named(folder: Path) -> None:
    assert made(f"task={folder}").instructions() == ""
    (folder / "program.md").write_bytes(b"\xe9")
    with pytest.raises(TaskError, match=r"program\.md"):
        made(f"task={folder}").instructions()


def test_the_fingerprint_follows_what_judges_and_not_what_may_change(folder: Path) -> None:
    before = made(f"task={folder}").fingerprint()
    (folder / "pack.py").write_text("A = 2\n")
    (folder / "program.md").write_text("more words")
    assert made(f"task={folder}").fingerprint() == before
    (folder / "data").mkdir()
    (folder / "data" / "x").write_text("1")
    with_data = made(f"task={folder}").fingerprint()
    (folder / "score.py").write_text("def score(candidate, case):\n    return 2\n")
    assert len({before, with_data, made(f"task={folder}").fingerprint()}) == 3
