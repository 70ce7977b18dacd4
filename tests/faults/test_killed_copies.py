"""``kill -9`` of a whole search, with copies of its archive taken at random moments before: nothing finished is lost
without a word.

Processes of their own, since a kill is what is tested; the evaluator is the stub.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inside import archive as command
from inside import search
from launching import begin
from ledger import evaluations, finished, rows, settled

from archive.errors import ForeignLog

NO_SANDBOX = "sandbox=none"
"""The stub runs no candidate, so a sandbox need not be tried at each start."""

Keys = set[tuple[str, int, str]]


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.wal")


def asked(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = command(path.parent, *words, "--archive", str(path))
    assert "Traceback" not in done.stderr
    return done


def recorded(path: Path) -> Keys:
    """One question, since a running search rests after each."""
    return set(rows(path, "SELECT node_id, seed, purpose FROM evaluations WHERE outcome <> 'lost'"))  # type: ignore[arg-type]


def says_that_rows_may_be_missing(path: Path) -> bool:
    done = asked(path, "check")
    return "as in a copy of the file alone" in done.stdout or "has not come to its end" in done.stderr


def copied_file(archive: Path, copy: Path, _: random.Random) -> None:
    shutil.copy(archive, copy)


def copied_both(archive: Path, copy: Path, _: random.Random) -> None:
    shutil.copy(archive, copy)
    if log_of(archive).exists():
        shutil.copy(log_of(archive), log_of(copy))


def torn(archive: Path, copy: Path, rng: random.Random) -> None:
    copied_both(archive, copy, rng)
    if log_of(copy).exists():
        data = log_of(copy).read_bytes()
        log_of(copy).write_bytes(data[: rng.randrange(len(data) + 1)])


def backed_up(archive: Path, copy: Path, _: random.Random) -> None:
    done = asked(archive, "backup", str(copy))
    assert done.returncode == 0, done.stderr


COPIES: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "backup": backed_up, "cp": copied_file, "cp with its log": copied_both, "torn": torn,
}  # fmt: skip


def judge(kind: str, copy: Path, before: Keys) -> None:
    """Compare a copy with what was recorded before it was taken."""
    try:
        held = evaluations(copy)
    except ForeignLog:  # a checkpoint came between the copies of the file and of its log
        assert kind in ("cp with its log", "torn")
        return
    if kind == "backup":
        assert before <= held, "a backup holds every commit"
        assert asked(copy, "check").returncode == 0
    else:
        assert before <= held or says_that_rows_may_be_missing(copy), f"{kind}: rows are missing without a word"


def damage_is_refused(archive: Path, folder: Path, rng: random.Random) -> None:
    """Flip one byte in a copy of what the kill left."""
    copy = folder / "flipped.duckdb"
    copied_both(archive, copy, rng)
    if not log_of(copy).exists() or not (data := bytearray(log_of(copy).read_bytes())):
        return
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    log_of(copy).write_bytes(data)
    words = ("run=night", f"archive={copy}", "budget.evaluations=5", NO_SANDBOX)
    for done in (asked(copy, "summary"), search(folder, *words) if rng.random() < 0.1 else asked(copy, "runs")):
        assert done.returncode == 1
        assert "flipped.duckdb.wal is damaged at byte" in done.stderr, done.stderr
    assert log_of(copy).read_bytes() == data, "it is kept as it is"


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(2, marks=[pytest.mark.slow]),
        pytest.param(50, marks=[pytest.mark.nightly, pytest.mark.timeout(3000)]),
    ],
)
def test_nothing_finished_is_lost_without_a_word(tmp_path: Path, kills: int) -> None:
    archive, diary, rng = tmp_path / "treewright.duckdb", tmp_path / "diary", random.Random(f"{kills}")
    words = ("run=night", "executor.slots=2", "operators=numeric", f"evaluator.diary={diary}", NO_SANDBOX)
    known: Keys = set()
    for kill in range(kills):
        process = begin(tmp_path, *words, "evaluator.delay=0.3", "budget.evaluations=2000")
        assert process.stdout is not None
        while not process.stdout.readline().startswith("["):
            assert process.poll() is None, process.communicate()
        time.sleep(rng.uniform(0.0, 0.5))
        folder = tmp_path / f"copies-{kill}"
        folder.mkdir()
        before = {}
        for kind, copied in COPIES.items():
            before[kind] = recorded(archive)
            copied(archive, folder / f"{kind}.duckdb", rng)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for kind, held in before.items():
            judge(kind, folder / f"{kind}.duckdb", held)
        damage_is_refused(archive, folder, rng)
        found = evaluations(archive)
        assert known.union(*before.values()) <= found <= set(finished(diary)), "a row is gone, or nobody made it"
        known = found
        shutil.rmtree(folder)
    budget = len(known) + 30
    small = ("claim.candidates=1", "claim.report_seeds=2", f"budget.evaluations={budget}")
    done = search(tmp_path, *words, *small, timeout=120)
    assert done.returncode == 0, done.stderr
    assert known <= evaluations(archive)
    settled(archive)
    done = asked(archive, "check")
    assert (done.returncode, done.stderr) == (0, "")
