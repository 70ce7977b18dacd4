"""What a claim leaves that its first look has stopped: it is searched with, and the verdict stands."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from growing import Growth
from test_sealing import Session, verdicts

from archive.records import Decision, Replicate
from archive.storage.store import Archive
from search.claims.claim import begun
from search.claims.error_budget import is_claim
from search.claims.plan import NoClaim
from search.claims.prospect import prospect
from search.config import Budget, ClaimPlan
from search.display.summary import summarise
from search.run.budget import grown, limits_of

BUDGET = 20  # 10 of the search, 5 reports of each side, of which the first look needs 3
SETTINGS: dict[str, Any] = {
    "budget": BUDGET,
    "overrides": ["claim.looks=2", "claim.candidates=1", "claim.report_seeds=5"],
}


def goes_on(session: Session) -> bool:
    """Return whether a move of the search has followed a claim."""
    tree = session.search.tree
    return not begun(tree) and any(map(is_claim, tree.moves.values()))


@pytest.mark.slow
@pytest.mark.parametrize(("why", "killed"), [("success", False), ("success", True), ("futility", True)])
def test_what_a_claim_leaves_is_searched_with_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str, killed: bool
) -> None:
    """After a kill as well: nothing is made again, nothing stays unused, and the verdict stands."""
    monkeypatch.setattr("search.claims.reports.stopped", lambda difference, levels: why)
    path, kind = tmp_path / "a.duckdb", "champion" if why == "success" else "no_champion"
    session = Session(path, overrides=SETTINGS)
    result = session.play(lambda session: killed and goes_on(session))
    assert (result is None) == killed
    if killed:
        assert [found for found, _ in verdicts(path)] == [kind]
        session = Session(path, overrides=SETTINGS)
        result = session.play()
    assert result is not None
    tree = session.search.tree
    assert tree.evaluated == BUDGET, "an evaluation is missing, or was made again"
    assert [key for key, _ in groupby(map(is_claim, tree.moves.values()))] == [False, True, False]
    assert not tree.open_moves
    assert [found for found, _ in verdicts(path)] == [kind]
    with Archive.open(path) as archive:
        text = summarise(session.search.engine, result, archive, None)
    words = "by the claim before these evaluations" if killed else "The search went on with the 4 evaluations that the"
    assert words in text
    again = Session(path, overrides=SETTINGS)
    assert again.play() is not None
    assert again.issued == []


def decided(growth: Growth, kind: Any, node_id: str, budget: Budget) -> Decision:
    return Decision("test", kind, node_id, "it is over", {"limits": limits_of(budget)}, 0.0)


def test_within_the_budget_of_a_claim_a_champion_keeps_its_title_and_only_what_is_new_is_claimed() -> None:
    growth, plan, twenty = Growth(), ClaimPlan(candidates=1), Budget(evaluations=20)
    root = growth.root(3.39, 3.41)
    first = growth.child(3.1)
    for node_id in (first, root) * 4:
        growth.land(growth.choose(Replicate(node_id, "report")), 3.4)
    won, lost = (decided(growth, kind, first, twenty) for kind in ("champion", "no_champion"))

    def words(standing: Decision, more: bool = False) -> str:
        found = prospect(plan, growth.tree, 14, standing, "bpb", grown=more, concluded=True)
        return found.reason if isinstance(found, NoClaim) else ""

    assert "the champion of the last claim" in words(won)
    assert "found no better node since" in words(lost)
    assert words(lost, more=True) == ""
    growth.child(3.0)
    assert "stays the champion of this budget. To claim again, raise the budget" in words(won)
    assert words(lost) == words(won, more=True) == ""


@pytest.mark.parametrize(
    ("now", "then", "more"),
    [
        (Budget(evaluations=20), {"evaluations": 20, "hours": None}, False),
        (Budget(evaluations=21), {"evaluations": 20, "hours": None}, True),
        (Budget(hours=2.0), {"evaluations": 20, "hours": 2.0}, True),
        (Budget(evaluations=20), None, True),
    ],
)
def test_a_budget_has_grown_where_a_limit_is_larger_or_gone(now: Budget, then: object, more: bool) -> None:
    assert grown(now, then, unknown=True) is more
