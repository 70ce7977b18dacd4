"""What a person sees while a search runs: one line for each training that lands, and, on a terminal, the slots.

Plain lines when the output is not a terminal. All text that came from a candidate or a model is stripped of control
characters before it is shown.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from archive.records import Evaluation, Failed, Scored
from archive.tree import Tree
from operators.llm.meter import Meter
from search.claims.statistics import screening_sigma
from search.display.frame import BOLD, GREEN, RED, YELLOW, Fact, SlotRow, TerminalFrame, duration
from search.display.throughput import Pace
from search.run.controller import Forecast
from search.run.engine import Engine
from train.executors.base import Running

REDRAW_SECONDS = 0.25
"""Between two redraws of the slots, at least."""
_IDEA = 72


def clean(text: str, width: int) -> str:
    """One line of at most ``width`` printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= width else line[: width - 3] + "..."


def describe_landing(search: Engine, evaluation: Evaluation, total: int | None) -> str:
    """``[ 7/29] 3f2a91c4 tune       3.4121 bpb leads  LEARNING_RATE 0.001 -> 0.0031``."""
    tree, request = search.tree, evaluation.request
    node = tree[request.node_id]
    done = f"{tree.evaluated}" if total is None else f"{tree.evaluated:>{len(str(total))}}/{total}"
    unit = search.parts.task.metric.unit
    if request.purpose == "screen":
        name = node.candidate.operator
        idea = clean(node.candidate.idea, _IDEA)
        if tree.runs[tree.index[node.node_id]] + len(tree.failures(node.node_id)) > 1:
            idea = f"again, seed {request.seed}"
    else:
        name, idea = request.purpose, f"fresh seed {request.seed}, for the claim"
    if isinstance(evaluation, Scored):
        leads = "leads" if _leads(search, evaluation) else "     "
        # Scores on select and holdout are for the verdict: shown one by one they would only tempt to choose by them.
        figure = f"{evaluation.score:.4f} {unit}" if request.purpose == "screen" else "done"
        outcome = f"{figure:<12} {leads}"
        if suspicion := tree.suspicion(node.node_id):
            idea = clean(f"suspect: {suspicion}", 2 * _IDEA)
    else:
        outcome = f"{evaluation.outcome:<18}"
        reason = evaluation.reason if isinstance(evaluation, Failed) else ""
        idea = clean(reason + _suspects_made(search, evaluation), 2 * _IDEA)
    return f"[{done}] {node.node_id[:8]} {name:<9} {outcome}  {idea}"


def _leads(search: Engine, evaluation: Evaluation) -> bool:
    """Whether this screening's node is now the leader."""
    request = evaluation.request
    return isinstance(evaluation, Scored) and request.purpose == "screen" and search.tree.leader() == request.node_id


def _suspects_made(search: Engine, evaluation: Evaluation) -> str:
    """What a finding of cheating means for others: its descendants count for nothing from now on."""
    tree, node_id = search.tree, evaluation.request.node_id
    if not (isinstance(evaluation, Failed) and evaluation.violation and tree.suspect(node_id)):
        return ""
    heirs = len(tree.descendants(node_id))
    return f" (cheating: its {heirs} descendants are suspect, too)" if heirs else " (cheating)"


class PlainDisplay:
    """Lines for a log file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.flush()

    def follow(self, forecast: Callable[[], Forecast], meter: Meter | None) -> None:
        """A log tells what has been, not what is to come."""

    def landed(self, search: Engine, evaluation: Evaluation, total: int | None) -> None:
        self.said(describe_landing(search, evaluation, total))

    def said(self, message: str) -> None:
        print(message, file=self._stream, flush=True)

    def tick(self, search: Engine, running: Sequence[Running], total: int | None) -> None:
        """A log needs no heartbeat."""


class LiveDisplay:
    """The same lines, and below them what each slot does and how the search stands.

    Drawn by whoever calls ``tick``, four times a second at most: no thread of its own takes the cores of candidates.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: the one that ``Running.since`` was read from."""
        self._console = console
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._pace = Pace(clock())
        self._drawn = -math.inf
        self._suspected: tuple[int, tuple[Fact, ...]] = (0, ())
        self._forecast: Callable[[], Forecast] | None = None
        self._meter: Meter | None = None

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the slots away; what is said afterwards stands alone."""
        self._live.stop()

    def follow(self, forecast: Callable[[], Forecast], meter: Meter | None) -> None:
        """Show from now on what is still to come, and what the language model has cost, too."""
        self._forecast, self._meter = forecast, meter

    def landed(self, search: Engine, evaluation: Evaluation, total: int | None) -> None:
        self._pace.landed(self._clock())
        style = "green" if _leads(search, evaluation) else "red" if isinstance(evaluation, Failed) else ""
        # A styled text, not a styled print: that would dye the slots below it, too.
        line = Text(describe_landing(search, evaluation, total), style=style)
        self._console.print(line, overflow="ellipsis", no_wrap=True)

    def said(self, message: str) -> None:
        """Sentences broken between words; indented lines by the terminal alone: a command is copied in one piece."""
        for line in message.split("\n"):
            harmless = "".join(c if c.isprintable() else " " for c in line)
            self._console.print(Text(harmless), soft_wrap=line.startswith(" "))

    def tick(self, search: Engine, running: Sequence[Running], total: int | None) -> None:
        now = self._clock()
        if now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        forecast = self._forecast() if self._forecast is not None else None
        slots = forecast.slots if forecast is not None else 1 + max((one.slot.index for one in running), default=-1)
        self._pace.looked(now, len(running), slots)
        self._live.update(self._frame(search, running, forecast, slots, total), refresh=True)

    def _frame(
        self, search: Engine, running: Sequence[Running], forecast: Forecast | None, slots: int, total: int | None
    ) -> TerminalFrame:
        now, busy = self._clock(), {one.slot.index: one for one in running}
        rows = [
            _row(search, busy[index], now) if index in busy else SlotRow(index)
            for index in sorted({*range(slots), *busy})
        ]
        rate = self._pace.rate(now, max(1, slots))
        groups = (
            _progress(search, forecast, total, rate, self._pace.busy()),
            _standing(search),
            self._suspects(search.tree),
            _model(search, self._meter),
        )
        return TerminalFrame(rows, [tuple(group) for group in groups])

    def _suspects(self, tree: Tree) -> tuple[Fact, ...]:
        """Looked for when something has landed: nobody becomes suspect otherwise."""
        if self._suspected[0] != tree.evaluated:
            self._suspected = tree.evaluated, tuple(_suspicions(tree))
        return self._suspected[1]


