"""An evaluation for a claim in parts, with real sandboxes: trained and sealed, then judged from the state in stages."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from archive.records import Failed, Landed, Request, Scored, StageAnswered, Trained
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator

KEY = bytes(32)


def evaluated(evaluator: AuditedEvaluator, request: Request) -> Landed:
    return evaluator.evaluate(request, make_slots(1)[0], threading.Event(), lambda phase, share, loss=None: None)


@pytest.mark.slow
def test_the_parts_give_what_the_whole_gives(evaluator: AuditedEvaluator, toy_seed: str) -> None:
    forks = evaluator._forks
    evaluator = AuditedEvaluator(replace(evaluator.task, claim_stages=2), evaluator.sandbox)
    evaluator._forks = forks
    whole_request = Request("node", "run", 0, {"train.py": toy_seed}, 11, "report", position_key=KEY)
    whole = evaluated(evaluator, whole_request)
    trained = evaluated(evaluator, replace(whole_request, seal=True, position_key=b""))
    assert isinstance(trained, Trained), trained
    assert not {"score", "audit"} & trained.resources.phases.keys(), "no text of the split was shown to a sandbox"
    assert trained.metrics["state_bytes"] == len(trained.state)
    answered = evaluated(evaluator, replace(whole_request, trained=trained))
    assert isinstance(answered, StageAnswered), answered
    trained = replace(trained, answers=(answered.answers,))
    judged = evaluated(evaluator, replace(whole_request, trained=trained))
    assert isinstance(whole, Scored), whole
    assert isinstance(judged, Scored), judged
    for part in (answered, judged):
        assert part.resources.phases.keys() == {"launch", "score", "audit"}, "nothing was trained again"
    assert judged.windows is not None
    assert whole.windows is not None
    assert judged.windows.position_set == whole.windows.position_set
    assert judged.score == pytest.approx(whole.score, abs=1e-6)
    assert judged.resources.seconds == trained.resources.seconds, "it decides how long predict may compute"


@pytest.mark.slow
def test_a_training_that_fails_is_no_sealed_one(evaluator: AuditedEvaluator) -> None:
    source = "def train(session):\n    session.start()\n    return 1 / 0\n\ndef predict(state, task): ...\n"
    failed = evaluated(evaluator, Request("node", "run", 0, {"train.py": source}, 11, "report", seal=True))
    assert isinstance(failed, Failed)
    assert failed.outcome == "crashed"
