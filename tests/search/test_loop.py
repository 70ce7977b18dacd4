"""The course of a run on a clock and slots that are made up: budgets alone and together, the claim's share, resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

import search
from archive.records import Conditions, Evaluation, Request
from archive.storage.store import Archive
from search.config import Budget, ClaimPlan
from search.run.controller import RunController, RunResult
from search.run.loop import SlotLoop
from train.executors.base import Running

SECONDS = 10.0


def score(request: Request) -> float:
    """Better with every step down, and no two seeds alike."""
    values: dict[str, Any] = {}
    exec(request.files["train.py"], values)
    return float(values["X"]) ** 2 + (request.seed % 1000) * 1e-6


TASK = search.OwnTask(score, "X = 1.0  # tune: 0.001..10 log\n", direction="minimise", name="made-up", seconds=SECONDS)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Slots:
    """An executor without threads: ``wait`` turns the clock forward to the next landing."""

    clock: Clock
    evaluate: Callable[[Request], Evaluation]
    count: int = 2
    takes: Callable[[Request], float] = lambda request: SECONDS
    landed: list[tuple[float, Evaluation]] = field(default_factory=list)
    _flying: list[tuple[float, float, Request]] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.count - len(self._flying)

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    @property
    def conditions(self) -> Conditions:
        raise AssertionError("a session does not ask an executor for its conditions")

    def running(self) -> tuple[Running, ...]:
        return ()

    def submit(self, request: Request) -> None:
        seconds = self.takes(request)
        self._flying.append((self.clock.now + seconds, seconds, request))

    def wait(self, seconds: float) -> list[Evaluation]:
        if not self._flying:
            self.clock.now += seconds
            return []
        self._flying.sort(key=lambda each: each[0])
        self.clock.now, took, request = self._flying.pop(0)
        done = self.evaluate(request)
        done = replace(done, resources=replace(done.resources, phases={"train": took}))
        self.landed.append((self.clock.now, done))
        return [done]

    def wake(self) -> None:
        pass


class Nobody:
    """A display that remembers what was said."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def landed(self, search: Any, evaluation: Evaluation, total: int | None) -> None:
        pass

    def show(self, message: str) -> None:
        self.words.append(message)

    def tick(self, search: Any, running: Any, total: int | None) -> None:
        pass


