"""A rehearsal: the whole of a program once, in about a second, before its training budget is spent.

What costs a budget is an error that shows after the training: in the state that is returned, in ``predict``. A
rehearsal runs ``train`` on a made-up text with a clock that hurries, so that such an error shows at once. Nothing can
be learned from it: the text is drawn from the seed and has nothing of the real one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from prepare.scoring import Tokens
from prepare.session import Session, TaskInfo

if TYPE_CHECKING:
    from torch import Tensor

_WALK = (0.0, 0.3, 0.6, 0.85, 0.95, 0.99)
"""The share of the budget that has passed after so many reports: every stage of a schedule is seen in a few steps."""
TEXT_BYTES = 1 << 18
"""Of the made-up text, or as many as the real one has, if that is shorter."""
_PATIENCE = 3.0  # times the seconds of a rehearsal: what has not ended then is broken off


class Unfinished(BaseException):
    """The rehearsal was broken off: the program did not ask the session for the time. Not an ``Exception``, so that
    a program that catches all of these does not catch it."""


def synthetic_text(seed: int, size: int, vocab: int = 256) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """[size] bytes below ``vocab``: words of a made-up language in lines, as frequent as words are in real ones.

    Not mere noise, in which a program that counts would find ten times as much to count as in a text.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 9, size=400)
    endings = rng.choice(list(b"      ,.\n\n"), size=len(lengths))
    words = [
        bytes([*rng.integers(97, 123, size=length).tolist(), ending, *([10] if ending == 10 else [])])
        for length, ending in zip(lengths.tolist(), endings.tolist(), strict=True)
    ]
    chances = 1.0 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), size=size // 3 + 1, p=chances / chances.sum())
    text = b"".join(words[i] for i in drawn.tolist())[:size]
    return np.frombuffer(text, np.uint8) % np.uint8(min(vocab, 255))


def synthetic_rows(seed: int, size: int, context: int) -> Tokens:
    """Rows [R, context + 1] of tokens that begin with token 0, of ``size`` bytes at most (one row at least)."""
    width = context + 1
    rows = max(1, size // (2 * width))
    tokens = synthetic_text(seed, rows * width).astype(np.uint16).reshape(rows, width) + np.uint16(1)
    tokens[:, 0] = 0
    return tokens


class RehearsalSession(Session):
    """A session whose clock hurries: it is over after six reports, or after ``rehearsal_seconds``."""

    def __init__(
        self,
        *,
        task: TaskInfo,
        seed: int,
        seconds: float,
        rehearsal_seconds: float,
        data: Callable[[], Tensor],
        started: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def begin() -> tuple[Tensor, float]:
            text = data()
            started()
            return text, seconds

        super().__init__(task=task, seed=seed, seconds=seconds, begin=begin, tell=_ignore_report, clock=clock)
        self._hurry = seconds / rehearsal_seconds
        self._reports = 0

    def elapsed(self) -> float:
        walked = _WALK[self._reports] if self._reports < len(_WALK) else 1.0
        return max(walked * self.seconds, self._hurry * super().elapsed())

    def report(self, *, step: int, loss: float) -> None:
        super().report(step=step, loss=loss)
        self._reports += 1


def _ignore_report(step: int, loss: float) -> None:
    """Reports of a rehearsal are not sent: it is no training."""


@contextmanager
def time_limit(rehearsal_seconds: float) -> Iterator[Callable[[], None]]:
    """Gives a function that sets an alarm clock: ``Unfinished`` is raised if the block does not end in time after it.

    To be used in the main thread, where the exception is raised.
    """
    patience = _PATIENCE * rehearsal_seconds

    def break_off(*_: object) -> None:
        raise Unfinished(f"train() had not returned {patience:g} s after session.start()")

    def set_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, patience)

    before = signal.signal(signal.SIGALRM, break_off)
    try:
        yield set_alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
