"""The scorer of ``autocorrelation``: exact, scaled exactly, and close to what is published."""

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

GOOD = json.loads((Path(__file__).parent / "data" / "autocorrelation.json").read_text())
"""141 heights, made for this test: the seed with other numbers, then linear programs around what it returned."""
SCORER = module_of(task_of("autocorrelation").root / "score.py")


def judge(heights: Any) -> Any:
    return judged("autocorrelation", {"heights": lambda: heights})[0]


def test_a_good_function_comes_close_to_the_known_one() -> None:
    known = task_of("autocorrelation").known
    assert known is not None
    score = judge(GOOD)
    assert known.value < score.value < 1.007 * known.value
    assert known.compared(score.value, False, exact=True).startswith("is short of the best known 1.50286")


def test_the_exact_value_is_that_of_floats_but_for_rounding() -> None:
    h = np.array(GOOD)
    assert judge(GOOD).value == pytest.approx(2 * len(h) * np.convolve(h, h).max() / h.sum() ** 2, rel=1e-12)


def test_small_functions_by_hand() -> None:
    """A constant is 2 on an interval of length 1/2; its convolution is a triangle of height 2."""
    assert SCORER.peak([1.0, 1.0]) == (Fraction(2), 2)
    assert SCORER.peak([0.25] * 7)[0] == 2
    assert SCORER.peak([0.0, 3.0]) == (Fraction(4), 3)
    assert SCORER.peak([1.0, 0.0, 1.0]) == (Fraction(3), 3)


def test_the_square_is_that_of_direct_sums() -> None:
    whole = [int(h * 2**40) for h in GOOD]
    direct = [sum(whole[i] * whole[k - i] for i in range(len(whole)) if 0 <= k - i < len(whole)) for k in range(281)]
    assert SCORER.squared(whole) == direct
    assert SCORER.squared([255] * 300)[299] == 300 * 255**2


def test_the_scale_does_not_matter() -> None:
    assert judge([1024 * h for h in GOOD]).value == judge(GOOD).value


def test_the_seed_is_worse() -> None:
    known = task_of("autocorrelation").known
    assert known is not None
    (score,) = judged("autocorrelation", vars(seed_of("autocorrelation")))
    assert 1.02 * known.value < score.value < 1.6


@pytest.mark.parametrize(
    "heights",
    [
        None,
        [],
        [0.5],
        [0.0, 0.0],
        [math.nan, 0.5],
        [math.inf, 0.5],
        [-0.1, 1.0],
        [1e-300, 1.0],
        [1e300, 1.0],
        [1, 0],
        [True, 0.5],
        ["0.5", 0.5],
        [0.5] * 30_001,
        {"peak": 1.4},
    ],
)
def test_what_is_no_step_function_is_refused(heights: Any) -> None:
    with pytest.raises(Invalid):
        judge(heights)
