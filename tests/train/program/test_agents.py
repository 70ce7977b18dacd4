"""Agents: the model that a scorer hands on, its limits, and how items end.

Each scorer is a process, since that is where the limits are counted; candidates are functions of this one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scorers import InProcess, task_of

from archive.records import Split
from prepare.known import TaskError
from prepare.model_limits import CandidateLimits, LlmService, ModelLimits
from train.program.model import ModelReply, ModelUnavailable
from train.program.scorer_process import CaseResults, ScorerProcess
from train.sandbox.abort import Aborted

SCORE = """
import prepare

def cases(split, rng):
    for number in range(9):
        yield {"name": f"i{number}", "x": number}

def score(candidate, case):
    attempt = candidate.attempt("solve", case.data["x"], services={"llm": candidate.llm})
    return prepare.graded(attempt, lambda answer: answer == case.data["x"], prepare.number_in)
"""
MODEL = """
def answer(prompt, rng):
    return f"{prompt}, {rng.random()}" if "draw" in prompt else prompt

def other(prompt, rng):
    return "other"
"""
LIMITS = {"item": ModelLimits(calls=2, tokens=100), "candidate": CandidateLimits(calls=12)}

Judge = Callable[..., CaseResults]


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "model.py").write_text(MODEL)
    running: list[ScorerProcess] = []

    def judged(
        solve: Callable[..., Any],
        live: Any = None,
        scripted: str = "model.py",
        seed: int = 1,
        split: Split = "val",
        **limits: Any,
    ) -> CaseResults:
        service = LlmService(scripted=scripted, **{**LIMITS, **limits})
        running.append(ScorerProcess(task_of(tmp_path / "task", SCORE, llm=service), live=live is not None))
        results, candidate = CaseResults(), InProcess({"solve": solve})
        running[-1].judge(split, seed, candidate, results, threading.Event(), live)  # type: ignore[arg-type]
        return results

    yield judged
    for process in running:
        process.close()


def endings(results: CaseResults) -> list[str | None]:
    return [case.ending for case in results.cases]


def test_items_end_right_wrong_or_in_an_error_that_is_told_apart(judge: Judge) -> None:
    def solve(x: int, llm: Callable[[str], str]) -> Any:
        if x == 1:
            return None
        if x == 2:
            return "none"
        if x == 3:
            return [llm("a") for _ in range(3)]
        if x == 4:
            raise Aborted("timed_out", "solve() did not end within 1 s")
        if x == 5:
            raise Aborted("out_of_memory", "too much")
        if x == 6:
            raise RuntimeError("a bug")
        return "7" if x == 0 else llm(str(x))

    found = judge(solve)
    assert endings(found) == ["wrong", "empty", "unparsed", "budget", "time", "crashed", "crashed", "right", "right"]
    assert [case.value for case in found.cases] == [0.0] * 7 + [1.0, 1.0]
    assert found.cases[7].metrics == {"calls": 1.0, "tokens": 2.0, "dollars": 0.0}
    assert "limit of calls 2 for one item" in found.cases[3].feedback
    assert "did not end" in found.cases[4].feedback


def test_a_call_over_the_limits_is_refused_and_the_candidate_may_go_on(judge: Judge) -> None:
    def careful(x: int, llm: Callable[[str], str]) -> str:
        with pytest.raises(RuntimeError, match="limit of tokens 100 for one item"):
            llm("x" * 1000)
        return llm(str(x))

    assert set(endings(judge(careful))) == {"right"}
    greedy = judge(lambda x, llm: llm(str(x)) and llm(str(x)))
    assert endings(greedy) == ["right"] * 6 + ["budget"] * 3, "12 calls for one evaluation"


def test_an_agent_whose_first_items_all_fail_is_judged_no_further(judge: Judge) -> None:
    asked = []
    with pytest.raises(Aborted, match=r"first 8 items all ended in an error: 8 empty\."):
        judge(lambda x, llm: asked.append(x))
    assert len(asked) == 8
    with pytest.raises(Aborted) as hidden:
        judge(lambda x, llm: None, split="holdout")
    assert str(hidden.value) == "its first 8 items all ended in an error: 8 empty", "it quotes no item of a holdout"


@pytest.mark.slow
def test_a_scripted_model_errs_independently_and_alike_in_every_run(judge: Judge) -> None:
    said: list[list[str]] = []

    def solve(x: int, llm: Callable[[str], str]) -> str:
        said[-1] += [llm("draw"), llm("draw")]
        return str(x)

    for seed in (1, 1, 2):
        said.append([])
        judge(solve, seed=seed, candidate=CandidateLimits())
    assert said[0] == said[1]
    assert len({*said[0], *said[2]}) == 36
    assert endings(judge(lambda x, llm: f"{llm('a')} {x}", scripted="model.py:other")) == ["right"] * 9


def test_the_drivers_model_answers_and_its_cost_is_counted(judge: Judge) -> None:
    prompts: list[tuple[str, str]] = []

    def live(prompt: str, system: str) -> ModelReply:
        prompts.append((prompt, system))
        return ModelReply(prompt, 40, seconds=0.5, dollars=None if prompt == "8" else 0.01)

    def solve(x: int, llm: Callable[..., str]) -> str:
        return llm(str(x), "be brief")  # the second argument is the system prompt

    found = judge(solve, live, item=ModelLimits(dollars=0.02))
    assert set(endings(found)) == {"right"}
    assert prompts == [(str(x), "be brief") for x in range(9)]
    assert found.cases[0].metrics == {"calls": 1.0, "tokens": 40.0, "dollars": 0.01}
    assert found.cases[8].metrics == {"calls": 1.0, "tokens": 40.0}, "no price is never 0"


def test_seconds_of_the_model_are_a_limit_of_time(judge: Judge) -> None:
    def twice(x: int, llm: Callable[[str], str]) -> str:
        return llm("a") + llm("b") if x else llm("0")

    found = judge(twice, lambda *_: ModelReply("0", 1, seconds=0.5), item=ModelLimits(seconds=0.5))
    assert endings(found) == ["right"] + ["time"] * 8


def test_a_model_that_cannot_be_asked_loses_the_evaluation(judge: Judge) -> None:
    def down(prompt: str, system: str) -> ModelReply:
        raise ModelUnavailable("the service is down")

    with pytest.raises(Aborted, match="cannot be asked: the service is down") as lost:
        judge(lambda x, llm: llm("a"), down)
    assert lost.value.outcome == "lost"


def test_a_live_model_that_nobody_lends_is_an_error_of_the_task(tmp_path: Path) -> None:
    process = ScorerProcess(task_of(tmp_path / "task", SCORE, llm=LlmService()), live=True)
    candidate: Any = InProcess({"solve": lambda x, llm: llm("a")})
    with pytest.raises(TaskError, match="no live one is lent here"):
        process.judge("val", 1, candidate, CaseResults(), threading.Event())
    process.close()
