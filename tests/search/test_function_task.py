"""Tasks that are a function: what it may return and raise, with a language model, in a notebook, in several threads."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from launching import STUB

import prepare
import search
from archive.records import Failed, Request, Scored
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from operators.rewrite.improve import Improve
from prepare.config import SettingsError

PROGRAM = "X = 1.0  # tune: -2..2\n"
ANSWER = "IDEA: halve it\n<<<<<<< SEARCH\nX = 1.0  # tune: -2..2\n=======\nX = 0.5  # tune: -2..2\n>>>>>>> REPLACE\n"


def task(score: Any, **more: Any) -> search.OwnTask:
    return search.OwnTask(score, PROGRAM, **{"direction": "minimise", **more})


def first(own: search.OwnTask) -> Any:
    """The evaluation of the seed."""
    with search.Search(own, operators="tune", budget=2) as s:
        request = s.ask()
        assert request is not None
        return s.evaluate(request)


@pytest.mark.parametrize(
    "returned",
    [
        {"score": 0.5, "seconds": np.float32(0.25), "feedback": "the left edge is free"},
        {"loss": 0.5, "seconds": 0.25, "feedback": "the left edge is free"},
        prepare.Score(0.5, {"seconds": 0.25}, "the left edge is free"),
    ],
)
def test_metrics_and_feedback_beside_a_score(returned: Any) -> None:
    evaluation = first(task(lambda request: returned, metric="loss"))
    assert isinstance(evaluation, Scored)
    assert (evaluation.score, evaluation.metrics) == (0.5, {"seconds": 0.25})
    assert [case.feedback for case in evaluation.cases] == ["the left edge is free"]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ({"speed": 1.0}, "a mapping with 'speed'; expected the score as 'loss' or 'score', once"),
        ({"loss": 1.0, "score": 2.0}, "expected the score as 'loss' or 'score', once"),
        ({"score": 1.0, "seconds": "fast"}, "'fast' as metric 'seconds'; expected a finite number"),
        ({"score": 1.0, "seconds": float("nan")}, "as metric 'seconds'"),
        ({"score": True}, "returned True; expected a finite number"),
        (prepare.Score(1.0, certificate={"at": {1, 2}}), "the certificate is no JSON value"),
    ],
)
def test_what_is_no_score_is_invalid_with_a_reason(returned: Any, reason: str) -> None:
    evaluation = first(task(lambda request: returned, metric="loss"))
    assert isinstance(evaluation, Failed)
    assert evaluation.outcome == "invalid"
    assert reason in evaluation.reason


def test_what_a_function_raises() -> None:
    def leaves(request: Request) -> float:
        sys.exit(3)

    def refuses(request: Request) -> float:
        raise prepare.Invalid("circle 3 overlaps 7")

    def interrupted(request: Request) -> float:
        raise KeyboardInterrupt

    left, refused = first(task(leaves)), first(task(refuses))
    assert (left.outcome, left.reason) == ("crashed", "SystemExit: 3")
    assert (refused.outcome, refused.reason) == ("invalid", "circle 3 overlaps 7")
    with pytest.raises(KeyboardInterrupt):
        first(task(interrupted))


def test_a_claims_feedback_is_not_kept() -> None:
    with search.Search(task(lambda request: {"score": 0.5, "feedback": request.purpose}), budget=2) as s:
        request = s.ask()
        assert request is not None
        for purpose, cases in (("screen", 1), ("confirm", 0), ("report", 0)):
            asked = Request(request.node_id, request.run, request.move, request.files, 5, purpose)  # type: ignore[arg-type]
            assert len(s.evaluate(asked).cases) == cases  # type: ignore[union-attr]


def test_both_spellings_of_a_direction() -> None:
    assert task(lambda request: 1.0, direction="maximize").task.metric.direction == "maximise"
    assert task(lambda request: 1.0, direction="minimize").settings["metric"]["direction"] == "minimise"


def test_a_seed_that_does_not_parse_is_refused_at_the_start() -> None:
    broken = search.OwnTask(lambda request: 1.0, "X = (\n", direction="minimise")
    with pytest.raises(SettingsError, match=r"the seed program train.py does not parse"):
        search.Search(broken, operators="tune", budget=2)


def asked_model(own: search.OwnTask) -> Scripted:
    """A search with a scripted model as its only operator."""
    model = Scripted([ANSWER] + ["nonsense"] * 40)
    meter = Meter(model, max_dollars=1.0, max_tokens=10**6, record=[].append)
    with search.Search(own, "greedy", operators=[Improve(meter)], budget=5, claim=False) as s:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        assert len(s.tree) == 2
    return model


def test_a_model_is_told_the_instructions_and_the_feedback_inside_a_running_loop() -> None:
    async def notebook() -> Scripted:
        own = task(lambda request: {"score": 0.5, "feedback": "too wide"}, instructions="Lower X.", deterministic=True)
        return asked_model(own)

    text = asyncio.run(notebook()).prompts[0].text
    assert "Lower X." in text
    assert "too wide" in text
    assert "A function of the person who runs this search" in text


def test_a_deterministic_function_with_feedback_is_verified_by_repetition() -> None:
    def score(request: Request) -> dict[str, object]:
        values: dict[str, float] = {}
        exec(request.files["train.py"], values)
        return {"score": abs(values["X"]), "feedback": "nearer to zero"}

    with search.Search(task(score, deterministic=True), operators="tune", budget=12) as s:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        assert "both scores came out again exactly" in s.summary()


def test_threads_share_the_slots_of_a_search() -> None:
    overrides = [*STUB, "task.seconds=0.01", "executor.slots=2"]
    with search.Search("shakespeare", operators="numeric", overrides=overrides, budget=6, claim=False) as s:
        with s._slot() as one, s._slot() as other, ThreadPoolExecutor(1) as pool:
            assert {one.index, other.index} == {0, 1}
            waiting = pool.submit(s._free.get)
            assert not waiting.done()
            s._free.put(one)
            assert waiting.result(timeout=250) is one
        requests = [request for request in (s.ask(2), s.ask(1)) if request is not None]
        assert len(requests) == 2
        with ThreadPoolExecutor(2) as pool:
            for evaluation in pool.map(s.evaluate, requests):
                s.tell(evaluation)


def test_functions_run_at_the_same_time_without_slots() -> None:
    with search.Search(task(lambda request: 0.5), budget=2) as s, s._slot() as one, s._slot() as other:
        assert one is other
