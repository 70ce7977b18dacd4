"""The scorer of ``overlap``: exact, scaled exactly, and close to what is published."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import judged, module_of, seed_of, task_of

from prepare.scorer import Invalid

GOOD = json.loads((Path(__file__).parent / "data" / "overlap.json").read_text())
"""51 heights, made for this test: symmetric functions, each improved by linear programs around it, from random starts
and from changes of the best so far."""
HAUGLAND = 0.380927
"""What Haugland published in 2016 for a function of 51 steps."""
SCORER = module_of(task_of("overlap").root / "score.py")


def judge(heights: Any) -> Any:
    return judged("overlap", {"heights": lambda: heights})[0]


def test_the_best_that_was_published_for_51_steps_comes_out_again() -> None:
    known = task_of("overlap").known
    assert known is not None
    score = judge(GOOD)
    assert round(score.value, 6) == HAUGLAND
    assert known.compared(score.value, False, exact=True).startswith("is short of the best known 0.3808753232")


@pytest.mark.parametrize("value", [0.3808753232177187, 0.380876])
def test_the_published_record_equals_itself(value: float) -> None:
    """The exact value of the published function, and the published digits, which are rounded up."""
    known = task_of("overlap").known
    assert known is not None
    assert known.standing(value, maximise=False) == "equals"


def test_the_exact_value_is_that_of_floats_but_for_rounding() -> None:
    h = np.array(GOOD)
    h /= 2 * h.mean()
    assert judge(GOOD).value == pytest.approx(np.correlate(h, 1 - h, "full").max() * 2 / len(h), rel=1e-12)


def test_two_steps_by_hand() -> None:
    """Heights 1 and 0 on [0, 2]: over one another at a shift of one step, 1 * 1 * (step of length 1)."""
    assert SCORER.largest_overlap([1.0, 0.0]) == (Fraction(1), 1)
    assert SCORER.largest_overlap([0.5, 0.5])[0] == Fraction(1, 2)
    assert SCORER.largest_overlap([0.25, 0.25])[0] == Fraction(1, 2)


def test_the_seed_is_worse() -> None:
    known = task_of("overlap").known
    assert known is not None
    (score,) = judged("overlap", vars(seed_of("overlap")))
    assert score.value > 1.004 * known.value


@pytest.mark.parametrize(
    "heights",
    [
        None,
        [],
        [0.5],
        [1.0, 0.0, 0.0],  # scaled to an integral of 1, the first would be 1.5
        [0.0, 0.0],
        [math.nan, 0.5],
        [math.inf, 0.5],
        [-0.1, 1.0],
        [1.1, 0.1],
        [1e-300, 1.0],
        [1, 0],
        [True, 0.5],
        ["0.5", 0.5],
        [0.5] * 1001,
        {"c5": 0.38},
    ],
)
def test_what_is_no_step_function_is_refused(heights: Any) -> None:
    with pytest.raises(Invalid):
        judge(heights)
