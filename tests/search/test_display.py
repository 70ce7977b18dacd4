"""What a person sees: no control characters from candidates, no select or holdout score shown one by one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from search.display import LiveDisplay, PlainDisplay, clean, describe_landing, make_display
from search.policies.scores import FlatUcb


def test_text_of_candidates_cannot_steer_a_terminal() -> None:
    assert clean("red \x1b[31m\n\ttext\x07", 40) == "red [31m text"
    assert clean("x" * 100, 10) == "xxxxxxx..."


def test_scores_of_the_claim_are_not_shown_one_by_one(start: Callable[..., Any]) -> None:
    bench = start(slots=1)
    for evaluation in bench.display.landings:
        line = describe_landing(bench.search, evaluation, 29)
        shown = f"{evaluation.score:.4f}" in line
        assert shown == (evaluation.request.purpose == "screen")


def test_a_failure_is_shown_with_its_reason(start: Callable[..., Any]) -> None:
    bench = start(slots=1, stub={"fail_every": 4})
    failed = next(e for e in bench.display.landings if e.outcome == "crashed")
    line = describe_landing(bench.search, replace(failed, reason="boom\x1b[2J"), None)
    assert "crashed" in line
    assert "boom [2J" in line


def test_plain_where_it_is_no_terminal() -> None:
    assert isinstance(make_display(io.StringIO()), PlainDisplay)


def test_on_a_terminal_the_slots_are_taken_away_before_the_summary(start: Callable[..., Any]) -> None:
    bench = start("budget.evaluations=4", slots=1)
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=120)) as display:
        display.tick(bench.search, [], 4)
        display.landed(bench.search, bench.display.landings[0], 4)
        display.close()
        display.said("summary")
    assert "seed" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("summary")


@pytest.mark.parametrize("c", [-1.0, "x", True])
def test_an_exploration_constant_that_is_none_is_refused(c: Any) -> None:
    with pytest.raises(ValueError, match=r"policy\.score\.c is"):
        FlatUcb(c)
