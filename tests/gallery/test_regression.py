"""The scorer of ``regression``: the planted formulas reach the noise floor, and a text cannot run anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gallery import TASKS, judged, mean, module_of, seed_of, task_of

from prepare.scorer import Invalid
from train.program.scorer_main import generator_of

SCORER = module_of(task_of("regression").root / "score.py")
TEXTS = {
    "wave": "{0}*sin({1}*a) + {2}*b",
    "product": "{0}*a*b + {1}*a**2 - {2}",
    "decay": "{0}*exp(-{1}*a)*cos(b) + {2}",
    "ratio": "{0}*a/(1 + {1}*b**2)",
    "cubic": "{0}*a**3 - {1}*a*b + {2}*b",
}


def answers(split: str) -> dict[bytes, str]:
    """Return the planted formula of each data set, by its targets."""
    rng, found = generator_of(split), {}
    for case in SCORER.cases(split, Recorded(rng, drawn := [])):
        found[case["train"][1].tobytes()] = TEXTS[case["name"].partition("-")[0]].format(*drawn[-1])
    return found


class Recorded:
    """A generator that keeps the coefficients it drew."""

    def __init__(self, rng: np.random.Generator, drawn: list[Any]) -> None:
        self.rng, self.drawn, self.normal = rng, drawn, rng.normal

    def uniform(self, low: float, high: float, size: Any) -> Any:
        made = self.rng.uniform(low, high, size=size)
        if size == 3:
            self.drawn.append(made.tolist())
        return made


@pytest.mark.parametrize("split", ["val", "holdout"])
def test_the_planted_formulas_reach_the_noise_floor(split: str) -> None:
    known, known_answers = task_of("regression").known, answers(split)
    assert known is not None
    scores = judged("regression", {"formula": lambda x, y: known_answers[y.tobytes()]}, split)
    assert known.standing(mean(scores), maximise=False) == "equals"


def test_answers_of_one_split_lose_on_another() -> None:
    by_place = iter([*answers("val").values()])
    assert mean(judged("regression", {"formula": lambda x, y: next(by_place)}, "holdout")) > 2


def test_the_seed_is_far_from_the_floor() -> None:
    assert 2 < mean(judged("regression", vars(seed_of("regression")))) < 20


def test_an_undefined_formula_gets_the_worst_error() -> None:
    assert mean(judged("regression", {"formula": lambda x, y: "log(a - 5)"})) == SCORER.WORST
    cheat = module_of(TASKS / "regression" / "cheats" / "undefined_outside.py")
    for score in judged("regression", {"formula": cheat.formula}):
        assert score.metrics["inside"] < 2
        assert score.metrics["outside"] == SCORER.WORST


@pytest.mark.parametrize(
    "text",
    [
        None,
        1.0,
        "",
        "a b",
        "a = 1",
        "c",
        "a.real",
        "a[0]",
        "open('x')",
        "__import__('os')",
        "(lambda: a)()",
        "a ** b",
        "a ** -1",
        "a ** 7",
        "a ** True",
        "9" * 400,
        "sin(a, b)",
        "sin(x=a)",
        "(" * 900 + "a" + ")" * 900,
        "a" + " + a" * 400,
        "a if a else b",
        "'a'",
        "True",
        "1j",
        "\0",
    ],
)
def test_what_is_no_formula_is_refused(text: Any) -> None:
    with pytest.raises(Invalid):
        judged("regression", {"formula": lambda x, y: text})
