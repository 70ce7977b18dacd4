"""Names that say whose a thing is: alive while the process lives, dead afterwards, and unknown from anywhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from train.sandbox import owner

HOUSE = Path(__file__).parents[2]
SAY = "import sys; from train.sandbox import owner; print(owner.tag(), flush=True); sys.stdin.read()"


def test_a_name_lives_as_long_as_its_process() -> None:
    words = [sys.executable, "-c", SAY]
    process = subprocess.Popen(words, cwd=HOUSE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    assert owner.status(f"{name}-whatever-else") == "alive"
    process.communicate()
    assert owner.status(name) == "dead"
    assert owner.status(owner.tag()) == "alive"


def test_a_number_that_was_given_again_is_another_process() -> None:
    place, number, birth = owner.tag().split("-")
    assert owner.status(f"{place}-{number}-{int(birth) - 1}") == "dead"


@pytest.mark.parametrize("name", ["", "driver", "a-b", "a-b-c", "1234-abc", "12-7--1", "my-2-files", "A-1-2"])
def test_other_names_are_none_of_ours(name: str) -> None:
    assert owner.status(name) is None


def test_names_from_elsewhere_are_unknown() -> None:
    place, number, birth = owner.tag().split("-")
    assert owner.status(f"x{place}-{number}-{birth}-y") == "unknown"
