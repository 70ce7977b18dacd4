"""A search whose disk fills up under it: a clear end, and after space is made it goes on where it was."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import begin, search
from ledger import evaluations, settled

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        words = ["mount", "-t", "tmpfs", "-o", "size=4m", "treewright-test", str(folder)]
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_ends_the_search_with_a_clear_word_and_it_resumes(tmp_path: Path, disk: Path) -> None:
    archive, ballast = disk / "a.duckdb", disk / "ballast"
    words = ("run=night", f"archive={archive}", "budget.evaluations=80", "evaluator.delay=0.05", "claim.looks=1")
    process = begin(tmp_path, *words)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("[10"):
        pass
    with pytest.raises(OSError, match="No space"):
        fill_up(ballast)
    said, errors = process.communicate(timeout=250)
    assert process.returncode == 1, said + errors
    assert "Traceback" not in errors
    assert errors.count("error: ") == 1
    for word in (
        f"no space is left for the archive {archive}",
        "MB free",
        "Nothing that was recorded is lost",
        "run=NAME",
    ):
        assert word in errors
    refused = search(tmp_path, *words)
    if refused.returncode:  # what was freed when the log was folded into the file may have been enough for the rest
        assert "no space is left" in refused.stderr
        assert "Traceback" not in refused.stderr
    ballast.unlink()
    known = evaluations(archive)
    assert len(known) >= 10
    done = search(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert known <= evaluations(archive)
    assert len(evaluations(archive)) == 80
    settled(archive)
