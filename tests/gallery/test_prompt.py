"""The prompt task: the stated rules hold, the best prompt is known, and a rule that fits by accident loses later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from gallery import TASKS, cheats_of, judged, mean, module_of, task_of

SCORER = module_of(TASKS / "prompt" / "score.py")
HEAD = "Teams: billing, delivery, account, technical\nWork step by step.\n"
RULES = [f"{cue} -> {SCORER.TEAM_OF[cue]}" for cue in SCORER.CUES]
OTHERWISE = [rule for rule in RULES if not rule.startswith(("refund", "receipt"))] + ["otherwise -> billing"]
"""The best of all choices among the rules of the twelve words, with and without `otherwise`; all were tried once."""
ACCIDENTAL = [f"{word} -> {team}" for team, word in SCORER.GREETINGS.items()]


def right(prompt: str, split: str = "val") -> float:
    return mean(judged("prompt", {}, split, files={"prompt.txt": prompt.encode()}))


def prompt_of(rules: Sequence[str]) -> str:
    return HEAD + "\n".join(rules)


def test_the_seed_leaves_room() -> None:
    assert 0.5 < right((TASKS / "prompt" / "prompt.txt").read_text()) < 0.7


def test_the_order_of_the_rules_matters() -> None:
    assert right(prompt_of(RULES)) == pytest.approx(1 - 0.08, abs=0.01)
    assert right(prompt_of(RULES[::-1])) < right(prompt_of(RULES)) - 0.05


def test_the_best_choice_of_rules_equals_the_known_value() -> None:
    known = task_of("prompt").known
    assert known is not None
    assert known.standing(right(prompt_of(OTHERWISE)), maximise=True) == "equals"


def test_a_rule_that_fits_by_accident_wins_on_val_and_loses_later() -> None:
    assert right(prompt_of(ACCIDENTAL)) > right(prompt_of(RULES))
    for split in ("select", "holdout"):
        assert right(prompt_of(ACCIDENTAL), split) < 0.4 < 0.9 < right(prompt_of(RULES), split)


@pytest.mark.parametrize(
    ("prompt", "slip"),
    [
        ("", 0.12),
        ("Think STEP by step", 0.06),
        (HEAD, 0.04),
        (prompt_of(RULES[:8]), 0.04),
        (prompt_of(RULES), 0.08),
        (prompt_of(RULES + RULES), 0.08),
        (" " * 899, 0.12),
        (" " * 900, 0.14),
    ],
)
def test_the_model_slips_as_stated(prompt: str, slip: float) -> None:
    assert SCORER.Model(prompt).slip == pytest.approx(slip)


def test_the_first_rule_that_fits_decides() -> None:
    model = SCORER.Model("parcel -> delivery\n- Refund -> billing\notherwise -> account")
    assert model.answer("the refund of a parcel", 0.5) == "delivery"
    assert model.answer("a refund, please", 0.5) == "billing"
    assert model.answer("good morning", 0.5) == "account"
    assert model.answer("a refund, please", 0.01) == "delivery"
    assert SCORER.Model("refund").answer("refund", 0.5) == "I do not know"


@pytest.mark.parametrize("path", cheats_of("prompt"), ids=lambda path: path.stem)
def test_its_cheats_are_worse_than_the_seed(path: Path) -> None:
    assert right(path.read_text()) < 0.5


def test_an_empty_prompt_is_right_nowhere() -> None:
    assert right("") == 0.0
