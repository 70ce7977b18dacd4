"""Outputs that are closed, go away, are full or lack characters.

Processes of their own, since what is tested is how a process starts and ends; most of them print a help text only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launching import command, environment, one

from prepare.output import output_status, prepare_outputs

FULL = Path("/dev/full")
COMMANDS = ("search", "search evaluate", "archive", "archive runs", "prepare")
HELP = {name: [sys.executable, "-m", *name.split(), "--help"] for name in COMMANDS}
SMALL = command("budget.evaluations=2", "sandbox=none", "llm=none", "operators=numeric")


def shell(redirected: str, words: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the words with redirections: ``shell(">&-", words, folder)``."""
    typed = ["bash", "-c", f'"$@" {redirected}', "bash", *words]
    return subprocess.run(
        typed, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=250, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", HELP)
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_output_is_an_error_in_one_line(name: str, unbuffered: str, tmp_path: Path) -> None:
    done = shell(">/dev/full", HELP[name], tmp_path, PYTHONUNBUFFERED=unbuffered)
    said = "error: the output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.slow
@pytest.mark.parametrize("name", HELP)
def test_a_reader_that_has_gone_is_no_error(name: str, tmp_path: Path) -> None:
    done = shell("| true; exit ${PIPESTATUS[0]}", HELP[name], tmp_path, PYTHONUNBUFFERED="1")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_search_with_closed_outputs_fills_its_archive_all_the_same(tmp_path: Path) -> None:
    """What is printed must not get into the file that is opened next, which would have the number of the output."""
    done = shell("<&- >&- 2>&-", SMALL, tmp_path)
    assert done.returncode == 0
    assert one(tmp_path / "treewright.duckdb", "count(*) FROM evaluations") == 2


@pytest.mark.slow
def test_an_ascii_locale_does_not_forbid_umlauts(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    (tmp_path / "prögram.md").write_text("µ\n", encoding="utf-8")
    words = [*SMALL, "run=größe", "archive=ü.duckdb", "task.program=prögram.md"]
    done = shell("", words, tmp_path, **ascii_only)
    assert done.returncode == 0, done.stderr
    assert one(tmp_path / "ü.duckdb", "run FROM runs") == "größe"


def test_a_width_of_nothing_is_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    for width, kept in (("0", False), ("", False), ("80", True)):
        monkeypatch.setenv("COLUMNS", width)
        prepare_outputs()
        assert ("COLUMNS" in os.environ) == kept


def test_an_error_of_something_else_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        output_status(FileNotFoundError("something else"))