@dataclass
class Played:
    """A session on made-up slots, and how it ended."""

    controller: RunController
    slots: Slots
    result: RunResult
    began: float
    words: list[str]

    @property
    def seconds(self) -> float:
        return self.slots.clock.now - self.began

    def purposes(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for _, evaluation in self.slots.landed:
            found[evaluation.request.purpose] = found.get(evaluation.request.purpose, 0) + 1
        return found


@pytest.fixture
def archive() -> Iterator[Archive]:
    with Archive.in_memory() as archive:
        yield archive


@pytest.fixture
def play(archive: Archive) -> Callable[..., Played]:
    """``play(budget, ...)`` runs one session of the run ``run``, which is gone on with if there is one."""

    def play(
        budget: Budget,
        run: str = "night",
        count: int = 2,
        takes: Callable[[Request], float] = lambda request: SECONDS,
        used: float = 0.0,
        stop_after: int | None = None,
        plan: ClaimPlan | None = ClaimPlan(looks=1),  # noqa: B008 (frozen)
        closed: Callable[[], str | None] = lambda: None,
    ) -> Played:
        clock, stop, display = Clock(), threading.Event(), Nobody()
        with search.Search(TASK, operators="tune", archive=archive, run=run, overrides=["claim.looks=1"]) as s:
            s.engine.parts = replace(s.engine.parts, llm_closed=closed)
            s.engine.start(TASK.files)
            controller = RunController(s.engine, budget, plan, slots=count, used=used, monotonic=clock)
            slots = Slots(clock, s.evaluate, count, takes)
            session = SlotLoop(controller, slots, display, stop)
            if stop_after is not None:
                display.landed = lambda *_: stop.set() if len(slots.landed) >= stop_after else None  # type: ignore
            began = clock.now
            return Played(controller, slots, session.run(), began, display.words)

    return play


def kinds(archive: Archive) -> list[str]:
    return [str(kind) for (kind,) in archive.query("SELECT kind FROM decisions WHERE kind LIKE '%champion'")]


# ---------------------------------------------------------------- alone


@pytest.mark.slow
def test_hours_end_the_search_in_time_for_the_whole_claim(play: Callable[..., Played]) -> None:
    """400 s on two slots are 40 rounds; 14 trainings of the claim are 7 of them."""
    played = play(Budget(hours=400 / 3600))
    assert played.words == ["The hours for searching are used."]
    assert played.purposes() == {"screen": 66, "confirm": 6, "report": 8}
    assert played.seconds == 400.0


@pytest.mark.slow
def test_nothing_is_begun_that_would_land_in_the_time_of_the_claim(play: Callable[..., Played]) -> None:
    """With 7 s left over no training of 10 s is begun."""
    played = play(Budget(hours=407 / 3600))
    assert played.purposes()["screen"] == 66
    assert played.seconds == 400.0


@pytest.mark.slow
def test_device_hours_are_those_of_both_slots(play: Callable[..., Played]) -> None:
    played = play(Budget(device_hours=400 / 3600))
    assert played.words == ["The device hours for searching are used."]
    assert played.purposes() == {"screen": 26, "confirm": 6, "report": 8}
    assert sum(e.resources.wall_seconds for _, e in played.slots.landed) == 400.0


@pytest.mark.slow
def test_a_claim_that_takes_longer_is_reckoned_with(play: Callable[..., Played]) -> None:
    """Leaders are audited as closely as a claim's runs, so that the longest screening tells what those will take."""
    bar: list[float] = []

    def takes(request: Request) -> float:
        if request.purpose != "screen":
            return 30.0
        best = score(replace(request, seed=0))
        is_best = not bar or best < min(bar)
        bar.append(best)
        return 30.0 if is_best else 10.0

    played = play(Budget(hours=0.25), takes=takes)
    assert played.purposes()["confirm"] == 6
    assert played.purposes()["report"] == 8
    assert played.seconds <= 900.0 + 15.0  # half a training of the claim, as is said in search/run/budget.py


def test_evaluations_alone(play: Callable[..., Played]) -> None:
    played = play(Budget(evaluations=29))
    assert played.words == ["The evaluations for searching are used."]
    assert played.purposes() == {"screen": 15, "confirm": 6, "report": 8}


@pytest.mark.slow
def test_tokens_and_dollars_end_a_search_that_would_go_on_without_the_model(play: Callable[..., Played]) -> None:
    asked = 0

    def closed() -> str | None:
        nonlocal asked
        asked += 1
        return "the cap of $0.10" if asked > 200 else None

    played = play(Budget(dollars=0.1), closed=closed)
    assert played.words == ["The dollars for searching are used (budget.dollars=0.1): the cap of $0.10"]
    assert played.purposes()["report"] == 8, "a claim needs no model, and there is no other limit"
    assert played.result.verdict is not None


def test_a_cap_of_the_model_alone_ends_nothing(play: Callable[..., Played]) -> None:
    played = play(Budget(evaluations=20), closed=lambda: "the cap of $0.10")
    assert played.words == ["The evaluations for searching are used."]


# ---------------------------------------------------------------- together


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(evaluations=29, hours=1.0, device_hours=1.0), "The evaluations for searching are used."),
        (Budget(evaluations=500, hours=300 / 3600, device_hours=1.0), "The hours for searching are used."),
        (Budget(evaluations=500, hours=1.0, device_hours=300 / 3600), "The device hours for searching are used."),
        (Budget(evaluations=500, hours=1.0, target=0.5), "The target of 0.5 is reached by the leader."),
    ],
)
def test_the_first_that_is_used_ends_it_and_all_hold(
    play: Callable[..., Played], budget: Budget, words: str, archive: Archive
) -> None:
    played = play(budget)
    assert played.words == [words]
    assert archive.query("SELECT message FROM events WHERE kind = 'searched'") == [(words,)]
    assert played.result.verdict is not None
    assert len(played.slots.landed) <= (budget.evaluations or 0)
    assert played.seconds <= 3600 * (budget.hours or 0)
    assert sum(e.resources.wall_seconds for _, e in played.slots.landed) <= 3600 * (budget.device_hours or 1e9)


