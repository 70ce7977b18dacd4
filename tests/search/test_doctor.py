"""``search doctor``: what it finds, in words and as JSON, in process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from inside import search

from search.cli.doctor import examine
from search.words import Words


def test_findings_of_doctor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert examine(Words(("sandbox=docker",), json=True)) == 1
    found = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["sandbox"]["level"] == "problem"
    assert "docker" in found["sandbox"]["words"]
    assert found["budget"]["level"] == "ok"


def test_doctor_says_what_is_well_and_what_is_not(tmp_path: Path) -> None:
    done = search(tmp_path, "doctor", "run=a night")
    assert done.returncode == 0, done.stdout
    for what in ("task", "sandbox", "data", "device", "disk", "model", "pace"):
        assert re.search(rf"^(ok|note) +{what} ", done.stdout, re.MULTILINE), what
    assert re.search(r"^Ready: \S+ -m search .* 'run=a night'$", done.stdout, re.MULTILINE)
    assert "evaluations an hour" in done.stdout
    bad = search(tmp_path, "doctor", "task.metric.direction=null", "executor.slots=0", "sandbox=docker")
    assert bad.returncode == 1
    assert "Traceback" not in bad.stderr
    for what in ("task", "sandbox", "slots"):
        assert re.search(rf"^problem +{what} ", bad.stdout, re.MULTILINE), what
    assert "3 problems" in bad.stdout
    assert list(tmp_path.iterdir()) == [], "it changes nothing"


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_a_problem_for_doctor_and_search(tmp_path: Path) -> None:
    for words, status in ((("doctor",), 1), ((), 1)):
        done = search(tmp_path, *words, TREEWRIGHT_CACHE="/dev/null/cache")
        assert done.returncode == status
        assert "/dev/null/cache" in done.stdout + done.stderr
        assert "Set TREEWRIGHT_CACHE" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_reads_the_instructions_too(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes(b"make it lower, gr\xfc\xdfe\n")
    for name, said in (("latin.md", "the instructions latin.md are not UTF-8"), ("nowhere.md", "nowhere.md")):
        done = search(tmp_path, "doctor", f"task.program={name}")
        assert done.returncode == 1
        assert re.search(rf"^problem +task +.*{said}", done.stdout, re.MULTILINE)
