"""What a person sees: no control characters from candidates, no select or holdout score shown one by one."""

from __future__ import annotations

import io
import os
import pty
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from stub_evaluator import StubEvaluator

from archive.records import Evaluation, Failed, Request
from operators.llm.meter import Meter
from operators.llm.scripted import Scripted
from search.display.live import LiveDisplay, PlainDisplay, clean, describe_landing, make_display, time_left
from search.display.throughput import Throughput
from search.policies.selection.scores import FlatUcb
from search.run.budget import Forecast
from search.run.loop import SlotLoop
from train.executors.base import Running
from train.hardware.slots import Slot

OUTLOOK = Forecast("searching", 2, 17, None, target=False)


def test_text_of_candidates_cannot_steer_a_terminal() -> None:
    assert clean("red \x1b[31m\n\ttext\x07", 40) == "red [31m text"
    assert clean("x" * 100, 10) == "xxxxxxx..."


@pytest.mark.slow
def test_scores_of_the_claim_are_not_shown_one_by_one(start: Callable[..., Any]) -> None:
    bench = start(slots=1)
    assert {"screen", "report"} <= {evaluation.request.purpose for evaluation in bench.display.landings}
    for evaluation in bench.display.landings:
        line = describe_landing(bench.search, evaluation, 29)
        shown = f"{evaluation.score:.4f}" in line
        assert shown == (evaluation.request.purpose == "screen")


@pytest.mark.slow
def test_a_failure_is_shown_with_its_reason(start: Callable[..., Any]) -> None:
    bench = start(slots=1, stub={"fail_every": 4})
    failed = next(e for e in bench.display.landings if e.outcome == "crashed")
    line = describe_landing(bench.search, replace(failed, reason="boom\x1b[2J"), None)
    assert "crashed" in line
    assert "boom [2J" in line


def test_plain_where_it_is_no_terminal() -> None:
    assert isinstance(make_display(io.StringIO()), PlainDisplay)


def test_a_search_goes_on_when_nobody_reads_its_output_any_more() -> None:
    """``python -m search | head`` at midnight, or a log on a full disk."""
    reading, writing = os.pipe()
    os.close(reading)
    for place in (writing, *(["/dev/full"] if os.path.exists("/dev/full") else [])):
        with open(place, "w") as stream:
            display = make_display(stream)
            display.show("a line")
            display.show("another")
            display.close()
            assert os.path.samestat(os.fstat(stream.fileno()), os.stat(os.devnull))


def test_on_a_terminal_the_slots_are_taken_away_before_the_summary(start: Callable[..., Any]) -> None:
    bench = start("budget.evaluations=4", slots=1)
    stream = io.StringIO()
    with LiveDisplay(Console(file=stream, force_terminal=True, width=120)) as display:
        display.tick(bench.search, [], 4)
        display.landed(bench.search, bench.display.landings[0], 4)
        display.close()
        display.show("summary")
    assert "seed" in stream.getvalue()
    assert stream.getvalue().rstrip().endswith("summary")


@pytest.mark.parametrize("c", [-1.0, "x", True])
def test_an_exploration_constant_that_is_none_is_refused(c: Any) -> None:
    with pytest.raises(ValueError, match=r"policy\.score\.c is"):
        FlatUcb(c)


# ---------------------------------------------------------------- the live view


class Screen:
    """A live display on a made-up terminal, with a clock that stands still unless told."""

    def __init__(self, width: int = 140, height: int = 40) -> None:
        self.now = 100.0
        self.stream = io.StringIO()
        console = Console(file=self.stream, force_terminal=True, width=width, height=height, color_system=None)
        self.display = LiveDisplay(console, clock=lambda: self.now)

    def drawn(self, search: Any, running: list[Running], seconds: float = 1.0) -> str:
        """What one more look draws, without the cursor's movements."""
        self.now += seconds
        before = len(self.stream.getvalue())
        self.display.tick(search, running, 29)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.stream.getvalue()[before:])


def busy(node_id: str, index: int = 0, purpose: Any = "screen") -> Running:
    slot = Slot(index=index, device="cpu", gpu=None, cores=(), threads=1)
    request = Request(node_id, "r", 0, {}, 1, purpose)
    return Running(slot, request, "train", 0.5, 93.0, [(0.1, 5.0), (0.4, 3.25)])


def metered(max_tokens: int = 1000) -> Meter:
    model = Scripted([], model="claude-sonnet-5-5", max_tokens=10)
    return Meter(model, max_dollars=2.0, max_tokens=max_tokens, record=lambda call: None)