def _row(search: Engine, one: Running, now: float) -> SlotRow:
    node, request = search.tree[one.request.node_id], one.request
    does = node.candidate.operator if request.purpose == "screen" else request.purpose
    return SlotRow(
        one.slot.index,
        node.node_id[:8],
        clean(does, 9),
        clean(one.phase, 6),
        one.share,
        max(0.0, now - one.since),
        tuple(one.losses),
        clean(node.candidate.idea, 200),
    )


# ---------------------------------------------------------------- the facts


def _progress(
    search: Engine, forecast: Forecast | None, total: int | None, rate: float | None, busy: float | None
) -> Iterator[Fact]:
    """How far it is, and how fast."""
    tree = search.tree
    yield Fact(f"{tree.evaluated}" + (f" of {total}" if total else "") + " trainings", BOLD)
    if forecast is not None:
        yield Fact(forecast.stage)
        left = time_left(forecast, rate)
        if left is not None:
            yield Fact(f"{'at most' if forecast.target else 'about'} {duration(left)} left")
    if rate is not None:
        yield Fact(f"{3600 * rate:,.0f} an hour")
    if busy is not None:
        yield Fact(f"slots {busy:.0%} busy")


def time_left(forecast: Forecast, rate: float | None) -> float | None:
    """Seconds until the run ends: its trainings at the present ``rate`` a second, or its hours, what comes first."""
    known = [] if forecast.seconds is None else [forecast.seconds]
    if forecast.to_come is not None and rate:
        known.append(forecast.to_come / rate)
    return min(known, default=None)


def _standing(search: Engine) -> Iterator[Fact]:
    """The leader, the root to compare it with, and the noise."""
    tree, unit = search.tree, search.parts.task.metric.unit
    leader, sigma = tree.leader(), screening_sigma(tree)
    if leader is not None and leader != tree.root:
        yield Fact(f"best {_mean(tree, leader)} {unit} ({leader[:8]}, {_runs(tree, leader)})", GREEN)
    if len(tree) and tree.runs[0]:
        yield Fact(f"root {_mean(tree, tree.root)} ({_runs(tree, tree.root)})")
    if sigma is not None:
        yield Fact(f"sigma {sigma:.4f}")


def _mean(tree: Tree, node_id: str) -> str:
    return f"{tree.mean(node_id):.4f}"


def _runs(tree: Tree, node_id: str) -> str:
    runs = int(tree.runs[tree.index[node_id]])
    return f"{runs} run{'s' if runs != 1 else ''}"


def _suspicions(tree: Tree) -> Iterator[Fact]:
    """How many nodes count for nothing since there was cheating, and what is said of the latest of them."""
    places = np.flatnonzero(tree.suspects)
    found = [(i, why) for i in map(int, places) if (why := tree.suspicion(tree.nodes[i].node_id)) is not None]
    cheats = [(tree.nodes[i].node_id, why) for i, why in found if why.evaluation.violation]
    if cheats:
        node_id, why = cheats[-1]
        yield Fact(f"{len(cheats)} suspect node{'s' if len(cheats) > 1 else ''}", RED)
        yield Fact(f"{node_id[:8]} {clean(str(why), 200)}", RED)


def _model(search: Engine, meter: Meter | None) -> Iterator[Fact]:
    """What the language model does, and what it has cost beside its caps."""
    if meter is None:
        return
    pending, closed = search.pending, search.parts.llm_closed()
    answers = f"{pending} answer{'s' if pending != 1 else ''} on the way"
    if closed is not None:
        yield Fact("model: not asked any more" + (f", {answers}" if pending else ""), YELLOW)
    elif search.paused:
        yield Fact("model: paused, its service cannot answer" + (f", {answers}" if pending else ""), YELLOW)
    else:
        yield Fact(f"model: {answers}")
    if search.ready:
        yield Fact(f"{search.ready} ready")
    spent = meter.spending  # what counts against the caps: calls of unknown cost at the most they can have cost
    if meter.priced:
        yield Fact(f"${spent.charged_dollars:.2f} of ${meter.max_dollars:.2f}")
    yield Fact(f"{spent.charged_tokens:,} of {meter.max_tokens:,} tokens")
    if closed is not None:
        yield Fact(clean(closed, 200), YELLOW)


def make_display(stream: TextIO) -> PlainDisplay | LiveDisplay:
    """Live on a terminal that can move its cursor; plain for a file, a pipe, and a log, whatever FORCE_COLOR says."""
    if isinstance(stream, io.TextIOWrapper):  # an arrow in an idea must not end a search in a Latin-1 locale
        stream.reconfigure(errors="backslashreplace")
    console = Console(file=stream)
    return LiveDisplay(console) if stream.isatty() and not console.is_dumb_terminal else PlainDisplay(stream)
