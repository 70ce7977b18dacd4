"""Judgements in stages: where they ask, what the score estimates, what remembering earlier stages is worth."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from test_judgement import Memory, Remembering

from archive.records import Failed, Landed, Request, Resources, Scored, StageAnswered, Trained
from prepare.language_model import LanguageModelTask
from prepare.scoring import Measure
from train.hardware.slots import make_slots
from train.language_model.evaluator import AuditedEvaluator
from train.language_model.judgement import PositionSet, secret_positions
from train.language_model.predict_sandbox import PredictSandbox
from train.language_model.stages import in_stages
from train.sandbox.base import NoSandbox

KEY, WINDOWS, CONTEXT = b"k" * 32, 60, 16


def drawn(stages: int, key: bytes = KEY, measure: Measure | None = None) -> tuple[PositionSet, ...]:
    measure = measure or Measure()
    last = secret_positions(key, "text", "holdout", (WINDOWS, CONTEXT), measure)
    return in_stages(last, key, CONTEXT, measure, stages)


# ---------------------------------------------------------------- the positions


@pytest.mark.parametrize("stages", [1, 2, 3, 8, 20])
def test_the_last_stage_is_a_judgement_without_stages_and_none_is_behind_it(stages: int) -> None:
    """So nothing is sent that would not be sent without stages, and no target before its stage is over."""
    sets = drawn(stages)
    last = secret_positions(KEY, "text", "holdout", (WINDOWS, CONTEXT), Measure())
    assert len(sets) == len({each.name for each in sets}) == stages
    assert np.array_equal(sets[-1].positions, last.positions)
    assert (np.diff([each.positions for each in sets], axis=0) >= 0).all()
    assert (stages == 1) == (sets[-1].name == last.name), "scores of one and of several stages are not compared"
    assert [a.positions.tolist() for a in drawn(stages, b"j" * 32)] != [a.positions.tolist() for a in sets]


@pytest.mark.slow
@pytest.mark.parametrize("stages", [2, 5, 12])
def test_the_score_is_unbiased(stages: int) -> None:
    """Also with special tokens, which are never asked, and in windows that have few targets that count, or none."""
    rng = np.random.default_rng(2)
    lengths = np.where(np.arange(40) < 10, 0, rng.integers(1, 9, 40))
    rows = np.where(rng.random((WINDOWS, CONTEXT + 1)) < np.linspace(0, 1.0, WINDOWS)[:, None], 3, 20).astype(np.uint16)
    measure, log_probs = Measure.of(rows, lengths), -rng.exponential(2.0, (WINDOWS, CONTEXT)) - np.arange(CONTEXT)
    assert measure.counted is not None
    wanted, estimates = float(measure.only_counted(log_probs).mean()), []
    for number in range(600):
        sets = drawn(stages, number.to_bytes(32, "little"), measure)
        at = [(np.arange(WINDOWS), each.positions) for each in sets]
        assert all((measure.counted[a] | (each.weights == 0)).all() for a, each in zip(at, sets, strict=True))
        estimates.append(sum(float((each.weights * log_probs[a]).mean()) for a, each in zip(at, sets, strict=True)))
    assert np.mean(estimates) == pytest.approx(wanted, abs=4 * np.std(estimates) / math.sqrt(len(estimates)))


def test_more_stages_leave_a_smaller_error() -> None:
    difference, found = np.random.default_rng(3).normal(size=(WINDOWS, CONTEXT)), {}
    for stages in (1, 8):
        sets = [drawn(stages, number.to_bytes(32, "little")) for number in range(300)]
        at = np.arange(WINDOWS)
        found[stages] = np.std([sum((s.weights * difference[at, s.positions]).mean() for s in each) for each in sets])
    assert found[8] < 0.6 * found[1]


def test_stages_are_chosen_where_windows_are_few(toy_task: LanguageModelTask) -> None:
    task = replace(toy_task, claim_windows=3000)
    assert task.stages_for(40) == 1, "unless the task leaves it open, one"
    left_open = replace(task, claim_stages=None)
    assert [left_open.stages_for(windows) for windows in (3000, 2999, 1200, 10)] == [1, 2, 3, 8]
    with pytest.raises(ValueError, match=r"task\.claim_stages is 0"):
        replace(task, claim_stages=0)


@pytest.mark.parametrize("windows", [None, 20])
def test_both_looks_have_the_stages_of_their_own_windows(toy_task: LanguageModelTask, windows: int | None) -> None:
    task = replace(toy_task, claim_windows=windows, claim_stages=3)
    evaluator = AuditedEvaluator(task, NoSandbox(), memory_groups=False)
    request = Request("node", "run", 0, {}, 11, "report", position_key=KEY)
    looks = [evaluator.judged(replace(request, look=look)) for look in (1, 2)]
    assert len({stage.name for text in looks for stage in text.stages}) == 6
    for look, text in enumerate(looks, 1):
        alone = evaluator.judged(replace(request, look=look, text_shown=True))
        assert np.array_equal(alone.chosen.positions, text.chosen.positions)
        assert all(len(stage.positions) == len(text.windows) for stage in text.stages)
        assert (np.diff([stage.positions for stage in text.stages], axis=0) >= 0).all()


# ---------------------------------------------------------------- states that remember everything


@pytest.fixture
def in_four(toy_task: LanguageModelTask) -> AuditedEvaluator:
    return AuditedEvaluator(replace(toy_task, claim_stages=4), NoSandbox(), memory_groups=False)


@pytest.fixture
def answer(in_four: AuditedEvaluator, monkeypatch: pytest.MonkeyPatch):
    """``answer(state, memory)``: the next stage of a state, whose sandboxes know all that any sandbox was sent."""

    def run(state: Trained, memory: Memory | None) -> Landed:
        @contextlib.contextmanager
        def opened(*_: object, **__: object) -> Iterator[Remembering]:
            yield Remembering(memory)

        monkeypatch.setattr(PredictSandbox, "opened", opened)
        request, slot = replace(state.request, seal=False, position_key=KEY, trained=state), make_slots(1)[0]
        landed = in_four.evaluate(request, slot, threading.Event(), lambda phase, share, loss=None: None)
        for prefix in memory.later if memory else ():
            memory.remember(prefix)  # type: ignore[union-attr]
        return landed

    return run


def sealed(evaluator: AuditedEvaluator, number: int) -> Trained:
    program = "def train(session): ...\ndef predict(state, task): ...\n"
    return Trained(
        request=Request("node", "run", number, {"train.py": program}, 11, "report", seal=True),
        conditions=evaluator.conditions(make_slots(1)[0]), resources=Resources(1.0), trust="audited", sandbox="none",
        device="cpu", started_at=0.0, finished_at=1.0, state=b"",
    )  # fmt: skip


def after(state: Trained, landed: Landed) -> Trained:
    assert isinstance(landed, StageAnswered), landed
    assert landed.stage == len(state.answers)
    return replace(state, answers=(*state.answers, landed.answers))


def score_of(landed: Landed) -> float:
    assert isinstance(landed, Scored), landed
    assert landed.metrics["stages"] == 4
    return landed.score


def alone(answer, state: Trained, memory: Memory | None) -> float:
    """The score of a state that is asked all stages before any other one is."""
    for _ in range(3):
        state = after(state, answer(state, memory))
    return score_of(answer(state, memory))


def test_what_a_state_remembers_of_a_stage_is_worth_nothing_in_it(answer, in_four: AuditedEvaluator) -> None:
    """Each prefix holds the targets of the stages before. Everybody has answered these, so nobody gains by them."""
    states, memory = [sealed(in_four, number) for number in range(3)], Memory()
    honest = alone(answer, states[0], None)
    for _ in range(3):
        states = [after(state, answer(state, memory)) for state in states]
    together = [score_of(answer(state, memory)) for state in states]
    assert min(together) > honest - 0.1, (together, honest)
    out_of_order = Memory()
    first, second = (alone(answer, sealed(in_four, number), out_of_order) for number in (3, 4))
    assert second < first - 1.0, "what the order of the stages prevents"


def test_a_judgement_whose_stages_have_changed_is_refused(answer, in_four: AuditedEvaluator) -> None:
    state = sealed(in_four, 0)
    state = after(state, answer(state, None))
    other = replace(state, answers=(replace(state.answers[0], position_set="another"),))
    failed = answer(other, None)
    assert isinstance(failed, Failed)
    assert "claim_stages" in failed.reason


def test_where_the_text_was_shown_before_the_last_stage_is_the_only_one(answer, in_four: AuditedEvaluator) -> None:
    """Also for a state that has answered others: they would mean something else for the other side."""
    state = sealed(in_four, 0)
    shown = replace(state, request=replace(state.request, text_shown=True))
    scored = [answer(shown, None), answer(replace(shown, answers=after(state, answer(state, None)).answers), None)]
    assert all(isinstance(each, Scored) and "stages" not in each.metrics for each in scored)
    assert len({each.windows.position_set for each in scored if isinstance(each, Scored) and each.windows}) == 1
