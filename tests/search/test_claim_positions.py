"""Claims that are judged at secret positions: their error in the interval, and what may be compared."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from growing import Growth

from archive.records import Replicate, WindowScores
from search.claims.claim import next_moves, verdict
from search.config import ClaimPlan

PLAN = ClaimPlan()


def grown() -> tuple[Growth, str]:
    growth = Growth()
    growth.root(3.39, 3.41)
    return growth, growth.child(3.1)


def reported(growth: Growth, node_id: str, scores: list[float], at: str, spread: float) -> None:
    """Report runs of a node, scored in windows: half of them ``spread`` worse, half as much better."""
    for score in scores:
        around = score + spread * np.repeat([1.0, -1.0], 50)
        record = growth.choose(Replicate(node_id, "report", "would-be champion"))
        growth.land(record, score, windows=WindowScores.of(at, around))


@pytest.mark.parametrize(("spread", "kind"), [(0.3, "champion"), (3.0, "no_champion")])
def test_the_error_of_the_text_positions_is_part_of_the_interval(spread: float, kind: str) -> None:
    """All seeds share it, so they agree to a hundredth where the positions may be wrong by a third."""
    growth, a = grown()
    reported(growth, growth.tree.root, [3.41, 3.40, 3.42, 3.41], "set-1", 0.0)
    reported(growth, a, [3.07, 3.09, 3.08, 3.08], "set-1", spread)
    end = verdict(growth.tree, PLAN, "bpb")
    assert end is not None
    assert end.kind == kind
    assert "4 fresh seeds each, 100 secret positions" in end.reason
    assert end.detail["window_error"] == pytest.approx(spread * math.sqrt(100 / 99) / 10, rel=1e-4)


def test_scores_at_other_positions_are_not_compared() -> None:
    """Of a claim that was resumed in a merged archive, say: what was made at other positions is made again."""
    growth, a = grown()
    root = growth.tree.root
    reported(growth, root, [3.0, 3.0], "set-1", 0.0)
    reported(growth, a, [3.07, 3.09, 3.08, 3.08], "set-2", 0.0)
    assert verdict(growth.tree, replace(PLAN, limit=20)) is None
    assert [move.node_id for move in next_moves(growth.tree, replace(PLAN, limit=20))] == [root] * 4
    reported(growth, root, [3.41, 3.40, 3.42, 3.41], "set-2", 0.0)
    end = verdict(growth.tree, replace(PLAN, limit=20))
    assert end is not None
    assert (end.kind, end.baseline) == ("champion", (3.41, 3.40, 3.42, 3.41))
