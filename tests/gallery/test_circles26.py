"""The scorer of ``circles26``: exact on what touches, strict on what overlaps by the last digit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from gallery import judged, seed_of, task_of

from prepare.scorer import Invalid

BEST = json.loads((Path(__file__).parent / "data" / "circles26.json").read_text())
"""Made for this test by random restarts, SLSQP, and a linear program for the radii, which are then shrunk by 1e-12."""


def judge(circles: Any) -> float:
    return judged("circles26", {"pack": lambda n: circles})[0].value


def changed(number: int, place: int, value: Any) -> list[list[Any]]:
    return [[value if (i, j) == (number, place) else x for j, x in enumerate(circle)] for i, circle in enumerate(BEST)]


def test_the_best_known_packing_gets_its_value() -> None:
    known = task_of("circles26").known
    assert known is not None
    assert known.standing(judge(BEST), maximise=True) == "equals"


def test_the_seed_scores_below() -> None:
    (score,) = judged("circles26", vars(seed_of("circles26")))
    assert 1.5 < score.value < 2.6
    assert score.certificate is not None
    assert "touch nothing" in score.feedback


def test_an_overlap_of_a_billionth_is_refused() -> None:
    """Verifiers in the field allow 1e-6."""
    grown = [[x, y, r * (1 + 1e-9)] for x, y, r in BEST]
    with pytest.raises(Invalid, match=r"overlap|not inside"):
        judge(grown)


@pytest.mark.parametrize(
    "circles",
    [
        None,
        [],
        BEST[:25],
        [*BEST, BEST[0]],
        changed(3, 2, math.nan),
        changed(3, 2, math.inf),
        changed(3, 2, True),
        changed(3, 2, "0.1"),
        changed(3, 2, 1),
        changed(3, 2, -0.1),
        changed(3, 0, 1.5),
        {"sum_radii": 2.7},
        [*BEST[:25], BEST[24]],
    ],
)
def test_what_is_no_packing_is_refused(circles: Any) -> None:
    with pytest.raises(Invalid):
        judge(circles)
