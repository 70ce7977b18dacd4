"""What predict computes while it is judged is paid for: beyond an allowance, from the training seconds left over."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from archive.records import Failed
from prepare.language_model import LanguageModelTask
from train.language_model.evaluator import AuditedEvaluator
from train.language_model.predict_sandbox import check_computing
from train.sandbox.abort import Aborted
from train.sandbox.base import find_sandbox


def charge(
    task: LanguageModelTask,
    *,
    trained: float,
    wall: float,
    cpu: float,
    device: str = "cpu",
    threads: int = 1,
    share: float = 1.0,
) -> None:
    limits = dataclasses.replace(task.limits, predict_seconds=3.0)
    sandboxes: Any = SimpleNamespace(
        task=dataclasses.replace(task, seconds=10.0, limits=limits),
        slot=SimpleNamespace(device=device, threads=threads),
        progress=SimpleNamespace(seconds=trained),
    )
    check_computing(sandboxes, wall, cpu, share)


@pytest.mark.parametrize(
    "spent",
    [
        {"trained": 10.0, "wall": 50.0, "cpu": 2.9},  # a busy machine is nobody's fault
        {"trained": 4.0, "wall": 9.0, "cpu": 8.9},  # what training left over may be used
        {"trained": 10.0, "wall": 3.0, "cpu": 5.9, "threads": 2},
        {"trained": 10.0, "wall": 2.9, "cpu": 20.0, "device": "cuda"},
        {"trained": 10.0, "wall": 9.0, "cpu": 8.9, "share": 3.0},
        {"trained": 10.0, "wall": 3.0, "cpu": 2.9, "share": 0.1},
    ],
)
def test_the_allowance_and_what_training_left_over_may_be_used(
    toy_task: LanguageModelTask, spent: dict[str, Any]
) -> None:
    charge(toy_task, **spent)


@pytest.mark.parametrize(
    "spent",
    [
        {"trained": 10.0, "wall": 4.0, "cpu": 3.1},
        {"trained": 10.2, "wall": 4.0, "cpu": 3.1},  # the grace is not paid back
        {"trained": 4.0, "wall": 9.5, "cpu": 9.1},
        {"trained": 10.0, "wall": 3.1, "cpu": 1.0, "device": "cuda"},
        {"trained": 10.0, "wall": 9.0, "cpu": 9.1, "share": 3.0},
        {"trained": 10.0, "wall": 4.0, "cpu": 3.1, "share": 0.1},  # before the first rows: no more than in a screening
    ],
)
def test_training_in_predict_is_timed_out(toy_task: LanguageModelTask, spent: dict[str, Any]) -> None:
    with pytest.raises(Aborted, match="3 s of computing that predict is given") as ended:
        charge(toy_task, **spent)
    assert (ended.value.outcome, ended.value.violation) == ("timed_out", False)


BUSY = """
import time, torch

def train(session):
    session.start()
    while session.remaining() > 0.1: time.sleep(0.01); session.report(step=1, loss=1.0)
    return {"table": torch.zeros(256)}

def predict(state, task):
    began = time.process_time()
    def model(tokens):
        while time.process_time() - began < SECONDS: pass
        return state["table"].expand(*tokens.shape, 256)
    return model
"""


@pytest.mark.slow  # launches sandboxes, since the worker says when the first batch is done
@pytest.mark.parametrize(
    ("seconds", "phases"),
    [
        (4.0, {"launch", "rehearse"}),  # more than all training seconds could pay for: before any of them is spent
        (1.8, {"launch", "rehearse", "startup", "train", "check"}),
    ],
)
def test_what_the_first_batch_costs_is_found_before_scoring(
    run_candidate, toy_task: LanguageModelTask, seconds: float, phases: set[str]
) -> None:
    wall = {"startup_seconds": 100.0, "check_seconds": 100.0}  # a busy machine decides nothing
    limits = dataclasses.replace(toy_task.limits, predict_seconds=1.2, rehearsal_seconds=1.0, **wall)
    by = AuditedEvaluator(dataclasses.replace(toy_task, limits=limits), find_sandbox("auto"))
    evaluation = run_candidate(BUSY.replace("SECONDS", str(seconds)), by=by)
    assert isinstance(evaluation, Failed), evaluation
    assert evaluation.outcome == "timed_out"
    assert "predict(), with its first batch alone, took more than the 1.2 s of computing" in evaluation.reason
    assert set(evaluation.resources.phases) == phases
