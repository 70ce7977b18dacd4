"""Composition of the configuration: a user's own folder, and what is composed once a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from prepare.compose import compose

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
]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "conf"
    (folder / "task").mkdir(parents=True)
    (folder / "task" / "mine.yaml").write_text("defaults: [shakespeare, _self_]\nname: mine\n")
    assert compose(["task=mine"], folder).values["task"]["name"] == "mine"


def test_a_caller_may_change_what_it_was_given() -> None:
    compose(["seed=3"]).values["task"]["seconds"] = -1
    assert compose(["seed=3"]).values["task"]["seconds"] > 0


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        monkeypatch.setenv("TREEWRIGHT_TEST_RUN", name)
        assert compose(["run=${oc.env:TREEWRIGHT_TEST_RUN}"]).values["run"] == name
