"""How far a preparation is, for a person who waits: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_LINE_SECONDS = 10.0

Advance = Callable[[float], None]
"""Tells how much is done, in the unit of the total."""


@contextmanager
def progress(
    what: str,
    total: float,
    unit: str = "MB",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Gives a function to call with what is done of ``total``. Written to ``stream``, standard error by default."""
    stream = stream or sys.stderr
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:  # an exported program runs without it
        yield _lines(what, total, unit, stream, clock)
        return
    console = Console(file=stream)
    if not console.is_terminal:
        yield _lines(what, total, unit, stream, clock)
        return
    numbers = TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit)
    with Progress(TextColumn(what), BarColumn(), numbers, TimeRemainingColumn(), console=console) as drawing:
        task = drawing.add_task(what, total=total)
        yield lambda done: drawing.update(task, completed=done)


def _lines(what: str, total: float, unit: str, stream: TextIO, clock: Callable[[], float]) -> Advance:
    """A line every ten seconds, so that a quick preparation says nothing."""
    told = clock()

    def advance(done: float) -> None:
        nonlocal told
        if (now := clock()) - told >= _LINE_SECONDS:
            told = now
            print(f"{what}: {done:,.0f} of {total:,.0f} {unit}", file=stream, flush=True)

    return advance
