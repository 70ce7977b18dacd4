"""``kill -9`` of a whole search at each named point of ``train/faults.py``, and a last session that finishes it.

Each session goes on with the archive of the one before and is killed at another point. Random instants are in
``test_killed_search.py``, at night.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from launching import HOUSE, STUB, begin, search, toy_conf
from ledger import evaluations, family, finished, gone, memory_groups, rows, settled, stages_left

from archive.query.query import open_reader
from archive.query.verify import verify

pytestmark = pytest.mark.slow

SLOTS = 2
AT_ONCE = ("node", "move", "landed", "commit", "node:5", "move:5", "landed:5", "commit:5")
IN_SANDBOXES = ("train", "score")
AT_NIGHT = ("launch", "train", "score", "audit", "commit:2", "launch:3")


@dataclass
class Victim:
    """One run that is killed again and again, and what its archive must still hold."""

    folder: Path
    words: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    known: set[tuple[str, int, str]] = field(default_factory=set)
    left: list[Path] = field(default_factory=list)

    @property
    def archive(self) -> Path:
        return self.folder / "treewright.duckdb"

    @property
    def diary(self) -> Path:
        return self.folder / "diary"

    def kill_at(self, point: str) -> None:
        """One session that ends at ``point``. Nothing recorded is lost or doubled, no process is left."""
        words = (*self.words, "budget.evaluations=500")
        process = begin(self.folder, *words, stub=False, **self.variables, TREEWRIGHT_FAULT=point)
        processes = {}
        while process.poll() is None:
            processes |= {each.pid: each for each in family(process.pid)}
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        said, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"{point} was not reached: {said}{errors}"
        gone(list(processes.values()))
        assert [folder for folder in self.left if folder.exists()] == [], "the last one's folders and groups are swept"
        self.left = [*stages_left(self.folder), *memory_groups()]
        self.check()

    def check(self) -> None:
        found, ended = evaluations(self.archive), set(finished(self.diary))
        assert self.known <= found, "a row of an earlier session is gone"
        assert found <= ended
        assert len(ended - found) <= SLOTS, "more is missing than was in flight"
        self.known = found

    def finish(self, budget: int, kills: int, *words: str) -> None:
        """A last session to the end: every move comes to something, and only what was in flight was trained again."""
        words = (*self.words, *words, f"budget.evaluations={budget}")
        done = search(self.folder, *words, stub=False, timeout=200, **self.variables)
        assert done.returncode == 0, done.stderr
        assert [folder for folder in self.left if folder.exists()] == []
        assert self.known <= evaluations(self.archive)
        assert rows(self.archive, "SELECT DISTINCT outcome FROM evaluations") == [("scored",)]
        settled(self.archive)
        trained = finished(self.diary)
        assert len(trained) - len(set(trained)) <= kills * SLOTS, "trained again only what was in flight"


@pytest.mark.timeout(600)
def test_a_kill_at_each_point_of_the_search_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """With a stub for the evaluator: the points at which the archive is written."""
    words = (
        *STUB,
        "run=night",
        f"executor.slots={SLOTS}",
        "operators=numeric",
        "evaluator.delay=0.02",
        "claim.looks=1",
    )
    victim = Victim(tmp_path, (*words, f"evaluator.diary={tmp_path / 'diary'}"))
    for point in AT_ONCE:
        victim.kill_at(point)
    assert len(victim.known) >= 8
    victim.finish(60, len(AT_ONCE))
    assert len(evaluations(victim.archive)) == 60
    assert len(set(finished(victim.diary))) == 60, "what was in flight was trained again, not given up"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "points", [IN_SANDBOXES, pytest.param(AT_NIGHT, marks=pytest.mark.nightly)], ids=["by day", "at night"]
)
def test_a_kill_at_each_point_of_an_evaluation_leaves_nothing(tmp_path: Path, points: tuple[str, ...]) -> None:
    """With real sandboxes: no process is left at once, and no folder and no memory group after the next start."""
    conf = toy_conf(tmp_path)
    shutil.copytree(HOUSE / "tests" / "conf" / "evaluator", conf / "evaluator")
    words = ("--config-dir", str(conf), "task=toy", "operators=tune", "run=night", f"executor.slots={SLOTS}")
    words = (*words, "evaluator=diary", f"evaluator.diary={tmp_path / 'diary'}")
    victim = Victim(tmp_path, words, {"TREEWRIGHT_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path)})
    for point in points:
        victim.kill_at(point)
    if points == IN_SANDBOXES:
        budget, claim = len(victim.known) + SLOTS + 1, ["claim=off"]
    else:  # room for the smallest claim, for what was in flight, and for a little more
        budget = len(victim.known) + 4 + SLOTS + 2
        claim = ["claim.candidates=1", "claim.confirm_seeds=1", "claim.report_seeds=2"]
    victim.finish(budget, len(points), *claim)
    assert len(evaluations(victim.archive)) <= budget


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", ["seal", "stage"])
def test_a_kill_between_the_parts_of_a_claim_repeats_none(tmp_path: Path, point: str) -> None:
    """With a stub for the evaluator: what is sealed is judged later, after the other trainings of its stage."""
    words = (*STUB, "run=night", "executor.slots=2", "operators=numeric", "+evaluator.stages=2")
    archive = tmp_path / "treewright.duckdb"
    states = Path(f"{archive}.states")
    killed = search(
        tmp_path, *words, stub=False, timeout=140, TREEWRIGHT_FAULT=f"{point}:{5 if point == 'seal' else 4}"
    )
    assert killed.returncode == -signal.SIGKILL, f"it was not reached: {killed.stdout}{killed.stderr}"
    sealed = set(rows(archive, "SELECT move, sha FROM trainings"))
    answered = set(rows(archive, "SELECT move, answered_at FROM stage_answers"))
    assert (len(sealed) == 5) if point == "seal" else (len(answered) == 4)
    assert states.exists()
    done = search(tmp_path, *words, stub=False, timeout=140)
    assert done.returncode == 0, done.stderr
    settled(archive)
    assert not states.exists(), "removed with the verdict"
    assert sealed <= set(rows(archive, "SELECT move, sha FROM trainings"))
    assert answered <= set(rows(archive, "SELECT move, answered_at FROM stage_answers"))  # a claim may have four
    assert list(verify(open_reader(archive)).rows) == [], "no training is there twice, and each judgement has its own"
