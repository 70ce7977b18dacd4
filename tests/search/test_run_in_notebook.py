"""``Search.run``: several evaluations at a time, in one call."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

import search
from prepare.config import SettingsError
from search.run.session import interruptible

SEED = "X = 1.0  # tune: 0.001..10 log\n"


def make(budget: int = 12, score: Any = None, **options: Any) -> search.Search:
    def square(request: search.Request) -> float:
        values: dict[str, Any] = {}
        exec(request.files["train.py"], values)
        return float(values["X"]) ** 2

    task = search.OwnTask(score or square, SEED, direction="minimise", name="square")
    return search.Search(task, operators="numeric", budget=budget, claim=False, **options)


def test_all_evaluations_are_made_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    with make() as s:
        result = s.run()
        assert result is s.result
        assert result.finished
        assert s.tree.evaluated == 12
    assert capsys.readouterr().out == ""


def test_progress_is_a_line_for_each_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    with make() as s:
        s.run(progress=True)
    assert "[12/12]" in capsys.readouterr().out


def test_as_many_evaluations_run_at_a_time_as_there_are_slots() -> None:
    together = threading.Barrier(3, timeout=250)

    def score(request: search.Request) -> float:
        if request.purpose == "screen" and "X = 1.0" in request.files["train.py"]:
            together.wait()  # the three runs of the root
        return request.seed % 7 / 7

    with make(score=score) as s:
        assert s.run(slots=3).finished


@pytest.mark.parametrize("end", [SystemExit(3), KeyError("x"), RecursionError()])
def test_the_end_of_a_candidate_is_not_the_end_of_the_search(end: BaseException) -> None:
    def score(request: search.Request) -> float:
        if "X = 1.0" not in request.files["train.py"]:
            raise end
        return 1.0

    with make(score=score) as s:
        assert s.run(slots=2).finished
        assert {e.outcome for es in list(s.tree.evaluations.values())[1:] for e in es} == {"crashed"}


def test_an_interrupt_ends_it_and_the_next_call_continues() -> None:
    asked = []

    def score(request: search.Request) -> float:
        asked.append(request)
        if len(asked) == 4:
            signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else stop()
        return request.seed % 7 / 7

    def stop() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with make(score=score) as s:
        assert not s.run().finished
        assert s.tree.evaluated < 12
        assert s.run().finished
        assert s.tree.evaluated == 12


def test_a_second_interrupt_is_not_held_back() -> None:
    stop = threading.Event()
    with interruptible(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("slots", [0, -1, True, 1.5])
def test_senseless_slots_are_refused(slots: Any) -> None:
    with make() as s, pytest.raises(SettingsError, match="at least 1"):
        s.run(slots=slots)
