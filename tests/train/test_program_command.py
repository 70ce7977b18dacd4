"""Scores of tasks that are a command: its output is read strictly, and its status counts."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prepare.scorer import Completed, Invalid
from train.program.command import command_score


class Here:
    """A candidate whose commands run in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, argv: Sequence[str], stdin: bytes | str = b"", seconds: float | None = None) -> Completed:
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a command task uses no {name}")


def test_a_command_gives_metrics_and_its_errors_as_feedback(tmp_path: Path) -> None:
    score = command_score(Here(tmp_path), "echo METRIC ms=3; echo METRIC mb=7; echo slow >&2", "true", "ms")
    assert (score.value, score.metrics, score.feedback) == (3.0, {"mb": 7.0}, "slow\n")


@pytest.mark.parametrize(
    ("command", "checks", "words"),
    [
        ("echo METRIC ms=3; echo broken >&2; exit 4", None, "exit status 4; expected 0\nbroken"),
        ("echo METRIC ms=3", "echo wrong answer; exit 1", "the checks `echo wrong answer; exit 1` ended with"),
        ("echo METRIC ms=3; echo METRIC ms=2", None, "different values"),
        ("echo nothing", None, "'ms' is missing"),
    ],
)
def test_what_makes_a_candidate_invalid(tmp_path: Path, command: str, checks: str | None, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        command_score(Here(tmp_path), command, checks, "ms")
    assert words in str(caught.value)
