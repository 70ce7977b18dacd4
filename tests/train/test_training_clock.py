"""The budget of a CPU slot is CPU seconds of all processes and threads, and the session's clock tells the same time.

Sandboxes are launched, since what is counted is what the kernel counts for them: with a memory group, and without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archive.records import Evaluation, Failed, Scored
from prepare.language_model import LanguageModelTask
from train.hardware.slots import Slot
from train.language_model.evaluator import AuditedEvaluator

PROGRAMS = Path(__file__).parents[1] / "attacks" / "candidates"
TEMPLATE = """
import os, signal, threading, time
import torch

def burn(seconds):
    began = time.thread_time()
    while time.thread_time() < began + seconds:
        pass

def child(work, *, orphan=False):
    if (pid := os.fork()) == 0:
        if not orphan or os.fork() == 0:
            work()
        os._exit(0)
    return pid

def train(session):
    {before}
    data = session.start().long()
    table = torch.bincount(256 * data[:-1] + data[1:], minlength=256 * 256).view(256, 256)
    {begin}
    began = time.monotonic()
    while {goes_on}:
        {work}
    session.report(step=1, loss=session.elapsed())
    {end}
    return {{"table": (table + 0.1).log()}}

def predict(state, task):
    return lambda tokens: state["table"][tokens]
"""

WAYS: Mapping[str, Mapping[str, str]] = {
    "its own": {"work": "burn(0.01)"},
    "a thread": {
        "begin": "threading.Thread(target=burn, args=(600,), daemon=True).start()",
        "work": "time.sleep(0.01)",
    },
    "a child that lives": {
        "begin": "pid = child(lambda: burn(600))",
        "work": "time.sleep(0.01)",
        "end": "os.kill(pid, 9)",
    },
    "children that live for a moment": {"work": "os.waitpid(child(lambda: burn(0.005)), 0)"},
    "orphans that live for a moment": {
        "work": "os.waitpid(child(lambda: burn(0.005), orphan=True), 0); time.sleep(0.01)"
    },
    "children that nobody waits for": {
        "before": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
        "begin": "pids = []",
        "work": "pids.append(child(lambda: burn(0.005))); time.sleep(0.01)\n"
        "        if len(pids) > 20: [reaped(pid) for pid in pids]; pids.clear()",
    },
}
REAPED = """
def reaped(pid):
    try: os.waitpid(pid, 0)
    except ChildProcessError: pass
"""


def program(way: str, goes_on: str) -> str:
    parts = {"before": "pass", "begin": "pass", "end": "pass", **WAYS[way]}
    return REAPED + TEMPLATE.format(goes_on=goes_on, **parts)


KERNEL, WATCH = "kernel", "watch"
IN_CI = (
    *((KERNEL, "orphans that live for a moment"), (WATCH, "a child that lives")),
    *((WATCH, "children that live for a moment"), (WATCH, "orphans that live for a moment")),
)
"""What is counted in different places: the kernel counts all of them in one, a sum over processes does not."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("by", "way"),
    [
        pytest.param(by, way, marks=() if (by, way) in IN_CI else pytest.mark.nightly)
        for by in (KERNEL, WATCH)
        for way in WAYS
    ],
)
def test_the_session_tells_the_time_that_is_enforced(
    run_candidate: Any, toy_task: LanguageModelTask, evaluator: AuditedEvaluator, by: str, way: str
) -> None:
    """The kernel counts the CPU time of sandboxes, or the evaluator sums it over their processes."""
    if by == KERNEL and evaluator.groups is None:
        pytest.skip("no memory group can be made here")
    counted = AuditedEvaluator(toy_task, evaluator.sandbox, memory_groups=by == KERNEL)
    evaluation: Evaluation = run_candidate(program(way, "session.elapsed() < 0.6"), by=counted)
    assert isinstance(evaluation, Scored), evaluation
    (point,) = evaluation.curve
    assert point.loss == pytest.approx(point.elapsed, abs=0.3), (
        "a check is a tenth of a second old, and messages take time"
    )
    assert 0.6 <= point.loss < 0.9
    assert evaluation.resources.cpu_seconds > 0.55