@pytest.mark.parametrize("limit", ["device_hours", "hours"])
def test_a_small_budget_gets_a_small_claim_or_a_reason(play: Callable[..., Played], limit: str) -> None:
    played = play(Budget(**{limit: 120 / 3600}), count=1)
    assert played.purposes()["report"] == 6  # half of 12 trainings, and one finalist
    assert "confirm" not in played.purposes()
    played = play(Budget(**{limit: 30 / 3600}), run="short", count=1)
    assert played.result.verdict is None
    assert f"a claim needs at least 4 evaluations with fresh seeds, and budget.{limit} has room for 0" in (
        played.result.reason
    )


# ---------------------------------------------------------------- sessions


@pytest.mark.slow
def test_device_hours_of_earlier_sessions_count(play: Callable[..., Played]) -> None:
    budget = Budget(device_hours=400 / 3600)
    first = play(budget, stop_after=10)
    assert not first.result.finished
    assert first.slots.in_flight <= 1, "it was begun on the other slot, and ended with the session"
    second = play(budget)
    landed = [*first.slots.landed, *second.slots.landed]
    assert len(landed) == 40
    assert second.purposes()["report"] == 8


@pytest.mark.slow
def test_hours_of_earlier_sessions_count(play: Callable[..., Played]) -> None:
    play(Budget(hours=400 / 3600), stop_after=10)
    second = play(Budget(hours=400 / 3600), used=300.0)
    assert second.seconds <= 100.0
    assert second.result.verdict is not None


def test_a_verdict_gets_no_more_seeds_when_the_hours_have_room(play: Callable[..., Played], archive: Archive) -> None:
    """A claim was shrunk to what the hours left; they were more than was thought: the search has the rest."""
    first = play(Budget(hours=160 / 3600), count=1)
    assert first.purposes()["report"] == 8
    shrunk = play(Budget(hours=120 / 3600), run="short", count=1)
    assert shrunk.purposes()["report"] == 6
    again = play(Budget(hours=120 / 3600), run="short", count=1, used=80.0)
    assert set(again.purposes()) == {"screen"}
    assert again.result.verdict == shrunk.result.verdict
    assert len(kinds(archive)) == 2


@pytest.mark.slow
def test_a_larger_budget_goes_on_searching_and_claims_anew(play: Callable[..., Played]) -> None:
    play(Budget(device_hours=300 / 3600))
    more = play(Budget(device_hours=700 / 3600))
    assert more.purposes()["screen"] > 10
    assert more.result.verdict is not None
    assert "claim 2 of this run" in more.result.verdict.reason


def test_without_a_plan_nothing_is_claimed(play: Callable[..., Played]) -> None:
    played = play(Budget(evaluations=12), plan=None)
    assert played.purposes() == {"screen": 12}
    assert played.result == RunResult("The evaluations for searching are used.", None, finished=True)


@pytest.mark.parametrize(("seconds", "submitted"), [(0.1, 4), (1.0, 2)])
def test_slots_of_short_evaluations_have_a_further_one_queued(seconds: float, submitted: int) -> None:
    ready = [Request(f"n{number}", "r", number, {}, number, "screen") for number in range(9)]
    controller: Any = SimpleNamespace(use=SimpleNamespace(each=seconds), ask_ready=lambda: ready.pop(0))
    slots: Any = Slots(Clock(), lambda request: pytest.fail("nothing is evaluated here"))
    loop = SlotLoop(controller, slots, Nobody(), threading.Event())
    loop._submit_ready()
    loop._submit_ready()
    assert slots.in_flight == submitted
