"""Sandboxes that are started ahead. These tests launch sandboxes: what is left of one shows only there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from scorers import task_of

from archive.records import Evaluation, Request, Scored
from train.executors.local import LocalExecutor
from train.hardware.slots import make_slots
from train.program.evaluator import ProgramEvaluator
from train.sandbox.base import Sandbox
from train.sandbox.factory import SandboxLauncher
from train.sandbox.process import SandboxProcess

SCORER = "def score(candidate, case):\n    return float(candidate.call('answer'))\n"
SEED = """
import os
def answer():
    seen = [name for name in ("/tmp/mark", "mark") if os.path.exists(name)]
    for name in ("/tmp/mark", "mark"):
        open(name, "w").close()
    return len(seen)
"""
AHEAD = "a sandbox started ahead"
(SLOT,) = make_slots(1)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, SandboxProcess]]:
    """Label and process of each launch."""
    seen: list[tuple[str, SandboxProcess]] = []
    launch = SandboxLauncher.launch

    def noted(self: SandboxLauncher, label: str, cancelled: threading.Event) -> SandboxProcess:  # type: ignore[type-arg]
        process = launch(self, label, cancelled)
        seen.append((label, process))
        return process

    monkeypatch.setattr(SandboxLauncher, "launch", noted)
    return seen


@pytest.fixture
def evaluator(tmp_path: Path, best_sandbox: Sandbox) -> Iterator[ProgramEvaluator]:
    found = ProgramEvaluator(task_of(tmp_path / "task", SCORER, seed=SEED), best_sandbox)
    if best_sandbox.contained is not True:
        pytest.skip("no sandbox is started ahead where it is not one of bubblewrap")
    yield found
    found.release(SLOT)


def evaluated(evaluator: ProgramEvaluator, number: int) -> Evaluation:
    request = Request(f"n{number}", "r", number, {"main.py": SEED}, number, "screen")
    return evaluator.evaluate(request, SLOT, threading.Event(), lambda *_: None)


def scores(*found: Evaluation) -> list[float | None]:
    return [each.score if isinstance(each, Scored) else None for each in found]


def test_a_sandbox_started_ahead_is_as_new_and_used_once(
    evaluator: ProgramEvaluator, launched: list[tuple[str, SandboxProcess]]
) -> None:
    evaluator.keep(SLOT)
    found = [evaluated(evaluator, number) for number in range(3)]
    assert scores(*found) == [0.0, 0.0, 0.0], "a candidate saw what an earlier one had written"
    assert [label for label, _ in launched] == [AHEAD, AHEAD, AHEAD, AHEAD]
    assert [process.running for _, process in launched] == [False, False, False, True]
    assert all(each.resources.cpu_seconds > 0 for each in found)
    evaluator.release(SLOT)
    assert not launched[-1][1].running


def test_one_that_has_died_is_replaced(evaluator: ProgramEvaluator, launched: list[tuple[str, SandboxProcess]]) -> None:
    evaluator.keep(SLOT)
    evaluated(evaluator, 1)
    launched[-1][1].kill()
    assert scores(evaluated(evaluator, 2)) == [0.0]
    assert [label for label, _ in launched] == [AHEAD, AHEAD, "main.py", AHEAD]


def test_of_a_deterministic_task_one_starts_while_another_is_used(
    tmp_path: Path, best_sandbox: Sandbox, launched: list[tuple[str, SandboxProcess]]
) -> None:
    if best_sandbox.contained is not True:
        pytest.skip("no sandbox is started ahead where it is not one of bubblewrap")
    evaluator = ProgramEvaluator(task_of(tmp_path / "task", SCORER, seed=SEED, deterministic=True), best_sandbox)
    evaluator.keep(SLOT)
    assert [label for label, _ in launched] == [AHEAD, AHEAD]
    assert scores(*[evaluated(evaluator, number) for number in range(2)]) == [0.0, 0.0]
    assert [process.running for _, process in launched] == [False, False, True, True]
    evaluator.release(SLOT)
    assert not any(process.running for _, process in launched)


def test_none_is_started_unless_a_slot_is_served(
    evaluator: ProgramEvaluator, launched: list[tuple[str, SandboxProcess]]
) -> None:
    evaluated(evaluator, 1)
    assert [label for label, _ in launched] == ["main.py"]


def test_an_executor_leaves_neither_scorers_nor_sandboxes(
    evaluator: ProgramEvaluator, launched: list[tuple[str, SandboxProcess]]
) -> None:
    before = set(psutil.Process().children(recursive=True))
    with LocalExecutor(evaluator, (SLOT,)) as executor:
        executor.submit(Request("n", "r", 1, {"main.py": SEED}, 1, "screen"))
        assert len(executor.wait(60.0)) == 1
    assert [label for label, _ in launched] == [AHEAD, AHEAD]
    assert not any(process.running for _, process in launched)
    assert set(psutil.Process().children(recursive=True)) <= before
