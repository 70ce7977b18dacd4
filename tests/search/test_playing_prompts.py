"""The task ``self/prompts``: prompts whose value is known, since a scripted model answers by stated rules."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gallery import TASKS, StandIn, module_of, task_of
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.languages.parameters import read_parameters
from operators.rewrite.prompt.templates import BUILT_IN
from prepare.scorer import Case, Invalid, Score
from search.playing import prompts
from search.playing.prompts import CANARY, TEMPLATES
from search.playing.situations import PATH, situation
from search.playing.valleys import program, valley
from train.program.model import CountedModel, ScriptedSession

SHIPPED = {name: (BUILT_IN / name).read_text(encoding="utf-8") for name in TEMPLATES}
FORM = "<<<<<<< SEARCH\nold lines\n=======\nnew lines\n>>>>>>> REPLACE"
PLAIN = {
    "system.md": "You improve a program.\n\n{{contract}}",
    "improve.md": "{{source}}\n\n{{knobs}}\n\n{{others}}\n\n{{siblings}}\n\nFirst think. Then answer so:\n\n" + FORM,
    "repair.md": "It cannot be used: {{reason}}. Answer again.",
    "aims.md": "# parameters\nother values of the constants",
}
"""Prompts with all that the model needs, and nothing else: tests of their value hold whatever prompts are shipped."""
MODEL = module_of(TASKS / "self" / "prompts" / "model.py")


def edited(old: str, new: str, name: str = "improve.md") -> dict[str, str]:
    assert old in PLAIN[name]
    return {**PLAIN, name: PLAIN[name].replace(old, new)}


def candidate(templates: Mapping[str, str], asked: list[str] | None = None) -> StandIn:
    """Templates with the scripted model; ``asked`` gets its prompts."""
    service = task_of("self/prompts").llm
    assert service is not None

    def answer(prompt: str, rng: random.Random) -> str:
        if asked is not None:
            asked.append(prompt)
        return str(MODEL.answer(prompt, rng))

    made = StandIn(
        files={name: text.encode() for name, text in templates.items()},
        scripted=lambda key: CountedModel(service, lambda item: ScriptedSession(answer, f"{key}/{item}")),
    )
    made.begin("val", 1)
    return made


def judged(handle: StandIn, count: int, split: Any = "val", parent: float | None = None) -> list[Score]:
    """Scores of the first cases of a split."""
    found = []
    for data in list(prompts.cases(split))[:count]:
        handle.begin_case(data["name"])
        found.append(prompts.score(handle, Case(data["name"], split, data, 1, parent)))  # type: ignore[arg-type]
    return found


def mean(templates: Mapping[str, str], count: int = 24) -> float:
    return sum(score.value for score in judged(candidate(templates), count)) / count


# ---------------------------------------------------------------- the value of a prompt


@pytest.mark.slow
def test_prompts_have_the_value_that_the_rules_give_them() -> None:
    """Better: the largest difference is pointed out. Worse: text that buries all of it."""
    pointed = edited("First think", "First think of the largest difference")
    buried = {**PLAIN, "improve.md": PLAIN["improve.md"] + "\nWhat counts are results." * 400}
    values = [mean(templates) for templates in (pointed, PLAIN, buried)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[0] - values[2] > 0.2


@pytest.mark.slow
def test_each_section_that_the_model_needs_is_worth_something() -> None:
    whole = mean(PLAIN, 120)
    history = edited("{{siblings}}", "-")
    history["improve.md"] = history["improve.md"].replace("{{others}}", "-")
    for less in (history, edited("{{knobs}}", "-")):
        assert whole - mean(less, 120) > 0.05


def test_without_an_example_no_answer_can_be_used_and_eight_in_a_row_end_the_evaluation() -> None:
    bare = edited(FORM, "")
    scores = judged(candidate(bare), 8)
    assert {score.ending for score in scores} == {"unparsed"}
    assert {score.value for score in scores} == {0.0}
    assert "one repair did not help" in scores[0].feedback


def test_a_case_is_right_if_the_true_loss_is_lower_and_wrong_if_it_is_not() -> None:
    scores = judged(candidate(PLAIN), 12)
    for score, words in ((score, score.feedback) for score in scores if score.ending != "unparsed"):
        assert (score.ending, score.value) == (("right", 1.0) if "gained +" in words else ("wrong", 0.5))
    assert {score.ending for score in scores} >= {"right", "wrong"}


# ---------------------------------------------------------------- stages, trust


def test_prompts_that_are_clearly_worse_than_their_parent_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "STAGES", (3, 6))
    scores = judged(candidate(edited("{{siblings}}", "-")), 5, parent=2.0)
    assert [score.metrics["played"] for score in scores] == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert [score.metrics["played"] for score in judged(candidate(PLAIN), 5)] == [1.0] * 5


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("improve.md", "{{source}} {{holdout}}", r"improve\.md: unknown \{\{holdout\}\}; this template may use"),
        ("aims.md", "no heading", "the file has no section"),
        ("system.md", "\udcff", r"system\.md cannot be read as UTF-8"),
    ],
)
def test_templates_that_are_none_are_the_candidates_fault(name: str, text: str, said: str) -> None:
    handle = candidate(PLAIN)
    handle.files = {**handle.files, name: text.encode("utf-8", "surrogateescape")}
    with pytest.raises(Invalid, match=said):
        judged(handle, 1)


def test_the_canary_and_the_optimum_stand_in_no_prompt() -> None:
    asked: list[str] = []
    judged(candidate(SHIPPED, asked), 3)
    assert len(asked) >= 3
    for data in prompts.cases("val"):
        assert (data["canary"], data["trusted"]) == (CANARY, prompts.judging_digest())
    assert not any(CANARY in prompt or "optimum" in prompt for prompt in asked)
    assert not any(CANARY in path.read_text(encoding="utf-8") for path in BUILT_IN.glob("*.md"))


def test_the_workspace_is_the_prompts_that_this_project_uses_and_its_cases_fit_the_stages() -> None:
    task = task_of("self/prompts")
    task.prepare()
    assert task.seed_files() == SHIPPED
    assert prompts.STAGES[-1] == len(list(prompts.cases("val")))
    assert {shape[0] for shape in prompts.SHAPES.values()} == {4, 5, 6}, "no split has programs of another"


# ---------------------------------------------------------------- programs with a known loss


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 8), st.floats(0, 3))
def test_the_optimum_of_a_valley_has_no_loss_but_rounding_and_its_programs_say_their_values(
    seed: int, constants: int, coupling: float
) -> None:
    found = valley(seed, constants, coupling)
    best = {name: found.value(name, place) for name, place in zip(found.low, found.optimum, strict=True)}
    text = program(found, best)
    assert {name: read_parameters(text)[name] for name in best} == best
    assert found.loss_of(text) < 1e-3
    first = next(iter(best))
    assert found.loss({**best, first: 2 * found.high[first]}) == math.inf
    assert found.loss({name: value for name, value in best.items() if name != first}) == math.inf


@settings(max_examples=12)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=2))
def test_a_situation_follows_from_its_key_and_its_parent_is_better_than_the_root(key: list[int]) -> None:
    one, other = situation(4, 0.0, key), situation(4, 0.0, key)
    assert [node.candidate for node in one.tree.nodes] == [node.candidate for node in other.tree.nodes]
    root = one.tree[one.tree.root].candidate.files[PATH]
    assert one.valley.loss_of(one.files[PATH]) < one.valley.loss_of(root)
    assert len(one.tree.failed().nonzero()[0]) == 1


def test_the_path_of_a_template_in_a_temporary_folder_is_in_no_message(tmp_path: Path) -> None:
    handle = candidate({**PLAIN, "aims.md": "nothing"})
    with pytest.raises(Invalid) as refused:
        judged(handle, 1)
    assert "prompts-" not in str(refused.value)
