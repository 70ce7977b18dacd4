"""A training stopped by its own reports, in a sandbox: an exploded loss."""

from __future__ import annotations

import threading

import pytest

from archive.records import Evaluation, Failed, Request
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator

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


def evaluate(by: AuditedEvaluator, loss: str) -> Evaluation:
    request = Request("node", "run", 0, {"train.py": PROGRAM.format(loss=loss)}, 11, "screen")
    return by.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)


@pytest.mark.slow
def test_an_exploded_loss_stops_the_training(evaluator: AuditedEvaluator) -> None:
    ended = evaluate(evaluator, "2.0 if step < 5 else 50.0")
    assert isinstance(ended, Failed), ended
    assert (ended.outcome, ended.violation) == ("stopped", False)
    assert "the median of its last 20 reported losses is 50" in ended.reason
    assert ended.resources.seconds < 0.9
