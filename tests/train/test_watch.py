"""What the progress display can know of a running evaluation: its phase, and the losses that it has reported."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest
from underway import until

from archive.records import Conditions, Evaluation, Request
from train.executors.base import Running
from train.executors.local import LocalExecutor
from train.hardware.slots import Slot
from train.progress import ProgressCallback


class Reporting:
    """An evaluator that tells what it was given to tell, and goes on when it may."""

    def __init__(self, words: list[tuple[Any, ...]]) -> None:
        self.words = words
        self.go_on = threading.Event()

    def gate(self, files: Any) -> str | None:
        return None

    def conditions(self, slot: Slot) -> Conditions:
        return Conditions("corpus", 1.0, "machine")

    def evaluate(self, request: Request, slot: Slot, cancelled: threading.Event, watch: ProgressCallback) -> Evaluation:
        for word in self.words:
            watch(*word)
        self.go_on.wait(60)
        raise RuntimeError("enough")


def seen(words: list[tuple[Any, ...]]) -> Running:
    """What the executor says of an evaluation after these words."""
    evaluator = Reporting([*words, ("end", 1.0)])
    with LocalExecutor(evaluator, (Slot(0, "cpu", None, (), 1),)) as executor:
        executor.submit(Request("n", "r", 0, {}, 1, "screen"))
        until(lambda: any(one.phase == "end" for one in executor.running()))
        (running,) = executor.running()
        evaluator.go_on.set()
        with pytest.raises(RuntimeError, match="enough"):
            executor.wait(60)
    return running


def test_reported_losses_are_kept_in_order() -> None:
    running = seen([("train", 0.1, 5.0), ("train", 0.5), ("train", 0.6, 4.0), ("score", 1.0)])
    assert tuple(running.losses) == ((0.1, 5.0), (0.6, 4.0))
    assert running.share == 1.0


def test_a_training_that_begins_again_begins_its_curve_again() -> None:
    assert tuple(seen([("train", 0.4, 5.0), ("train", 0.1, 6.0)]).losses) == ((0.1, 6.0),)


def test_losses_that_are_no_numbers_are_left_out() -> None:
    assert tuple(seen([("train", 0.1, math.nan), ("train", 0.2, math.inf)]).losses) == ()


def test_a_long_training_does_not_grow_without_bound() -> None:
    losses = seen([("train", i / 1_000, float(i)) for i in range(1_000)]).losses
    assert 32 <= len(losses) <= 128
    assert losses[0][1] == 0.0
    assert losses[-1][1] == 999.0


@pytest.mark.slow
def test_a_real_training_tells_its_losses(run_candidate: Any, toy_seed: str) -> None:
    heard: list[float] = []

    def watch(phase: str, share: float, loss: float | None = None, /) -> None:
        if loss is not None:
            assert phase == "train"
            heard.append(loss)

    evaluation: Evaluation = run_candidate(toy_seed, watch=watch)
    assert evaluation.outcome == "scored"
    assert heard
    assert heard == [point.loss for point in evaluation.curve]
