"""Printed commands work as they stand: with the interpreter, or the console script, that runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prepare.command_line import command


@pytest.mark.parametrize(
    ("typed", "package", "printed"),
    [
        ("search/__main__.py", "search", "'a venv/bin/python' -m search check x"),
        ("search/__main__.py", "archive", "'a venv/bin/python' -m archive check x"),
        ("a venv/bin/treewright", "search", "'a venv/bin/treewright' check x"),
        ("a venv/bin/treewright", "archive", "'a venv/bin/treewright-archive' check x"),
        ("a venv/bin/treewright-archive", "search", "'a venv/bin/treewright' check x"),
        ("a venv/bin/treewright", "prepare", "'a venv/bin/python' -m prepare check x"),
    ],
)
def test_commands(typed: str, package: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "a venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "treewright", "treewright-archive"):
        (programs / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / typed)])
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    assert command(package, "check x") == printed
    monkeypatch.setenv("PATH", str(programs))
    assert command(package, "check x") == printed.replace("'a venv/bin/", "").replace("'", "")
