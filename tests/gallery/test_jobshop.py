"""The scorer of ``jobshop``: optimal schedules of the classic shops, broken ones, and shops that nobody has seen."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from gallery import judged, mean, module_of, seed_of, task_of

from prepare.scorer import Invalid

BEST = json.loads((Path(__file__).parent / "data" / "jobshop.json").read_text())
"""Schedules of the optimal length, found for this test by tabu search over exchanges on critical paths."""
SCORER = module_of(task_of("jobshop").root / "score.py")
NAME_OF = {json.dumps(jobs): name for name, jobs in SCORER.CLASSIC.items()}


def judge(schedules: dict[str, Any]) -> Any:
    return judged("jobshop", {"schedule": lambda jobs: schedules[NAME_OF[json.dumps(jobs)]]})


def test_optimal_schedules_equal_the_known_value() -> None:
    known = task_of("jobshop").known
    assert known is not None
    scores = judge(BEST)
    assert [score.metrics["makespan"] for score in scores] == [55, 930, 666]
    assert known.standing(mean(scores), maximise=False) == "equals"


def test_the_seed_schedules_every_shop() -> None:
    for split in ("val", "holdout"):
        assert 1.05 < mean(judged("jobshop", vars(seed_of("jobshop")), split)) < 1.6


def test_schedules_of_the_classic_shops_are_none_of_the_hidden_ones() -> None:
    with pytest.raises(Invalid):
        judged("jobshop", {"schedule": lambda jobs: BEST["ft06"]}, "holdout")


def moved(job: int, step: int, by: int) -> Any:
    changed = copy.deepcopy(BEST["ft06"])
    changed[job][step] += by
    return changed


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (None, "whole number"),
        ([], "whole number"),
        ([[0] * 6] * 6, "before"),
        ([[0] * 6] * 5, "whole number"),
        (moved(0, 1, -1), "before|has jobs"),
        (moved(0, 0, -1), "whole number|has jobs"),
        ([[t + 0.0 for t in row] for row in BEST["ft06"]], "whole number"),
        ([[-1, *row[1:]] for row in BEST["ft06"]], "whole number"),
        ([[10**7 + t for t in row] for row in BEST["ft06"]], "whole number"),
        ({"makespan": 54}, "whole number"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        judge({**BEST, "ft06": schedule})


def test_a_machine_that_does_two_operations_at_a_time_is_refused() -> None:
    alone = [[sum(d for _, d in job[:k]) for k in range(len(job))] for job in SCORER.CLASSIC["ft06"]]
    with pytest.raises(Invalid, match=r"machine \d has jobs \d and \d at time"):
        judge({**BEST, "ft06": alone})
