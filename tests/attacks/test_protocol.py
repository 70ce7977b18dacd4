"""What a probe finds inside a sandbox: no text, no cores beyond the slot's, no keyring. (The attacks: test_attacks.py.)

pytest tests/attacks
"""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from archive.records import Failed
from prepare.language_model import LanguageModelTask
from train.language_model.evaluator import AuditedEvaluator

PROGRAMS = Path(__file__).parent / "probes"
HOUSE = Path(__file__).parent.parent.parent
slow = pytest.mark.slow


def program(name: str) -> str:
    return (PROGRAMS / f"{name}.py").read_text()


@slow
def test_no_file_in_a_sandbox_holds_the_text(
    toy_task: LanguageModelTask, run_candidate, evaluator: AuditedEvaluator
) -> None:
    """Nor the training text, before the clock. The same search finds a needle that is really there."""
    needles = [toy_task.corpus.evaluation(split)[300:340].tobytes() for split in ("val", "select", "holdout")]
    needles.append(toy_task.corpus.documents()[3][300:340].tobytes())
    patient = dataclasses.replace(toy_task, limits=dataclasses.replace(toy_task.limits, startup_seconds=240.0))
    by = AuditedEvaluator(patient, evaluator.sandbox)

    def search(wanted: list[bytes], top: str) -> str:
        hidden = [[(7 * value + 13 * i) % 1009 for i, value in enumerate(needle)] for needle in wanted]
        source = program("file_walk").replace("NEEDLES = []", f"NEEDLES = {hidden}")
        return run_candidate(source.replace('TOP = "/"', f"TOP = {top!r}"), by=by).reason

    assert "/library/worker.py" in search([(HOUSE / "train/language_model/worker.py").read_bytes()[:40]], "/library")
    everything = search(needles, "/")
    assert "found []" in everything, everything
    assert int(everything.split("read ")[1].split()[0]) > 1000


@slow
def test_more_cores_than_the_slot_has_are_refused(run_candidate) -> None:
    evaluation = run_candidate(program("more_cores"))
    assert isinstance(evaluation, Failed), evaluation
    assert (evaluation.outcome, "Operation not permitted" in evaluation.reason) == ("crashed", True), evaluation.reason


JOINED = """
import ctypes, os, sys
system = ctypes.CDLL(None, use_errno=True)
if system.syscall(250, 1, b"treewright-test") < 0:
    sys.exit("refused")
system.syscall(250, 5, system.syscall(250, 0, -3, 0), 0x3f3f3f3f)  # open to all who inherit it
command = sys.argv[1:]
os.execv(command[0], command)
"""


@slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program knows the system calls' numbers of x86_64")
def test_two_sandboxes_share_no_keyring() -> None:
    """A login session has a keyring, which its processes inherit: it would join the scoring and the audit."""
    command = [sys.executable, "-c", JOINED, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    inner = subprocess.run(
        [*command, f"{Path(__file__).relative_to(HOUSE)}::test_the_keyring_is_empty"],
        cwd=HOUSE,
        env={**os.environ, "TREEWRIGHT_TEST_KEYRING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if "refused" in inner.stderr:
        pytest.skip("keyrings are refused here")
    assert inner.returncode == 0, inner.stdout


@pytest.mark.skipif("TREEWRIGHT_TEST_KEYRING" not in os.environ, reason="run by test_two_sandboxes_share_no_keyring")
def test_the_keyring_is_empty(run_candidate) -> None:
    for _ in range(2):
        reason = run_candidate(program("keyring")).reason
        assert "before: False" in reason, reason
