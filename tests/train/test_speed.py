"""The machine's speed beside a training: what is measured, and when. Its price is in tests/benchmarks/machine.py."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from underway import sandbox_processes

from archive.records import Failed, Scored
from train.hardware.slots import make_slots
from train.hardware.speed import harmonic_mean, machine_speed
from train.language_model import evaluation as pipeline

pytestmark = pytest.mark.xdist_group("clock")

CORES = make_slots(1)[0].cores


def test_the_figure_of_a_training_is_the_mean_time_of_both_measurements() -> None:
    assert harmonic_mean(20.0, 20.0) == pytest.approx(20.0)
    assert 1 / harmonic_mean(10.0, 30.0) == pytest.approx((1 / 10 + 1 / 30) / 2)


def test_it_runs_on_the_slots_cores_and_gives_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before, during = os.sched_getaffinity(0), []
    product = np.matmul

    def spy(*factors: np.ndarray, out: np.ndarray) -> np.ndarray:
        during.append(os.sched_getaffinity(0))
        return product(*factors, out=out)

    monkeypatch.setattr(np, "matmul", spy)
    core = min(before)
    machine_speed((core,))
    assert during
    assert all(cores == {core} for cores in during)
    assert os.sched_getaffinity(0) == before


@pytest.mark.slow
def test_a_busy_core_is_slower() -> None:
    core = CORES[:1]
    quiet = max(machine_speed(core) for _ in range(8))
    code = f"import os; os.sched_setaffinity(0, {set(core)})\nprint(1, flush=True)\nwhile True: pass"
    hogs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for hog in hogs:
            assert hog.stdout is not None
            hog.stdout.readline()
        busy = sorted(machine_speed(core) for _ in range(5))[2]
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()
    assert busy < 0.6 * quiet


@pytest.mark.slow
def test_it_is_measured_when_no_process_of_the_candidate_is_alive_and_recorded(
    run_candidate, toy_seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def measured(cores: tuple[int, ...]) -> float:
        seen.append(len(sandbox_processes()))
        assert cores == CORES
        return 10.0 * len(seen)

    monkeypatch.setattr(pipeline, "machine_speed", measured)
    evaluation = run_candidate(toy_seed)
    assert isinstance(evaluation, Scored)
    assert seen == [0, 0]
    assert evaluation.resources.machine_speed == pytest.approx(harmonic_mean(10.0, 20.0))


@pytest.mark.slow
def test_a_failed_training_keeps_the_speed_before_it(
    run_candidate, toy_seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "machine_speed", lambda cores: 12.5)
    evaluation = run_candidate(toy_seed.replace("data = session.start()", "session.start(); raise ValueError('no')"))
    assert isinstance(evaluation, Failed)
    assert evaluation.resources.machine_speed == 12.5
