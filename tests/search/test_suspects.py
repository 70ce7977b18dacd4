"""What becomes of a search in which a node is found cheating: its descendants count for nothing from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from growing import ALL, Growth
from stub_evaluator import StubEvaluator

from archive.records import Evaluation, Failed, Propose, Replicate, Request
from archive.storage.store import Archive
from archive.tree import Tree
from search.claims.claim import next_moves, verdict
from search.claims.statistics import seed_deviation
from search.config import ClaimPlan
from search.display.live import describe_landing
from search.display.summary import summarise
from search.policies import Composition
from search.policies.phases.baseline import BaselineRuns
from search.policies.phases.debug import Debugging
from search.policies.selection.samplers import Argmax
from search.policies.selection.scores import KeptLine, Rank
from search.run.engine import Engine

Start = Callable[..., Any]


def suspects(tree: Tree) -> set[str]:
    return {node.node_id for node, is_suspect in zip(tree.nodes, tree.suspects, strict=True) if is_suspect}


def family(growth: Growth) -> tuple[str, str, str, str, str]:
    """An honest child, a cheat, its child, and the crossover of that with the honest one; the crossover's child."""
    growth.root(3.0)
    honest, cheat = growth.child(2.9), growth.child(2.0)
    heir = growth.child(1.9, cheat)
    merged = growth.child(1.8, honest, heir, operator="crossover")
    return honest, cheat, heir, merged, growth.child(1.7, merged)


@pytest.mark.parametrize("direction", ["minimise", "maximise"])
def test_descendants_through_any_parent_are_out_and_the_next_best_leads(direction: Any) -> None:
    growth = Growth(direction)
    sign = 1 if direction == "minimise" else -1
    growth.root(sign * 3.0)
    honest, cheat = growth.child(sign * 2.9), growth.child(sign * 2.0)
    heir = growth.child(sign * 1.9, cheat)
    merged = growth.child(sign * 1.8, honest, heir, operator="crossover")
    assert growth.tree.leader() == merged
    growth.cheats(cheat)
    tree = growth.tree
    assert suspects(tree) == {cheat, heir, merged}
    assert tree.leader() == honest
    assert list(np.isnan(tree.ranks())) == list(tree.suspects)
    assert tree.ranks()[tree.index[honest]] == 1.0
    assert tree.eligible().sum() == 2
    assert str(tree.suspicion(merged)) == f"descends from {cheat[:8]}, found cheating (it broke)"
    assert str(tree.suspicion(cheat)) == "found cheating (it broke)"
    assert tree.suspicion(honest) is None


def test_what_is_added_later_is_suspect_at_once_and_a_resume_says_the_same() -> None:
    growth = Growth()
    honest, cheat, heir, *_ = family(growth)
    pending = growth.choose(Propose("tune", (heir,)))
    growth.cheats(cheat)
    late = growth.add(pending)
    growth.land(pending, 0.5)
    assert growth.tree.suspect(late)
    last = growth.child(0.4, late)
    assert growth.tree.suspect(last)
    assert growth.tree.leader() == honest
    again = growth.rebuilt()
    assert list(again.suspects) == list(growth.tree.suspects)
    assert [str(again.suspicion(n.node_id)) for n in again.nodes] == [
        str(growth.tree.suspicion(n.node_id)) for n in growth.tree.nodes
    ]


def test_an_invalid_run_without_cheating_speaks_against_its_own_node_alone() -> None:
    growth = Growth()
    _, cheat, heir, merged, last = family(growth)
    growth.land(growth.choose(Replicate(cheat)), "invalid")
    assert suspects(growth.tree) == {cheat}
    assert str(growth.tree.suspicion(cheat)) == "invalid in one of its runs (it broke)"
    assert growth.tree.leader() == last
    growth.cheats(heir)  # and a second finding adds to it
    assert suspects(growth.tree) == {cheat, heir, merged, last}


