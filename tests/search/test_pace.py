"""Who is told the baseline's pace: the first screening of a candidate, when the median rule is on, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from archive.records import CurvePoint, Purpose, Request


def test_the_pace_is_for_first_screenings_alone(start: Callable[..., Any]) -> None:
    search = start("evaluator.median_rule={after: 0.3}", "budget.evaluations=8").search
    tree, budget = search.tree, search.tree.conditions.budget_seconds
    curve = [CurvePoint(i, budget * i / 200, 5.0 - i / 100) for i in range(1, 201)]
    tree.evaluations[tree.root] = [replace(each, curve=curve) for each in tree.evaluations[tree.root]]

    def pace(node_id: str, purpose: Purpose = "screen") -> tuple[CurvePoint, ...]:
        return tuple(search.annotate(Request(node_id, search.run.run, 99, {}, 1, purpose)).pace)

    child = next(node.node_id for node in tree.nodes if node.node_id != tree.root and tree.scores(node.node_id))
    assert pace(child) == ()  # it has a score: its mean must not leave out its worse runs
    tree.evaluations[child] = []
    assert len(pace(child)) > 30
    assert pace(child)[-1].elapsed == budget
    assert pace(child, "confirm") == ()
    assert pace(tree.root) == ()
    search.parts = replace(search.parts, paced=False)
    assert pace(child) == ()


def test_the_runs_of_a_claim_are_audited_together(start: Callable[..., Any]) -> None:
    """And the seed program, which nobody has an interest in, as an ordinary screening."""
    bench = start("budget.evaluations=29")
    asked = bench.evaluator.asked
    purposes = {(request.purpose, request.node_id == bench.search.tree.root): request.together for request in asked}
    assert purposes[("report", True)] == purposes[("screen", True)] == 0
    assert purposes[("report", False)] == 4
    assert purposes[("confirm", False)] == 2
    assert purposes[("screen", False)] == 1
