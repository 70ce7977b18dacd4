"""What a candidate leaves where it can write, and states that are none: nothing is opened, followed, or waited for.

A state comes as one frame over the session's socket. No file that a candidate has made is ever opened by us, so links,
pipes, folders and files of a terabyte can lie under every name that somebody might look for.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from host import Host

from archive.records import Request
from prepare.language_model import LanguageModelTask
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator

pytestmark = pytest.mark.slow

LITTER = """
import os

NAMES = ("state", "state.safetensors", "result", "result.json", "score", "metrics.json", "checkpoint.pt", "train.py")
KINDS = {
    "symlink": lambda path: os.symlink("/etc/passwd", path),
    "symlink to a folder": lambda path: os.symlink("/", path),
    "dangling symlink": lambda path: os.symlink("/nowhere", path),
    "loop": lambda path: os.symlink(path, path),
    "FIFO": lambda path: os.mkfifo(path),
    "directory": lambda path: os.makedirs(path + "/" + "/".join("d" * 50 for _ in range(30))),
    "sparse terabyte": lambda path: sparse(path),
    "truncated": lambda path: open(path, "wb").write(b"\\x40\\0\\0\\0\\0\\0\\0\\0{"),
    "closed to everybody": lambda path: os.mkdir(path, 0),
    "hard link": lambda path: os.link("/candidate/train.py", path),
}

def sparse(path):
    with open(path, "wb") as file:
        file.truncate(1 << 40)

def litter():
    here = [path for path, folders, files in os.walk("/") if os.access(path, os.W_OK) and not path.startswith("/proc")]
    places, left = [os.path.join(folder, name) for folder in here for name in NAMES], []
    for number, place in enumerate(places):
        kind = KIND or list(KINDS)[number % len(KINDS)]
        try:
            KINDS[kind](place)
            left.append(kind)
        except OSError:
            pass
    print("left", sorted(set(left)), "in", here)
"""


def littering(seed: str, kind: str) -> str:
    source = f"KIND = {kind!r}\n{LITTER}\n{seed}"
    return source.replace("    data = session.start().long()", "    litter()\n    data = session.start().long()")


@pytest.fixture(scope="session")
def honest(run_candidate, toy_seed: str) -> Iterator[float]:
    """The honest program's score before all of them; it is the same after the last."""
    score = run_candidate(toy_seed).score
    yield score
    assert run_candidate(toy_seed).score == pytest.approx(score, abs=1e-6)


@pytest.fixture
def host(evaluator: AuditedEvaluator, toy_task: LanguageModelTask) -> Host:
    return Host(evaluator.groups, *toy_task.corpus.locations())