def test_a_reason_from_a_claim_run_is_not_told() -> None:
    growth = Growth()
    *_, merged, last = family(growth)
    growth.land(growth.choose(Replicate(merged, "report")), "invalid", violation=True)
    assert "broke" not in str(growth.tree.suspicion(last))
    assert "in a run of the claim" in str(growth.tree.suspicion(last))


def test_the_root_is_never_suspect() -> None:
    growth = Growth()
    family(growth)
    growth.cheats(growth.tree.root)
    assert not suspects(growth.tree)


def test_a_cheat_and_its_broken_heirs_are_not_debugged_but_an_honest_invalid_is() -> None:
    growth = Growth()
    growth.root(3.0)
    cheat = growth.child(None)
    growth.land(next(iter(growth.tree.open_moves.values())), "invalid", violation=True)
    heir = growth.child("crashed", cheat)
    policy = Composition(Rank(), Argmax(), opening=BaselineRuns(1), repair=Debugging(probability=1.0))
    for number in range(20):
        move = policy.choose(growth.tree, np.random.default_rng(number), ALL)
        assert isinstance(move, Propose)
        assert not {cheat, heir} & set(move.parents)
    too_large = growth.child("invalid")
    move = policy.choose(growth.tree, np.random.default_rng(0), ALL)
    assert move == Propose("debug", (too_large,))


def test_the_kept_line_goes_back_to_before_the_cheat() -> None:
    growth = Growth()
    growth.root(3.0)
    first = growth.child(2.9)
    cheat = growth.child(2.0, first)
    heir = growth.child(1.9, cheat)
    assert KeptLine()(growth.tree)[growth.tree.index[heir]] == 1.0
    growth.cheats(cheat)
    assert KeptLine()(growth.tree)[growth.tree.index[first]] == 1.0


def test_replicates_of_a_cheat_say_nothing_about_the_noise() -> None:
    growth = Growth()
    growth.root(3.0, 3.01)
    cheat = growth.child(2.0)
    for score in (1.0, 3.0):
        growth.land(growth.choose(Replicate(cheat)), score)
    assert deviation_of(growth) > 0.1
    growth.cheats(cheat)
    assert deviation_of(growth) == pytest.approx(0.00707, abs=1e-4)


def deviation_of(growth: Growth) -> float:
    found = seed_deviation(growth.tree)
    assert found is not None
    return found.value


@pytest.mark.slow
def test_marking_visits_every_node_once_however_many_cheats() -> None:
    """A line of 20,000 where every 100th cheats: two million steps if each walked down, or a recursion too deep."""
    growth = Growth()
    growth.root(3.0)
    line = [growth.child(2.0)]
    for _ in range(19_999):
        line.append(growth.child(2.0, line[-1]))
    tree, steps = growth.tree, 0
    successors = tree.graph.successors

    def counted(node_id: str) -> Iterator[str]:
        nonlocal steps
        steps += 1
        return iter(successors(node_id))

    tree.graph.successors = counted
    for node_id in line[::-100]:
        growth.cheats(node_id)
    assert len(suspects(tree)) >= len(line) - 100
    assert steps == tree.suspects.sum()


# ---------------------------------------------------------------- the claim


def land_all(growth: Growth, plan: ClaimPlan, scores: dict[str, float]) -> None:
    for move in next_moves(growth.tree, plan):
        growth.land(growth.choose(move), scores[move.node_id])


