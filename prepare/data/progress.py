"""Progress of a data preparation: a bar on a terminal, otherwise a line every ten seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_LINE_SECONDS = 10.0

ProgressUpdate = Callable[[float], None]
"""Callback that takes the amount done so far, in the unit of the total."""


@contextmanager
def progress(
    what: str,
    total: float,
    unit: str = "MB",
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressUpdate]:
    """Yield a callback that displays the amount done of ``total`` on ``stream`` (standard error by default)."""
    stream = stream or sys.stderr
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:  # optional, so that an exported program needs no rich
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


def _lines(what: str, total: float, unit: str, stream: TextIO, clock: Callable[[], float]) -> ProgressUpdate:
    """Return a callback that prints a line every ten seconds; a quick preparation prints nothing."""
    printed = clock()

    def advance(done: float) -> None:
        nonlocal printed
        if (now := clock()) - printed >= _LINE_SECONDS:
            printed = now
            print(f"{what}: {done:,.0f} of {total:,.0f} {unit}", file=stream, flush=True)

    return advance
