"""Honest programs that are written in an unusual way: each must be scored, and agree with its audit.

    pytest tests/attacks/test_honest.py -k bfloat16

They are the counterpart of the attacks: an evaluator that refuses everything would stop every attack, too.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from archive.records import Scored
from prepare.language_model import LanguageModelTask
from train.language_model.evaluator import AuditedEvaluator

PROGRAMS = Path(__file__).parent / "honest"
IN_CI = {"ngrams", "bfloat16", "data_loader", "just_small_enough"}
"""The slow tier's: numbers of three digits, workers, a state at its limits. Rows of any length: in a claim, below.

The other models are run at night: an evaluator sees nothing of a program but its state and its logits.
"""
CLAIMS_AT_NIGHT = ("compiled", "padded", "recurrent", "sliding_window")
SECONDS = {"spawned_loader": 60.0}  # its workers import torch; it ends early
LEARNED = 7.0
"""Bits per byte that each reaches in its time, on a busy machine too: a constant answer gives 8."""


def parameters() -> list[object]:
    names = sorted(path.stem for path in PROGRAMS.glob("*.py"))
    return [pytest.param(name, marks=marks(name)) for name in names]


def marks(name: str) -> pytest.MarkDecorator:
    return pytest.mark.slow if name in IN_CI else pytest.mark.nightly


@pytest.fixture(scope="module")
def patient(toy_task: LanguageModelTask) -> LanguageModelTask:
    """The toy task, with time for compilers and for a busy machine everywhere but in training."""
    limits = dataclasses.replace(
        toy_task.limits,
        startup_seconds=180.0,
        check_seconds=120.0,
        score_seconds=120.0,
        audit_seconds=120.0,
        memory_mb=4000,
    )
    return dataclasses.replace(toy_task, limits=limits)


@pytest.mark.parametrize("name", parameters())
def test_an_unusual_program_is_scored(
    run_candidate, patient: LanguageModelTask, evaluator: AuditedEvaluator, name: str
) -> None:
    """And audited as a leader is, at more positions than there are rows."""
    task = dataclasses.replace(patient, seconds=SECONDS.get(name, 2.0))
    by = AuditedEvaluator(task, evaluator.sandbox)
    evaluation = run_candidate((PROGRAMS / f"{name}.py").read_text(), by=by, leader_score=64.0)
    assert isinstance(evaluation, Scored), (evaluation.reason, evaluation.log[-2000:])
    assert evaluation.audit is not None
    assert evaluation.audit.k == task.audit_screen + task.audit_claim
    assert evaluation.audit.worst <= task.audit_tolerance
    assert evaluation.score < LEARNED
    assert evaluation.curve
    assert np.isfinite([point.loss for point in evaluation.curve]).all()


STARTS = {"fork": "os.fork()", "compile": "return torch.compile(lambda tokens: state['table'][tokens] * 2)"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", pytest.param("compile", marks=pytest.mark.nightly)])
def test_that_predict_may_start_no_process_is_said_before_any_budget_is_spent(
    run_candidate, patient: LanguageModelTask, evaluator: AuditedEvaluator, toy_seed: str, way: str
) -> None:
    """Also by what looks as harmless as torch.compile, which calls a compiler."""
    limits = dataclasses.replace(patient.limits, rehearsal_seconds=0.5)
    by = AuditedEvaluator(dataclasses.replace(patient, limits=limits), evaluator.sandbox)
    begin = "def predict(state, task):\n"
    evaluation = run_candidate("import os\n" + toy_seed.replace(begin, f"{begin}    {STARTS[way]}\n"), by=by)
    assert evaluation.outcome == "crashed"
    assert "predict may start no process, and open no pipe or socket: leave torch.compile" in evaluation.reason
    assert "before any training time was spent" in evaluation.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["own_windows", *(pytest.param(name, marks=pytest.mark.nightly) for name in CLAIMS_AT_NIGHT)],
)
def test_an_unusual_program_is_judged_in_a_claim(
    run_candidate, patient: LanguageModelTask, evaluator: AuditedEvaluator, name: str
) -> None:
    """In rows of several lengths, on which the computation of these depends."""
    by = AuditedEvaluator(dataclasses.replace(patient, seconds=2.0), evaluator.sandbox)
    evaluation = run_candidate((PROGRAMS / f"{name}.py").read_text(), by=by, purpose="report")
    assert isinstance(evaluation, Scored), (evaluation.reason, evaluation.log[-2000:])
    assert evaluation.windows is not None
    assert evaluation.score < LEARNED + 0.5