@pytest.mark.slow
def test_the_view_says_what_runs_and_how_the_search_stands(start: Callable[..., Any]) -> None:
    bench, screen = start(slots=2), Screen()
    tree = bench.search.tree
    leader = tree.leader()
    screen.display.follow(lambda: OUTLOOK, metered())
    with screen.display:
        for _ in range(4):
            screen.now += 5.0
            screen.display.landed(bench.search, bench.display.landings[-1], 29)
        shown = screen.drawn(bench.search, [busy(leader), busy(tree.root, 1, "report")])
        again = screen.drawn(bench.search, [busy(leader)])
    operator = tree[leader].candidate.operator
    assert re.search(rf"0  {leader[:8]}  {operator:<9}  train   [▁-█]+·+   50%   3.250    28 s  \w+", shown), shown
    assert re.search(rf"1  {tree.root[:8]}  report ", shown)
    assert f"{tree.evaluated} of 29 evaluations   searching   about 85 s left   720 an hour" in shown
    runs = "1 run" if tree.runs[tree.index[leader]] == 1 else f"{tree.runs[tree.index[leader]]} runs"
    assert f"best {tree.means[tree.index[leader]]:.4f} bpb ({leader[:8]}, {runs})" in shown
    assert f"root {tree.means[0]:.4f} ({tree.runs[0]} runs)   sigma 0.0" in shown
    assert "model: 0 answers on the way   $0.00 of $2.00   0 of 1,000 tokens" in shown
    assert re.search(r"1  idle", again)
    assert "slots 50% busy" in again


@pytest.mark.slow
@pytest.mark.parametrize("size", [(40, 10), (20, 6), (9, 3)])
def test_a_small_terminal_does_not_break(size: tuple[int, int], start: Callable[..., Any]) -> None:
    bench, screen = start(slots=1), Screen(*size)
    screen.display.follow(lambda: OUTLOOK, metered())
    running = [busy(bench.search.tree.root, index) for index in range(16)]
    with screen.display:
        lines = screen.drawn(bench.search, running).split("\n")
        assert len(lines) <= size[1] - 2
        assert max(map(len, lines)) <= size[0]
        before = len(screen.stream.getvalue())
        screen.display.landed(bench.search, bench.display.landings[0], 29)
        landed = screen.stream.getvalue()[before:].split("\n")
        assert len(landed) <= size[1] - 1, "a landing has one line, above the slots"


def test_ideas_and_phases_cannot_steer_the_terminal(start: Callable[..., Any]) -> None:
    bench, screen = start(slots=1), Screen()
    tree = bench.search.tree
    node = tree.nodes[0]
    evil = "\x1b[2J\x1b]0;owned\x07 \u202e[bold]:smile: not markup\r\n"
    tree.nodes[0] = replace(node, candidate=replace(node.candidate, idea=evil, operator=evil))
    with screen.display:
        before = len(screen.stream.getvalue())
        shown = screen.drawn(bench.search, [replace(busy(tree.root), phase=evil)])
        screen.display.show(f"a message: {evil}")
        raw = screen.stream.getvalue()[before:]
    assert "[bold]:smile: not markup" in shown
    for bad in ("\x1b[2J", "\x1b]", "\x07", "\u202e"):
        assert bad not in raw


def test_a_pipe_gets_no_escapes_either() -> None:
    stream = io.StringIO()
    PlainDisplay(stream).show("red \x1b[31m\x1b]52;c;b3du\x07\n\tlines stay")
    assert not set(stream.getvalue()) & {"\x1b", "\x07"}
    assert stream.getvalue().endswith("\n\tlines stay\n")


@pytest.mark.slow
def test_it_is_drawn_four_times_a_second_at_most(start: Callable[..., Any]) -> None:
    bench, screen = start(slots=1), Screen()
    with screen.display:
        drawn = [bool(screen.drawn(bench.search, [], 0.03125)) for _ in range(64)]
    assert sum(drawn) == 8
    assert drawn[0]


def test_the_model_s_troubles_are_said(start: Callable[..., Any]) -> None:
    bench, screen = start(slots=1), Screen()
    screen.display.follow(lambda: OUTLOOK, metered())
    with screen.display:
        bench.search._proposals._added_at[7] = 0.0
        assert "model: 1 answer on the way" in screen.drawn(bench.search, [])
        bench.search._proposals.outage.record(True, bench.search.parts.monotonic() + 1e6)
        assert "model: paused, its service cannot answer, 1 answer on the way" in screen.drawn(bench.search, [])
        bench.search.parts = replace(bench.search.parts, llm_closed=lambda: "no money left")
        shown = screen.drawn(bench.search, [])
        assert "model: not asked any more, 1 answer on the way" in shown
        assert "no money left" in shown
    screen = Screen()
    with screen.display:
        assert "model" not in screen.drawn(bench.search, [])


