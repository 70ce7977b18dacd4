"""Commands to a running search: what each does, what is refused, and that a resumed search makes the same choices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import search
from archive.errors import ArchiveError, QueryRefused
from archive.records import Event, Propose, Replicate, Request
from archive.steering import KIND, Steering
from archive.storage.store import Archive
from search.config import Budget
from search.run.controller import RunResult
from search.run.loop import SlotLoop
from search.run.proposals import with_instructions
from search.run.steering import SteeringOrders as Orders
from search.run.steering import _Order, with_extra
from train.executors.local import LocalExecutor

SEED = "X = 1.0  # tune: 0.001..10 log\nY = 2.0  # tune: 0.1..20 log\n"


def score(request: Request) -> float:
    values: dict[str, Any] = {}
    exec(request.files["train.py"], values)
    return float((values["X"] - 0.3) ** 2 + (values["Y"] - 1) ** 2 + request.seed % 7 * 1e-4)


TASK = search.OwnTask(score, SEED, direction="minimise", name="steered")


def open_search(archive: Archive | Path | None, budget: int = 30, claim: bool = False) -> search.Search:
    return search.Search(TASK, "ucb", operators="numeric", archive=archive, run="a", budget=budget, claim=claim)


def told(s: search.Search, **command: Any) -> str:
    """What a client is told: the command comes from another thread, and the loop's follows it."""
    orders = Orders(s, lambda message: None)
    arrived, answers = threading.Event(), list[str | ArchiveError]()
    orders.wake = arrived.set

    def ask() -> None:
        try:
            answers.append(orders.obey(command))
        except ArchiveError as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert arrived.wait(10)
    orders.follow()
    thread.join()
    if isinstance(answers[0], ArchiveError):
        raise answers[0]
    return answers[0]


def evaluate(s: search.Search, count: int) -> None:
    for _ in range(count):
        request = s.ask()
        assert request is not None
        s.tell(s.evaluate(request))


def parents(s: search.Search, since: int) -> set[str]:
    moves = [record.move for number, record in s.tree.moves.items() if number >= since]
    return {parent for move in moves if isinstance(move, Propose) for parent in move.parents[:1]}


def test_proposals_start_from_a_pinned_branch() -> None:
    with open_search(None) as s:
        evaluate(s, 10)
        pinned = max(s.tree.nodes[1:], key=lambda node: s.tree.mean(node.node_id)).node_id  # the worst: nobody's choice
        told(s, command="pin", node=pinned)
        since = len(s.tree.moves)
        evaluate(s, 8)
        assert parents(s, since) <= {pinned, *s.tree.descendants(pinned)}
        told(s, command="free", node=pinned)
        assert s.tree.pinned() is None


def test_a_banned_branch_leads_nothing_and_has_no_more_children() -> None:
    with open_search(None) as s:
        evaluate(s, 12)
        leader = s.tree.leader()
        assert leader is not None
        assert leader != s.tree.root
        told(s, command="ban", node=leader)
        banned = {leader, *s.tree.descendants(leader)}
        assert s.tree.leader() not in banned
        assert s.archive.decisions("a")[-1].node_id == s.tree.leader()
        since = len(s.tree.moves)
        evaluate(s, 8)
        assert not parents(s, since) & banned
        assert told(s, command="free", node=leader)
        assert s.tree.mean(s.tree.leader() or "") <= s.tree.mean(leader)


def test_no_banned_node_is_a_finalist() -> None:
    with open_search(None, budget=24, claim=True) as s:
        evaluate(s, 8)
        leader = s.tree.leader()
        assert leader is not None
        told(s, command="ban", node=leader)
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        claimed = {m.move.node_id for m in s.tree.moves.values() if isinstance(m.move, Replicate)}
        assert leader not in claimed - {s.tree.root}