ATTACKS = ("trains_in_orphans", "trains_in_short_lives", "trains_in_threads")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["trains_in_orphans", *(pytest.param(n, marks=pytest.mark.nightly) for n in ATTACKS[1:])]
)
def test_who_computes_longer_is_late_without_a_memory_group_too(
    run_candidate: Any, toy_task: LanguageModelTask, evaluator: AuditedEvaluator, name: str
) -> None:
    """With one: ``tests/attacks``."""
    watching = AuditedEvaluator(toy_task, evaluator.sandbox, memory_groups=False)
    evaluation: Evaluation = run_candidate((PROGRAMS / f"{name}.py").read_text(), by=watching)
    assert isinstance(evaluation, Failed)
    assert "the state had not arrived when the 1 s of training" in evaluation.reason
    assert 1.0 < evaluation.resources.seconds < 1.5


def by_clock(task: LanguageModelTask, evaluator: AuditedEvaluator, clock: Any) -> AuditedEvaluator:
    return AuditedEvaluator(dataclasses.replace(task, clock=clock), evaluator.sandbox)


WAITS = TEMPLATE.format(
    before="pass", begin="time.sleep(2)", goes_on="session.remaining() > 0", work="pass", end="pass"
)


@pytest.mark.slow
def test_waiting_costs_a_fraction_by_the_cpu_clock(
    run_candidate: Any, toy_task: LanguageModelTask, evaluator: AuditedEvaluator
) -> None:
    """As a program does whose core a neighbour has: it still gets its second of training."""
    evaluation: Evaluation = run_candidate(WAITS, by=by_clock(toy_task, evaluator, "cpu"))
    assert isinstance(evaluation, Scored), evaluation
    assert evaluation.resources.phases["train"] > 2.0
    assert evaluation.resources.seconds <= 1.05


@pytest.mark.slow
def test_waiting_costs_all_by_the_wall_clock(
    run_candidate: Any, toy_task: LanguageModelTask, evaluator: AuditedEvaluator
) -> None:
    evaluation: Evaluation = run_candidate(WAITS, by=by_clock(toy_task, evaluator, "wall"))
    assert isinstance(evaluation, Failed)
    assert evaluation.reason.endswith("were over")


@pytest.mark.slow
def test_who_only_waits_is_late(run_candidate: Any, evaluator: AuditedEvaluator) -> None:
    evaluation: Evaluation = run_candidate(WAITS.replace("time.sleep(2)", "time.sleep(600)"), by=evaluator)
    assert isinstance(evaluation, Failed)
    assert "or wall seconds / 5 if that is more" in evaluation.reason
    assert evaluation.resources.cpu_seconds < 20.0


CPU, GPU = Slot(0, "cpu", None, (0,), 1), Slot(0, "mps", None, (), 1)


def test_scores_of_different_clocks_have_different_conditions(
    toy_task: LanguageModelTask, evaluator: AuditedEvaluator
) -> None:
    tags = {clock: by_clock(toy_task, evaluator, clock).conditions(CPU).hardware for clock in (None, "cpu", "wall")}
    assert tags[None] == tags["cpu"] == f"{tags['wall']} / CPU time"
    assert evaluator.conditions(GPU).hardware == by_clock(toy_task, evaluator, "wall").conditions(GPU).hardware


def test_the_clock_of_a_device(toy_task: LanguageModelTask) -> None:
    assert [toy_task.clock_on(device) for device in ("cpu", "cuda", "mps")] == ["cpu", "wall", "wall"]
    with pytest.raises(ValueError, match=r"task\.clock is cpu, and the device is cuda, whose work takes no CPU time"):
        dataclasses.replace(toy_task, clock="cpu").clock_on("cuda")
    with pytest.raises(ValueError, match=r"task\.clock is 'sun'; expected cpu, wall, or null"):
        dataclasses.replace(toy_task, clock="sun")  # type: ignore[arg-type]
