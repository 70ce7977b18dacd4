"""Online bin packing: published values come out again, and choices that are no bin have no score."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gallery import TASKS, judged, mean, module_of, seed_of, task_of

from archive.interval import Interval, mean_interval
from prepare.scorer import Invalid

Priority = Callable[[int, Any], Any]


def choosing(priority: Priority) -> Callable[..., Any]:
    """Return the task's own ``choose`` with a heuristic."""
    sys.modules["pack"] = type(sys)("pack")
    vars(sys.modules["pack"])["priority"] = priority
    try:
        return module_of(TASKS / "binpacking" / "online.py").choose  # type: ignore[no-any-return]
    finally:
        del sys.modules["pack"]


def excess(priority: Priority, split: str = "val") -> list[float]:
    return [round(each.value, 2) for each in judged("binpacking", {"choose": choosing(priority)}, split)]


def funsearch_or(item: int, bins: Any) -> Any:
    """FunSearch's step function of the gap for the OR data sets (Nature 2024, figure 5; the values are the paper's)."""
    edges = [2, 3, 5, 7, 9, 12, 15, 21]
    return np.array([4, 3, 2, 1, 0.9, 0.95, 0.97, 0.98, 0.99])[np.searchsorted(edges, bins - item)]


def funsearch_weibull(item: int, bins: Any) -> Any:
    """FunSearch's formula for the Weibull data sets: each bin's value less that of the bin before it."""
    room = bins.astype(float)
    value = (room - room.max()) ** 2 / item + room**2 / item**2 + room**2 / item**3
    value[bins > item] *= -1
    return np.diff(value, prepend=0.0)


@pytest.mark.slow
def test_best_fit_needs_as_many_bins_as_published() -> None:
    assert excess(seed_of("binpacking").priority) == [5.37, 3.98]


def funsearch(item: int, bins: Any) -> Any:
    return funsearch_or(item, bins) if bins[-1] == 150 else funsearch_weibull(item, bins)


@pytest.mark.slow
def test_the_published_heuristics_come_out_again() -> None:
    assert excess(funsearch) == [3.11, 0.68]


@pytest.mark.slow
def test_thresholds_that_were_set_by_hand_reach_the_best_known_value() -> None:
    seed, known = seed_of("binpacking"), task_of("binpacking").known
    vars(seed).update(NEAR=4, FAR=24, ORDER=0, NEAR_100=1, FAR_100=24, ORDER_100=1)
    assert known is not None
    found = mean(judged("binpacking", {"choose": choosing(seed.priority)}))
    assert known.standing(found, maximise=False) == "equals"


@pytest.mark.slow
def test_a_claim_has_enough_cases_to_tell_a_better_heuristic() -> None:
    ours, theirs = excess(seed_of("binpacking").priority, "holdout"), excess(funsearch, "holdout")
    assert len(ours) == 8
    assert np.mean(ours[:4]) == pytest.approx(5.37, abs=0.35)
    assert np.mean(ours[4:]) == pytest.approx(3.98, abs=0.8)  # of 2,000 items, whose last bins weigh more
    found = mean_interval([mine - other for mine, other in zip(ours, theirs, strict=True)])
    assert isinstance(found, Interval)
    assert found.low > 1


@pytest.mark.parametrize(
    "chosen", [[], [0] * 19, 0, None, [-1] * 20, [True] * 20, [0.0] * 20, [10**9] * 20, ["0"] * 20]
)
def test_what_is_no_bin_has_no_score(chosen: Any) -> None:
    with pytest.raises(Invalid):
        judged("binpacking", {"choose": lambda items, bins: chosen})
