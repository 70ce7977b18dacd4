"""Budgets: what is left, and what is refused."""

from __future__ import annotations

import pytest

from search.budget import Budget


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no budget"),
        ({"evaluations": 0}, "budget.evaluations is 0"),
        ({"evaluations": "many"}, "budget.evaluations is 'many'"),
        ({"evaluations": 2.5}, "expected a number"),
        ({"hours": -1.0}, "budget.hours is -1.0"),
        ({"target": True}, "budget.target is True"),
    ],
)
def test_nonsense_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Budget(**values)  # type: ignore[arg-type]


def test_hours_count_what_was_used_before() -> None:
    assert Budget(hours=1.0).seconds_left(1800.0) == 1800.0
    assert Budget(evaluations=3).seconds_left(1e9) == float("inf")