IN_TURN = ""
REFUSED = ("sparse terabyte", "hard link")
LEFT = ("symlink", "symlink to a folder", "dangling symlink", "loop", "FIFO", "directory", "truncated")
LEFT = (*LEFT, "closed to everybody")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(IN_TURN, id="all in turn"),
        *(pytest.param(kind, marks=pytest.mark.nightly) for kind in (*LEFT, *REFUSED)),
    ],
)
def test_litter_under_every_name_changes_nothing(
    run_candidate, toy_seed: str, kind: str, honest: float, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest program that also leaves such things in each folder it can write to is scored as ever.

    In CI the kinds take turns over the names; at night each kind lies under every name.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = run_candidate(littering(toy_seed, kind))
    assert result.outcome == "scored", result.reason
    assert f"left {sorted(LEFT) if kind == IN_TURN else [] if kind in REFUSED else [kind]} in" in result.log, result.log
    assert list(tmp_path.iterdir()) == [], "our folders are removed, whatever is in them"
    assert result.score == pytest.approx(honest, abs=1e-3)
    host.untouched()


STATES = {
    "truncated": ("lambda state: really(state)[:-7]", "invalid", "not a safetensors file"),
    "of nothing": ("lambda state: b''", "invalid", "not a safetensors file"),
    "garbage": ("lambda state: bytes(range(256)) * 40", "invalid", "not a safetensors file"),
    "a header of a terabyte": (
        "lambda state: (1 << 40).to_bytes(8, 'little') + bytes(100)",
        "invalid",
        "not a safetensors file",
    ),
    "a header without an end": (
        "lambda state: (9).to_bytes(8, 'little') + b'{\"table\"'",
        "invalid",
        "not a safetensors file",
    ),
    "offsets beyond its end": (
        "lambda state: really(state).replace(b'262144', b'962144')",
        "invalid",
        "not a safetensors file",
    ),
    "a pickle": ("lambda state: __import__('pickle').dumps(state)", "invalid", "not a safetensors file"),
    "oversized": ("lambda state: bytes(60_000_000)", "invalid", "larger than the 1 MB"),
    "with a tail": ("lambda state: really(state) + bytes(1_500_000)", "invalid", "not a safetensors file"),
    "too many elements": (
        "lambda state: really({'table': __import__('torch').zeros(400_000)})",
        "invalid",
        "400,000 elements; 100,000 are allowed",
    ),
}


IN_CI = ("oversized",)
"""What else is no state is refused by the function that ``train/test_state_limits.py`` calls."""

IN_THE_REAL_RUN = """
import safetensors.torch

really = safetensors.torch.save
rehearsing = []
from prepare.smoke_test import RehearsalSession

begun = RehearsalSession.__init__
RehearsalSession.__init__ = lambda self, **given: (rehearsing.append(self), begun(self, **given))[1]
safetensors.torch.save = lambda state: (really if rehearsing else replaced)(state)
"""


@pytest.mark.parametrize(
    "kind",
    [
        *IN_CI,
        *(pytest.param(kind, marks=pytest.mark.nightly) for kind in STATES if kind not in IN_CI),
    ],
)
@pytest.mark.usefixtures("honest")
def test_a_state_that_is_none_is_invalid_with_the_reason(run_candidate, toy_seed: str, kind: str, host: Host) -> None:
    """What the worker would send is replaced, as a candidate can do in its own process."""
    save, outcome, reason = STATES[kind]
    source = f"{IN_THE_REAL_RUN}replaced = {save}\n{toy_seed}"
    result = run_candidate(source)
    assert (result.outcome, reason in result.reason) == (outcome, True), result.reason
    host.untouched()


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def tiny_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluator: AuditedEvaluator) -> Iterator[Path]:
    """Temporary folders and stages are made in a file system of 64 kB, where this machine lets us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "treewright-test", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a file system")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    if evaluator.sandbox.stages is not None:
        monkeypatch.setattr(type(evaluator.sandbox), "stages", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_no_space_for_the_stage_is_lost_and_names_the_machine(run_candidate, toy_seed: str, tiny_disk: Path) -> None:
    result = run_candidate(toy_seed)
    assert result.outcome == "lost", result
    assert "the machine could not run it" in result.reason
    assert "No space left on device" in result.reason
    assert list(tiny_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=16m", str(tiny_disk)], check=True)
    assert run_candidate(toy_seed).outcome == "scored", "and once there is space, it goes on"


def test_no_process_to_be_had_is_lost(toy_task: LanguageModelTask, evaluator: AuditedEvaluator, toy_seed: str) -> None:
    """As when the machine is full of processes: the launch itself fails, which is nobody's program's fault."""

    class Refused:
        tier, contained = evaluator.sandbox.tier, evaluator.sandbox.contained
        stages = None

        def wrap(self, *args: object, **options: object) -> object:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        def mounted(self) -> tuple[Path, ...]:
            return ()

    by = AuditedEvaluator(dataclasses.replace(toy_task), Refused())  # type: ignore[arg-type]
    request = Request("node", "run", 0, {"train.py": toy_seed}, 11, "screen")
    before = len(os.listdir("/proc/self/fd"))
    result = by.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)
    assert (result.outcome, "Resource temporarily unavailable" in getattr(result, "reason", "")) == ("lost", True)
    assert len(os.listdir("/proc/self/fd")) <= before, "garbage of earlier tests may be collected meanwhile"