def test_suspects_are_shown_with_the_reason(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = StubEvaluator.evaluate

    def caught(self: StubEvaluator, request: Request, *more: Any) -> Evaluation:
        done = evaluate(self, request, *more)
        if request.move not in (4, 5):  # the one cheats, the other is merely too large, say
            return done
        common = {name: getattr(done, name) for name in ("request", "conditions", "resources", "trust", "sandbox")}
        rest = {"device": "cpu", "started_at": 0.0, "finished_at": 1.0}
        return Failed(
            **common, **rest, outcome="invalid", reason="the audit\x1b[2J disagrees", violation=request.move == 4
        )

    monkeypatch.setattr(StubEvaluator, "evaluate", caught)
    bench, screen = start(slots=1), Screen()
    with screen.display:
        shown = screen.drawn(bench.search, [])
    assert "1 suspect node " in shown
    assert "found cheating (the audit [2J disagrees)" in shown


def test_commands_are_printed_in_one_piece_and_sentences_between_words() -> None:
    screen = Screen(width=30)
    screen.display.show("one two three four five six seven\n  python -m archive --archive some.duckdb lineage 3f2a91c4")
    lines = screen.stream.getvalue().splitlines()
    assert lines[0].rstrip() == "one two three four five six"
    assert lines[2] == "  python -m archive --archive some.duckdb lineage 3f2a91c4"


# ---------------------------------------------------------------- which display


def test_a_log_that_passes_for_a_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(make_display(io.StringIO()), PlainDisplay)


@pytest.mark.parametrize(("term", "kind"), [("xterm-256color", LiveDisplay), ("dumb", PlainDisplay)])
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
    term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    mine, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="ascii") as stream:
        display = make_display(stream)
        assert isinstance(display, kind)
        display.show("width \u2192 64")
        stream.flush()
        assert b"\\u2192 64" in os.read(mine, 1000)
    os.close(mine)


# ---------------------------------------------------------------- figures


def test_the_time_left_is_by_trainings_or_by_hours_what_comes_first() -> None:
    forecast = Forecast("searching", 2, 20, 60.0, target=False)
    assert time_left(forecast, 1.0) == 20.0
    assert time_left(forecast, 0.1) == 60.0
    assert time_left(forecast, None) == 60.0
    assert time_left(replace(forecast, seconds=None), None) is None
    assert time_left(replace(forecast, to_come=None, seconds=None), 1.0) is None


@pytest.mark.slow
def test_the_outlook_counts_down_through_search_and_claim(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Forecast, int]] = []
    run = SlotLoop.run

    def followed(self: SlotLoop) -> Any:
        monkeypatch.setattr(
            self.display, "tick", lambda search, *_: seen.append((self.forecast(), search.tree.evaluated))
        )
        return run(self)

    monkeypatch.setattr(SlotLoop, "run", followed)
    start("budget.evaluations=29", "budget.hours=2", slots=2)
    searching = [(forecast, done) for forecast, done in seen if forecast.stage == "searching"]
    claiming = [forecast for forecast, _ in seen if forecast.stage == "claiming"]
    assert searching
    assert all(forecast.to_come == 29 - done for forecast, done in searching)
    assert all(7000 < (forecast.seconds or 0.0) <= 7200 and forecast.slots == 2 for forecast, _ in searching)
    assert claiming[0].to_come > claiming[-1].to_come == 0
    assert all(forecast.seconds is None for forecast in claiming)


def test_the_rate_is_of_whole_rounds_and_falls_when_nothing_lands() -> None:
    pace = Throughput(0.0)
    assert pace.rate(5.0, 2) is None
    for now in (10.0, 10.0, 20.0, 20.1):
        pace.landed(now)
    assert pace.rate(21.0, 2) == pytest.approx(4 / 20.1)
    assert pace.rate(20.1 + 2 * 10.05 + 20.1, 2) == pytest.approx(2 / 20.1)
    for number in range(100):  # it has become ten times as fast: what was before is forgotten
        pace.landed(21.0 + number)
    assert pace.rate(120.5, 2) == pytest.approx(1.0)


def test_the_busy_share_is_by_time() -> None:
    pace = Throughput(0.0)
    assert pace.busy() is None
    for now, running in ((0.0, 0), (1.0, 2), (2.0, 1), (4.0, 0)):
        pace.sample(now, running, 2)
    assert pace.busy() == pytest.approx((1.0 + 0.5 + 0.0) / 4)
