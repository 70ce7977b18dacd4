"""Composition of the configuration: a user's own folder, and what is composed once a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare.compose import compose
from prepare.config import SettingsError

FOLDERS = [
    "a user's night",
    'say "x"',
    r"back\slash",
    r"a\"b",
    "a,b=[c]{d}",
    "${oc.env:HOME}",
    "a#b?c%20d",
    "(x)|y@z~",
    "null",
    "größe 李",
    "a;b&c!d'e",
    "x=1",
    "ends with \\",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "conf"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "mine.yaml").write_text("defaults: [shakespeare, _self_]\nname: mine\n")
    assert compose(["task=mine"], folder).values["task"]["name"] == "mine"


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        ("broken", b"a: [1\n b: {", "broken.yaml"),
        ("latin", b"name: gr\xfc\xdfe\n", "latin.yaml is not UTF-8 text"),
        ("listed", b"- a\n", "listed.yaml holds a list; expected lines of KEY: VALUE"),
        ("number", b"3\n", "number.yaml holds a int"),
        ("tagged", b"a: !!python/object:os.system x\n", "tagged.yaml"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, held: bytes, said: str) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / f"{name}.yaml").write_bytes(held)
    with pytest.raises(SettingsError) as refused:
        compose([f"task={name}"], tmp_path)
    assert said in str(refused.value)


def test_a_caller_may_change_what_it_was_given() -> None:
    compose(["seed=3"]).values["task"]["seconds"] = -1
    assert compose(["seed=3"]).values["task"]["seconds"] > 0


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("TREEWRIGHT_TEST_RUN", name)
        assert compose(["run=${oc.env:TREEWRIGHT_TEST_RUN}"]).values["run"] == name


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    for name in ("mine", "yours"):
        (tmp_path / "task" / "own.yaml").write_text(f"defaults: [shakespeare, _self_]\nname: {name}\n")
        assert compose(["task=own", "seed=3"], tmp_path).values["task"]["name"] == name
        assert compose(["task=own", "seed=4"], tmp_path).values["seed"] == 4