def test_a_candidate_of_ones_own_is_evaluated_next() -> None:
    with open_search(None) as s:
        evaluate(s, 4)
        words = told(s, command="propose", files={"mine.py": "X = 0.3\nY = 1.0\n"}, parent=None)
        node = s.tree.nodes[-1]
        assert node.node_id[:8] in words
        assert (node.candidate.operator, node.candidate.files["train.py"]) == ("user", "X = 0.3\nY = 1.0\n")
        evaluate(s, 1)
        evaluate(s, s.engine.ready)
        assert s.tree.leader() == node.node_id


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ({"command": "pin", "node": "nowhere"}, "no node nowhere"),
        ({"command": "pin"}, "not understood"),
        ({"command": "rm -rf"}, "not understood"),
        ({"command": "budget", "limit": "hours", "added": 2}, "no limit of hours"),
        ({"command": "budget", "limit": "target", "added": 2}, "no limit of target"),
        ({"command": "budget", "limit": "evaluations", "added": 0}, "positive"),
        ({"command": "budget", "limit": "evaluations", "added": 1.5}, "whole"),
        ({"command": "budget", "limit": "evaluations", "added": float("inf")}, "positive"),
        ({"command": "budget", "limit": "evaluations", "added": float("nan")}, "positive"),
        ({"command": "budget", "limit": "evaluations", "added": 10**15}, "at most"),
        ({"command": "instruct", "words": "x" * 5000}, "5,000 characters"),
        ({"command": "propose", "files": {}, "parent": None}, "no file"),
        ({"command": "propose", "files": {"a": "", "../train.py": ""}, "parent": None}, "../train.py"),
        ({"command": "propose", "files": {"train.py": "X = ("}, "parent": None}, "train.py"),
        ({"command": "propose", "files": {"train.py": SEED}, "parent": None}, "equals a known candidate"),
        ({"command": "propose", "files": {"train.py": "X = 1"}, "parent": "nowhere"}, "no node nowhere"),
    ],
)
def test_refusals_say_why_and_change_nothing(command: Mapping[str, Any], message: str) -> None:
    with open_search(None) as s:
        evaluate(s, 2)
        with pytest.raises(QueryRefused) as refused:
            told(s, **command)
        assert message in str(refused.value)
        assert s.archive.events("a", KIND) == ()
        assert s.tree.steering == Steering()


def test_the_root_cannot_be_banned() -> None:
    with open_search(None) as s:
        evaluate(s, 2)
        with pytest.raises(QueryRefused, match="baseline"):
            told(s, command="ban", node=s.tree.root)


def test_nothing_is_marked_during_a_claim() -> None:
    """Which nodes it is about must not depend on what it has found."""
    with open_search(None, budget=20, claim=True) as s:
        while s.forecast().stage != "claiming" and (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        leader = s.tree.leader()
        for command in ({"command": "ban", "node": leader}, {"command": "pin", "node": leader},
                        {"command": "propose", "files": {"train.py": "X = 5"}, "parent": None}):  # fmt: skip
            with pytest.raises(QueryRefused, match="claim is under way"):
                told(s, **command)


def test_a_raised_budget_buys_evaluations_also_after_a_resume(tmp_path: Path) -> None:
    def all_of(s: search.Search) -> int:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))
        return s.tree.evaluated

    with open_search(tmp_path / "a.duckdb", budget=6) as s:
        evaluate(s, 3)
        assert "11 evaluations" in told(s, command="budget", limit="evaluations", added=5)
        evaluate(s, 1)
    with open_search(tmp_path / "a.duckdb", budget=6) as s:
        assert all_of(s) == 11


def steps() -> list[Callable[[search.Search], Any]]:
    """A command before each of some evaluations."""

    def mark(command: str, place: int) -> Callable[[search.Search], Any]:
        return lambda s: told(s, command=command, node=s.tree.nodes[place].node_id)

    def propose(s: search.Search) -> str:
        return told(s, command="propose", files={"train.py": "X = 0.5\nY = 3.0\n"}, parent=s.tree.nodes[1].node_id)

    none = lambda s: None  # noqa: E731
    return [*6 * [none], mark("pin", 2), none, propose, none, mark("ban", 3), none, none, mark("free", 2),
            lambda s: told(s, command="instruct", words="try less"), none, mark("pin", 4), none, none]  # fmt: skip


def made(archive: Path) -> list[tuple[Any, ...]]:
    with Archive.open(archive) as opened:
        columns = "move, kind, operator, parents, node_id, seed"
        return opened.query(f"SELECT {columns} FROM moves ORDER BY move")


@pytest.mark.slow
@pytest.mark.parametrize("sessions", ["one", "one for each evaluation"])
def test_a_resumed_search_makes_the_same_choices(tmp_path: Path, sessions: str) -> None:
    plain, other = tmp_path / "plain.duckdb", tmp_path / "other.duckdb"
    with open_search(plain) as s:
        for step in steps():
            step(s)
            evaluate(s, 1)
    if sessions == "one":
        with open_search(other) as s:
            for _ in steps():
                evaluate(s, 1)  # without the commands: other choices, or this test shows nothing
        assert made(other) != made(plain)
        return
    for step in steps():
        with open_search(other) as s:
            s.begin()
            step(s)
            evaluate(s, 1)
    assert made(other) == made(plain)


