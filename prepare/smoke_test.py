"""The rehearsal: a smoke test that runs the whole program in about a second, before its training budget is spent.

An error that only shows after the training, in the returned state or in ``predict``, wastes the whole budget. The
rehearsal runs ``train`` on synthetic text with an accelerated clock, so that such an error shows at once. The program
learns nothing about the data from it: the text is generated from the seed alone.
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

_SHARES = (0.0, 0.3, 0.6, 0.85, 0.95, 0.99)
"""Used share of the budget after 0, 1, 2, ... reports, so that a few steps cover every stage of a schedule."""
TEXT_BYTES = 1 << 18
"""Bytes of synthetic text, at most; fewer if the real text is shorter."""
_PATIENCE = 3.0  # times the seconds of the rehearsal, after which it is interrupted


class Unfinished(BaseException):
    """The rehearsal was interrupted, since the program did not check the session's clock.

    A BaseException, so that a program that catches every Exception does not catch it.
    """


def synthetic_text(seed: int, size: int, vocab: int = 256) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return [size] bytes below ``vocab``: lines of made-up words with the frequencies of words in real languages.

    Not random bytes, in which a program that counts n-grams would find ten times as many of them as in a real text.
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
    """Return rows [R, context + 1] of tokens that begin with token 0: at most ``size`` bytes, at least one row."""
    width = context + 1
    rows = max(1, size // (2 * width))
    tokens = synthetic_text(seed, rows * width).astype(np.uint16).reshape(rows, width) + np.uint16(1)
    tokens[:, 0] = 0
    return tokens


class RehearsalSession(Session):
    """A session with an accelerated clock: it ends after six reports, or after ``rehearsal_seconds``."""

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
        self._acceleration = seconds / rehearsal_seconds
        self._reports = 0

    def elapsed(self) -> float:
        share = _SHARES[self._reports] if self._reports < len(_SHARES) else 1.0
        return max(share * self.seconds, self._acceleration * super().elapsed())

    def report(self, *, step: int, loss: float) -> None:
        super().report(step=step, loss=loss)
        self._reports += 1


def _ignore_report(step: int, loss: float) -> None:
    """Discard a report: the curve has points of the training only."""


@contextmanager
def time_limit(rehearsal_seconds: float) -> Iterator[Callable[[], None]]:
    """Yield a function that starts an alarm; ``Unfinished`` is raised if the block does not end in time after that.

    Must be used in the main thread, where the exception is raised.
    """
    patience = _PATIENCE * rehearsal_seconds

    def interrupt(*_: object) -> None:
        raise Unfinished(f"train() had not returned {patience:g} s after session.start()")

    def set_alarm() -> None:
        signal.setitimer(signal.ITIMER_REAL, patience)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        yield set_alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
