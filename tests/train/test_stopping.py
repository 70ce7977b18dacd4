"""Trainings stopped by their own reports, in a sandbox: an exploded loss, and a run far behind the baseline."""

from __future__ import annotations

import threading

import pytest

from archive.records import CurvePoint, Evaluation, Failed, Purpose, Request, Scored
from prepare.language_model import LanguageModelTask
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox.base import find_sandbox

pytestmark = pytest.mark.xdist_group("clock")

PROGRAM = """
import time
import torch

def train(session):
    session.start()
    step = 0
    while session.remaining() > 0.2:
        time.sleep(0.05)  # a fifth of it counts
        session._reported_at = -1.0  # every report is sent
        session.report(step=step, loss={loss})
        step += 1
    return {{"table": torch.zeros(256, 256)}}

def predict(state, task):
    return lambda tokens: state["table"][tokens]
"""
PACE = tuple(CurvePoint(i, 0.1 * i, 1.0) for i in range(1, 10))


def evaluate(
    by: AuditedEvaluator, loss: str, purpose: Purpose = "screen", pace: tuple[CurvePoint, ...] = ()
) -> Evaluation:
    request = Request("node", "run", 0, {"train.py": PROGRAM.format(loss=loss)}, 11, purpose, baseline_pace=pace)
    return by.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)


@pytest.fixture(scope="module")
def strict(toy_task: LanguageModelTask) -> AuditedEvaluator:
    return AuditedEvaluator(toy_task, find_sandbox("auto"), median_rule={"after": 0.3, "margin": 0.1, "window": 0.3})


def test_an_exploded_loss_stops_the_training(evaluator: AuditedEvaluator) -> None:
    ended = evaluate(evaluator, "2.0 if step < 5 else 50.0")
    assert isinstance(ended, Failed), ended
    assert (ended.outcome, ended.violation) == ("stopped", False)
    assert "the median of its last 20 reported losses is 50" in ended.reason
    assert ended.resources.seconds < 0.9


@pytest.mark.slow
def test_a_run_far_behind_is_stopped_when_the_rule_is_on(strict: AuditedEvaluator) -> None:
    ended = evaluate(strict, "1.5", pace=PACE)
    assert isinstance(ended, Failed), ended
    assert ended.outcome == "stopped"
    assert "it is far behind the baseline: it reported a loss of 1.5" in ended.reason
    assert 0.3 <= ended.resources.seconds < 0.9


@pytest.mark.slow
def test_no_run_is_stopped_that_the_rule_is_not_for(evaluator: AuditedEvaluator, strict: AuditedEvaluator) -> None:
    """Off; a claim; the root, and whoever else has no pace; within the margin."""
    assert isinstance(evaluate(evaluator, "1.5", pace=PACE), Scored)
    assert isinstance(evaluate(strict, "1.5", "confirm", pace=PACE), Scored)
    assert isinstance(evaluate(strict, "1.5"), Scored)
    assert isinstance(evaluate(strict, "1.05", pace=PACE), Scored)
