"""The tasks of agents: the model errs as program.md says, so the value of each known design can be computed."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from gallery import TASKS, judged, module_of

from operators.seed_agents import seed_agents

DOMAINS = ("arithmetic", "extraction")
MODELS = {name: module_of(TASKS / name / "model.py") for name in DOMAINS}
SCORERS = {name: module_of(TASKS / name / "score.py") for name in DOMAINS}
TIMES = 600
DESIGNS = ("asks_once", *seed_agents())


def solve_of(design: str) -> Callable[..., str]:
    text = (TASKS / "arithmetic" / "agent.py").read_text() if design == "asks_once" else seed_agents()[design]
    found: dict[str, Any] = {}
    exec(compile(text, design, "exec"), found)
    solve: Callable[..., str] = found["solve"]
    return solve


@cache
def right(domain: str, design: str, split: str = "val") -> float:
    return float(np.mean([score.value for score in judged(domain, {"solve": solve_of(design)}, split)]))


def rate(domain: str, prompt: str, wanted: str, seed: int = 0) -> float:
    """Return how often the model gives an answer."""
    rng = random.Random(seed)
    return float(np.mean([f"Answer: {wanted}" in MODELS[domain].answer(prompt, rng) for _ in range(TIMES)]))


@pytest.mark.parametrize("steps", [2, 5, 8])
@pytest.mark.parametrize(
    ("told", "slip"), [("", 0.12), ("Think step by step.", 0.05), ("Step by step, with a running total.", 0.03)]
)
def test_the_model_slips_in_each_step_with_the_stated_probability(steps: int, told: str, slip: float) -> None:
    text, answer = SCORERS["arithmetic"].problem(steps, np.random.default_rng(steps))
    expected = (1 - slip) ** steps
    found = rate("arithmetic", f"{text}\n{told}", str(answer))
    assert found == pytest.approx(expected, abs=4 * (expected * (1 - expected) / TIMES) ** 0.5 + 0.01)


def test_a_check_sees_six_of_ten_errors_and_doubts_one_right_answer_in_twenty() -> None:
    text, answer = SCORERS["arithmetic"].problem(2, np.random.default_rng(1))
    ask, rng = MODELS["arithmetic"].answer, random.Random(1)
    for proposed, seen in ((answer + 1, 0.6), (answer, 0.05)):
        prompt = f"{text}\nProposed answer: {proposed}\nCheck it."
        doubted = np.mean(["wrong" in ask(prompt, rng) for _ in range(TIMES)])
        assert doubted == pytest.approx(seen, abs=0.07)


def test_what_was_changed_is_overlooked_always_or_never_until_it_is_asked_for() -> None:
    rng = np.random.default_rng(5)
    seen = set()
    for _ in range(20):
        text, question, answer = SCORERS["extraction"].notes(3, True, rng)
        plain = rate("extraction", f"{text}\n{question} Answer: CITY", answer)
        told = rate("extraction", f"{text}\n{question} Answer: CITY\nMind what is said after all.", answer)
        assert told > 0.8
        seen.add(plain > 0.5)
        assert plain < 0.2 or plain > 0.8
    assert seen == {True, False}


@pytest.mark.parametrize("domain", DOMAINS)
def test_items_are_others_in_each_split_and_the_model_needs_the_item(domain: str) -> None:
    scorer = SCORERS[domain]
    made = [[case["question"] for case in scorer.cases(s, np.random.default_rng(n))] for n, s in enumerate("ab")]
    assert not set(made[0]) & set(made[1])
    assert "Answer:" not in MODELS[domain].answer("hello", random.Random(0))


def test_the_designs_are_worth_in_arithmetic_what_the_rules_say() -> None:
    plain = np.mean([0.88**k for k in range(2, 9)])
    worked = np.mean([0.95**k for k in range(2, 9)])
    assert right("arithmetic", "asks_once") == pytest.approx(plain, abs=0.1)
    assert right("arithmetic", "chain_of_thought") == pytest.approx(worked, abs=0.08)
    assert right("arithmetic", "self_consistency") > worked + 0.1, "errors are independent, so a vote repairs them"
    assert right("arithmetic", "step_back") > worked, "a running total: 3% in each step"


def test_a_vote_does_not_repair_what_is_overlooked_and_the_principle_does() -> None:
    assert right("extraction", "self_consistency") < 0.85
    assert right("extraction", "step_back") > right("extraction", "self_consistency") + 0.05


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_every_known_design_answers_within_the_limits(domain: str, design: str) -> None:
    scores = judged(domain, {"solve": solve_of(design)})
    errors = [score.ending for score in scores if score.ending not in ("right", "wrong")]
    assert len(errors) <= 2
    if design != "asks_once":
        assert right(domain, design) > right(domain, "asks_once") - 0.05
