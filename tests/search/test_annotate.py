"""What a request carries: the audit's strictness, and for claims the archive's secret."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from archive.noise import SeedDeviation
from archive.records import Request
from search.run import screening


@pytest.mark.slow
def test_a_request_carries_what_its_evaluation_needs(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Screenings the audit's strictness, the seed program that of an ordinary one; claims the archive's secret."""
    bench = start("budget.evaluations=29", "claim.looks=1", stub={"halves": True})
    search = bench.search
    asked = [each for each in bench.evaluator.asked if not each.seal]
    strictness = {(each.purpose, each.node_id == search.tree.root): each.strictness for each in asked}
    assert strictness[("screen", True)] == math.inf
    assert 0.0 < (strictness[("screen", False)] or 0.0) < math.inf
    keys = {each.purpose: each.position_key for each in asked}
    assert keys == {"screen": b"", "confirm": keys["report"], "report": search.archive.secret("positions")}
    drawn = {(each.purpose, each.seal): each.case_key for each in bench.evaluator.asked}
    cases = search.archive.secret("cases")
    assert drawn == {(p, half): cases if p != "screen" else b"" for p, half in drawn}
    assert ("report", True) in drawn, "an evaluator that ignores seal judges at once"
    assert not any(repr(secret) in repr(asked) for secret in (keys["report"], cases))

    def of(low: float | None) -> float | None:
        sigma = None if low is None else SeedDeviation(2 * low, low, 9.0, 2)
        monkeypatch.setattr(screening, "seed_deviation", lambda tree: sigma)
        return search.annotate(Request(search.tree.nodes[1].node_id, search.run.run, 99, {}, 1, "screen")).strictness

    assert search.parts.task.smallest_gain == 0.03
    assert of(0.02) == 0.005, "a quarter of the lower end"
    assert of(1e-6) == pytest.approx(0.003), "never below a tenth of the smallest gain worth claiming"
    assert of(0.0) == search.parts.task.audit_unseen
    assert of(None) == search.parts.task.audit_unseen
