"""Training time as a session counts it: CPU seconds per core, waiting at a fraction, and the evaluator's own count."""

from __future__ import annotations

import pytest

from prepare.clock import PAGE_BYTES, PATIENCE, CpuClock, training_seconds, write_count


class Times:
    """CPU and wall seconds that a test sets."""

    def __init__(self) -> None:
        self.cpu, self.wall = 3.0, 1000.0

    def pass_by(self, cpu: float, wall: float) -> None:
        self.cpu, self.wall = self.cpu + cpu, self.wall + wall


@pytest.fixture
def times() -> Times:
    return Times()


def clock_of(times: Times, cores: int = 1) -> CpuClock:
    return CpuClock(cores, cpu=lambda: times.cpu, wall=lambda: times.wall)


@pytest.mark.parametrize(
    ("cpu", "wall", "cores", "expected"),
    [
        (2.0, 2.0, 1, 2.0),
        (2.0, 6.0, 1, 2.0),  # two busy neighbours on its core
        (2.0, 100.0, 1, 100.0 / PATIENCE),  # it waits
        (4.0, 2.0, 2, 2.0),
        (2.0, 2.0, 2, 1.0),  # one of two cores
    ],
)
def test_training_seconds(cpu: float, wall: float, cores: int, expected: float) -> None:
    assert training_seconds(cpu, wall, cores) == pytest.approx(expected)


def test_the_clock_counts_from_its_restart(times: Times) -> None:
    clock = clock_of(times)
    times.pass_by(cpu=5.0, wall=90.0)
    clock.restart()
    assert clock() == 0.0
    times.pass_by(cpu=1.0, wall=3.0)
    assert clock() == pytest.approx(1.0)


def test_waiting_comes_to_an_end(times: Times) -> None:
    clock = clock_of(times)
    times.pass_by(cpu=0.0, wall=10.0 * PATIENCE)
    assert clock() == pytest.approx(10.0)


def test_the_larger_count_holds(times: Times) -> None:
    page = memoryview(bytearray(PAGE_BYTES))
    clock = clock_of(times)
    clock.restart(page)
    times.pass_by(cpu=1.0, wall=1.0)
    write_count(page, 0.9)  # a moment ago
    assert clock() == pytest.approx(1.0)
    write_count(page, 1.8)  # with children that live
    assert clock() == pytest.approx(1.8)