def test_a_finalist_that_becomes_suspect_is_out_and_the_verdict_says_why() -> None:
    growth = Growth()
    honest, cheat, heir, merged, last = family(growth)
    plan = ClaimPlan(candidates=3, confirm_seeds=1, report_seeds=2, limit=40)
    finalists = {move.node_id for move in next_moves(growth.tree, plan)}
    assert finalists == {heir, merged, last}
    for move in next_moves(growth.tree, plan):
        growth.land(growth.choose(move), 2.0)
    record = growth.choose(Replicate(heir, "confirm"))
    growth.land(record, "invalid", violation=True)  # the ancestor of the other two
    scores = {honest: 2.9, cheat: 2.0, growth.tree.root: 3.0}
    for _ in range(10):
        asked = {move.node_id for move in next_moves(growth.tree, plan)}
        assert not asked & {heir, merged, last}
        for move in next_moves(growth.tree, plan):
            growth.land(growth.choose(move), scores[move.node_id] + 0.001 * growth.next_move)
    found = verdict(growth.tree, plan)
    assert found is not None
    assert found.node_id in {cheat, honest}
    assert f"{merged[:8]} is out: descends from {heir[:8]}, found cheating" in found.reason


# ---------------------------------------------------------------- the whole search


@pytest.mark.slow
def test_a_search_writes_down_who_cheated_and_who_leads_instead(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader that much was built upon is run again, and found out; nothing that descends from it is claimed."""
    monkeypatch.setattr(StubEvaluator, "evaluate", _found_out(StubEvaluator.evaluate))
    recorded = []

    def tell(self: Engine, evaluation: Evaluation) -> None:
        told(self, evaluation)
        leaders = [d.node_id for d in self.archive.decisions(self.run.run) if d.kind == "leader"]
        recorded.append(leaders[-1] == self.tree.leader())

    told = Engine.tell
    monkeypatch.setattr(Engine, "tell", tell)
    bench = start("budget.evaluations=60", "policy.recheck.runs=2", "policy.recheck.after=4", slots=1)
    tree = bench.search.tree
    with Archive.open(tmp_path / "archive.duckdb") as archive:
        events = archive.query("SELECT node_id, message FROM events WHERE kind = 'cheating'")
        changes = archive.query("SELECT reason FROM decisions WHERE kind = 'leader' AND contains(reason, 'suspect')")
        rebuilt = archive.tree(bench.search.run, tree.conditions)
        summary = summarise(bench.search, bench.result, archive, "a.duckdb")
    ((cheat, message),) = events
    assert "found cheating (it lied); suspect with it" in message
    assert len(suspects(tree)) > 1
    assert all(cheat in tree.ancestors(node_id) | {node_id} for node_id in suspects(tree))
    assert len(changes) == 1
    assert "; the previous leader " in changes[0][0]
    assert all(recorded)  # also at the moment when the leader was found out
    assert suspects(rebuilt) == suspects(tree)
    assert rebuilt.leader() == tree.leader()
    heirs = len(suspects(tree)) - 1
    assert f"Suspect, and left out: {cheat[:8]}, found cheating (it lied) and {heirs} descendants." in summary
    lines = {e.request.node_id: describe_landing(bench.search, e, None) for e in bench.display.landings}
    assert f"it lied (cheating: its {heirs} descendants are suspect, too)" in lines[cheat]
    heir = next(iter(suspects(tree) - {cheat}))
    assert f"suspect: descends from {cheat[:8]}, found cheating (it lied)" in lines[heir]
    claimed = {e.request.node_id for e in bench.display.landings if e.request.purpose != "screen"}
    assert claimed
    assert not claimed & suspects(tree)


def _found_out(evaluate: Callable[..., Evaluation]) -> Callable[..., Evaluation]:
    """The first node that is run again, and is not the root, is found to cheat."""
    done: list[str] = []

    def found_out(self: StubEvaluator, request: Request, *more: Any) -> Evaluation:
        known = {asked.node_id for asked in self.asked[1:]} - {self.asked[0].node_id} if self.asked else set()
        scored = evaluate(self, request, *more)
        if done or request.node_id not in known or request.purpose != "screen":
            return scored
        done.append(request.node_id)
        common = {
            key: value for key, value in vars(scored).items() if key not in ("score", "audit", "certificate", "windows")
        }
        return Failed(**common, outcome="invalid", reason="it lied", violation=True)

    return found_out
