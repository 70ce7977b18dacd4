"""The session as a candidate sees it: one start, a clock with a reserve, reports that are cheap."""

from __future__ import annotations

import pytest
import torch

from prepare.session import Session, TaskInfo, reserve


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[tuple[int, float]]:
    return []


@pytest.fixture
def session(clock: Clock, told: list[tuple[int, float]]) -> Session:
    return Session(
        task=TaskInfo(vocab=256, context=8, device="cpu"),
        seed=3,
        seconds=10.0,
        begin=lambda: (torch.zeros(5, dtype=torch.uint8), 9.0),
        tell=lambda step, loss: told.append((step, loss)),
        clock=clock,
    )


def test_the_clock_starts_with_the_data(session: Session, clock: Clock) -> None:
    clock.now += 50
    assert len(session.start()) == 5
    assert session.elapsed() == 0.0
    clock.now += 2
    assert session.elapsed() == 2.0


def test_what_remains_is_what_was_granted_less_a_reserve(session: Session, clock: Clock) -> None:
    session.start()
    assert session.seconds == 9.0  # the start-up took a second too long
    assert session.remaining() == pytest.approx(9.0 - 0.18)
    clock.now += 20
    assert session.remaining() == pytest.approx(9.0 - 0.18 - 20)
    assert session.progress() == 1.0


def test_progress_is_the_share_of_what_can_be_used(session: Session, clock: Clock) -> None:
    session.start()
    clock.now += (9.0 - 0.18) / 4
    assert session.progress() == pytest.approx(0.25)


@pytest.mark.parametrize(("seconds", "expected"), [(0.1, 0.02), (10.0, 0.2), (60.0, 1.2), (3600.0, 2.0)])
def test_the_reserve(seconds: float, expected: float) -> None:
    assert reserve(seconds) == pytest.approx(expected)


def test_starting_twice_is_an_error(session: Session) -> None:
    session.start()
    with pytest.raises(RuntimeError, match="called twice; keep the tensor"):
        session.start()


@pytest.mark.parametrize("early", [Session.elapsed, Session.remaining, Session.progress])
def test_there_is_no_clock_before_the_start(session: Session, early) -> None:
    with pytest.raises(RuntimeError, match=r"call session.start\(\) first"):
        early(session)


def test_there_is_nothing_to_report_before_the_start(session: Session, told: list[tuple[int, float]]) -> None:
    with pytest.raises(RuntimeError, match=r"before session.start\(\)"):
        session.report(step=0, loss=1.0)
    assert told == []


def test_reports_are_thinned_but_never_a_divergence(
    session: Session, clock: Clock, told: list[tuple[int, float]]
) -> None:
    session.start()
    for step in range(100):
        session.report(step=step, loss=5.0 - step)
        clock.now += 0.01
    assert [step for step, _ in told] == pytest.approx(list(range(0, 100, 5)), abs=1)
    session.report(step=100, loss=float("inf"))
    session.report(step=101, loss=torch.tensor(float("nan")))
    assert [step for step, _ in told[-2:]] == [100, 101]