def test_instructions_reach_the_prompts_of_later_moves_only() -> None:
    with open_search(None) as s:
        evaluate(s, 2)
        before = len(s.tree.moves)
        told(s, command="instruct", words="try a cosine schedule")
        assert "cosine" in s.engine._context(before).program
        assert "cosine" not in s.engine._context(before - 1).program
        told(s, command="instruct", words="")
        assert s.engine._context(before).program == s.engine.parts.program
    assert with_instructions("Be brief.", ("a", "b")).endswith("latest last:\n\n- a\n- b\n")


def test_a_command_that_nobody_takes_up_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.run.steering._PATIENCE", 0.01)
    with open_search(None) as s:
        evaluate(s, 1)
        orders = Orders(s, lambda message: None)
        with pytest.raises(ArchiveError, match="withdrawn"):
            orders.obey({"command": "pause"})
        orders.follow()
        assert not orders.paused
        assert s.archive.events("a", KIND) == ()


CODES = st.sampled_from(["pin", "ban", "free", "instruct", "budget", "pause", "stop", "resume", "propose", None])
EVENTS = st.lists(
    st.builds(
        lambda code, node, detail: Event("a", KIND, "", 0.0, node, code, detail),
        CODES, st.sampled_from(["a", "b", "c"]),
        st.none() | st.dictionaries(st.sampled_from(["move", "words", "limit", "added"]), st.integers() | st.text()),
    )
)  # fmt: skip


@settings(deadline=None)
@given(EVENTS, st.integers(0, 9))
def test_the_fold_takes_any_events_in_parts(events: list[Event], cut: int) -> None:
    """An archive may come from elsewhere; and a session that resumes has the first part from its rows."""
    whole, part = Steering.of(events), Steering.of(events[:cut])
    for event in events[cut:]:
        part = part.after(event)
    assert whole == part
    assert not whole.pinned & whole.banned


def test_what_has_no_limit_gets_none() -> None:
    budget = Budget(evaluations=10)
    assert with_extra(budget, {"evaluations": 5, "hours": 2, "nonsense": 1}) == Budget(evaluations=15)


# ---------------------------------------------------------------- in the loop


class Watched:
    """A display that steers: ``at`` maps the number of landed evaluations to a command."""

    def __init__(self, at: Mapping[int, str]) -> None:
        self.at, self.lines, self.landings = at, list[str](), 0
        self.orders: Orders

    def landed(self, engine: Any, evaluation: Any, total: int | None) -> None:
        self.landings += 1
        if (command := self.at.get(self.landings)) is not None:
            self.orders._orders.put(_Order({"command": command}))

    def show(self, message: str) -> None:
        self.lines.append(message)

    def tick(self, engine: Any, running: Any, total: int | None) -> None:
        if self.orders.paused and not running:
            self.orders._orders.put(_Order({"command": "resume"}))
            self.paused_at = self.landings


def run_steered(s: search.Search, at: Mapping[int, str]) -> tuple[Watched, RunResult]:
    display = Watched(at)
    display.orders = Orders(s, display.show)
    s.begin()
    with LocalExecutor(s._components.evaluator, s._places(2)) as executor:  # type: ignore[arg-type]
        return display, SlotLoop(s, executor, display, threading.Event(), display.orders).run()


def test_a_pause_lets_running_evaluations_end_and_starts_none() -> None:
    with open_search(None, budget=12) as s:
        display, result = run_steered(s, {5: "pause"})
        assert result.finished
        assert s.tree.evaluated == 12
        assert 5 <= display.paused_at <= 7  # with two slots, two may have been running
        assert [event.code for event in s.archive.events("a", KIND)] == ["pause", "resume"]


def test_stop_ends_the_session_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    with open_search(tmp_path / "a.duckdb", budget=12) as s:
        _, result = run_steered(s, {5: "stop"})
        assert not result.finished
        assert 5 <= s.tree.evaluated <= 7
    with open_search(tmp_path / "a.duckdb", budget=12) as s:
        assert s.run(slots=2).finished
        assert s.tree.evaluated == 12
