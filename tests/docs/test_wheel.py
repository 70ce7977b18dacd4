"""The wheel: everything that the packages read is in it, nothing else is, and it runs outside of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import environment, toy_conf
from pages import HOUSE

PACKAGES = ("search", "operators", "train", "prepare", "archive", "conf")
SHORT = ("task=toy", "budget.evaluations=3", "executor.slots=1", "llm=none", "run=outside")
pytestmark = pytest.mark.slow


def execute(words: list[str], folder: Path, **variables: str) -> str:
    kept = {name: value for name, value in environment(**variables).items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=kept, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since setuptools leaves its work in the folder that it builds from."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(HOUSE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(HOUSE / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    execute([*pip, "-w", str(folder), str(source)], folder)
    (built,) = folder.glob("treewright-*.whl")
    return built


@pytest.fixture(scope="module")
def place(wheel: Path) -> Iterator[Path]:
    """An environment with this wheel and the packages that are installed here, by hard links: no download.

    Sandboxes mount the folder of installed packages itself, so a ``.pth`` file that leads elsewhere would not do.
    Bytecode comes with them: each sandbox would compile torch otherwise.
    """
    root = Path(tempfile.mkdtemp(prefix="wheel-", dir=sys.prefix))
    try:
        execute([sys.executable, "-m", "venv", "--without-pip", str(root)], root)
        site = Path(sysconfig.get_paths(vars={"base": str(root), "platbase": str(root)})["purelib"])
        shutil.copytree(
            sysconfig.get_paths()["purelib"],
            site,
            ignore=shutil.ignore_patterns("__editable__*", "treewright-*"),
            copy_function=os.link,
            dirs_exist_ok=True,
        )
        pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python"), "install"]
        execute([*pip, "-q", "--no-deps", "--no-index", str(wheel)], root)
        yield root / "bin"
    finally:
        shutil.rmtree(root)


def test_the_wheel_holds_every_file_of_the_packages_and_no_test(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == {name for name in tracked if (HOUSE / name).exists()}


def test_three_evaluations_through_the_console_scripts(place: Path, tmp_path: Path) -> None:
    conf, cache = toy_conf(tmp_path), str(tmp_path / "cache")
    printed = execute([str(place / "treewright"), "--config-dir", str(conf), *SHORT], tmp_path, TREEWRIGHT_CACHE=cache)
    assert "3 scored" in printed
    asked = execute([str(place / "treewright-archive"), "SELECT count(*) AS n FROM evaluations", "--csv"], tmp_path)
    assert asked.split() == ["n", "3"]


def test_the_version_and_the_types_are_installed(place: Path, tmp_path: Path) -> None:
    code = "import pathlib, search as s; print(s.__version__, pathlib.Path(s.__file__).with_name('py.typed').is_file())"
    assert execute([str(place / "python"), "-c", code], tmp_path).split() == ["0.1.0", "True"]


def test_commands_that_are_printed_can_be_typed_there(place: Path, tmp_path: Path) -> None:
    assert "Treewright improves" in execute([str(place / "treewright"), "--help"], tmp_path)
    assert "python -m archive" in execute([str(place / "treewright-archive"), "--help"], tmp_path)


def test_the_tasks_that_come_with_it_are_named_there(place: Path, tmp_path: Path) -> None:
    assert "circles26" in execute([str(place / "treewright"), "tasks"], tmp_path)
    said = execute([str(place / "treewright"), "check", "jobshop", "executor.slots=1", "llm=none"], tmp_path)
    assert "ok       seed       ratio 1." in said
