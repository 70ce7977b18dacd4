"""The rungs and the median rule of ``tests/benchmarks/fidelity.py``: which candidates climb, and which are stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from archive.records import Request

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from budget_tables import CURVE
from fidelity import MedianRule, Rungs


def requests(count: int) -> list[Request]:
    return [Request(f"node{number}", "run", number, {}, number, "screen") for number in range(count)]


def test_the_best_third_of_a_rung_climbs_once() -> None:
    rungs = Rungs((1 / 9, 1 / 3, 1.0), 3)
    scores = [3.0, 1.0, 2.0, 5.0, 0.5, 4.0]
    climbed = []
    for request, score in zip(requests(6), scores, strict=True):
        rungs.land(request, 1 / 9, score)
        while (found := rungs.promote()) is not None:
            climbed.append((found[0].node_id, found[1]))
    assert climbed == [("node1", 1 / 3), ("node4", 1 / 3)]
    assert rungs.promote() is None


def test_the_top_rung_comes_first_and_full_scores_climb_no_further() -> None:
    rungs = Rungs((1 / 2, 1.0), 2)
    for request in requests(4):
        rungs.land(request, 1 / 2, float(request.move))
    for request in requests(2):
        rungs.land(request, 1.0, 9.0)
    assert [rungs.promote(), rungs.promote(), rungs.promote()] == [(requests(2)[0], 1.0), (requests(2)[1], 1.0), None]


def test_a_waiting_candidate_is_placed_among_the_promoted_by_its_rung() -> None:
    rungs = Rungs((1 / 3, 1.0), 3)
    for request, score in zip(requests(3), (10.0, 20.0, 15.0), strict=True):
        rungs.land(request, 1 / 3, score)
    assert rungs.placed("node2", {"node0": 1.0}) is None, "two with both scores are needed"
    assert rungs.placed("node2", {"node0": 1.0, "node1": 3.0}) == pytest.approx(2.0)


def test_the_median_rule_waits_for_its_share_and_for_a_baseline() -> None:
    baseline, slow = np.full(CURVE, 1.0), np.full(CURVE, 1.2)
    assert MedianRule().stop(slow, []) is None
    assert MedianRule().stop(slow, [baseline]) == pytest.approx(0.3)
    assert MedianRule(margin=0.3).stop(slow, [baseline]) is None
