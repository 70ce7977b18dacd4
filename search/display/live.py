"""Progress of a search: one line per evaluation that lands, and, on a terminal, the state of the slots.

Plain lines when the output is not a terminal. All text from candidates and models is stripped of control characters
before it is shown.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO, cast

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from archive.query.tables import digits
from archive.records import EvaluationPart, Failed, Landed, Scored
from archive.tree import Tree
from operators.llm.meter import Meter
from prepare.output import many, printable, shortened, silence
from search.claims.statistics import seed_deviation
from search.display.frame import BOLD, GREEN, RED, YELLOW, Fact, SlotRow, TerminalFrame, duration
from search.display.throughput import Throughput
from search.run.budget import Forecast
from search.run.engine import Engine
from train.executors.base import Running

REDRAW_SECONDS = 0.25
"""Least time between two redraws of the slots."""
_IDEA = 72


def clean(text: str, width: int) -> str:
    """Reduce text to one line of at most ``width`` printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return shortened(line, width, "...")


def describe_landing(engine: Engine, evaluation: Landed, total: int | None) -> str:
    """Return a line such as ``[ 7/29] 3f2a91c4 tune       3.4121 bpb leads  LEARNING_RATE 0.001 -> 0.0031``."""
    tree, request = engine.tree, evaluation.request
    node = tree[request.node_id]
    done = f"{tree.evaluated}" if total is None else f"{tree.evaluated:>{len(str(total))}}/{total}"
    unit = engine.parts.task.metric.unit
    if request.purpose == "screen":
        name = node.candidate.operator
        idea = clean(node.candidate.idea, _IDEA)
        if tree.runs[tree.index[node.node_id]] + len(tree.failures(node.node_id)) > 1:
            idea = f"again, seed {request.seed}"
    else:
        again = "evaluated again" if engine.parts.task.deterministic else f"fresh seed {request.seed}"
        name, idea = request.purpose, f"{again}, for the claim"
    if isinstance(evaluation, Scored):
        leads = "leads" if _leads(engine, evaluation) else "     "
        # Single scores on select and holdout are not shown: choosing by them would invalidate the claim.
        figure = f"{digits(evaluation.score)} {unit}" if request.purpose == "screen" else "done"
        outcome = f"{figure:<12} {leads}"
        if suspicion := tree.suspicion(node.node_id):
            idea = clean(f"suspect: {suspicion}", 2 * _IDEA)
    else:
        outcome = f"{evaluation.outcome:<18}"
        if isinstance(evaluation, Failed):
            idea = clean(evaluation.reason + _suspects_made(engine, evaluation), 2 * _IDEA)
    return f"[{done}] {node.node_id[:8]} {name:<9} {outcome}  {idea}"


def _leads(engine: Engine, evaluation: Landed) -> bool:
    """Return whether this screening's node is now the leader."""
    request = evaluation.request
    return isinstance(evaluation, Scored) and request.purpose == "screen" and engine.tree.leader() == request.node_id


def _suspects_made(engine: Engine, evaluation: Landed) -> str:
    """Describe a finding of cheating, and how many descendants have become suspect with it."""
    tree, node_id = engine.tree, evaluation.request.node_id
    if not (isinstance(evaluation, Failed) and evaluation.violation and tree.suspect(node_id)):
        return ""
    descendants = len(tree.descendants(node_id))
    return f" (cheating: its {descendants} descendants are suspect, too)" if descendants else " (cheating)"


class PlainDisplay:
    """Plain lines, for a log file or a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.flush()

    def follow(self, forecast: Callable[[], Forecast], meter: Meter | None) -> None:
        """Do nothing: a log has no forecast."""

    def landed(self, engine: Engine, evaluation: Landed, total: int | None) -> None:
        self.show(describe_landing(engine, evaluation, total))

    def show(self, message: str) -> None:
        print(printable(message), file=self._stream, flush=True)

    def tick(self, engine: Engine, running: Sequence[Running], total: int | None) -> None:
        """Do nothing: a log has no frame to redraw."""


class SilentDisplay(PlainDisplay):
    """Nothing at all, for a caller that looks at the search itself."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())

    def show(self, message: str) -> None:
        """Do nothing."""


class LiveDisplay:
    """The same lines, and below them a frame with the slots and the state of the search.

    Drawn in the thread that calls ``tick``, at most four times a second: a thread of its own would take time from the
    candidates' cores.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: the same one as that of ``Running.since``."""
        self._console = console
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._throughput = Throughput(clock())
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
        """Remove the frame; later lines are printed alone."""
        self._live.stop()

    def follow(self, forecast: Callable[[], Forecast], meter: Meter | None) -> None:
        """Show the forecast and the cost of the language model from now on."""
        self._forecast, self._meter = forecast, meter

    def landed(self, engine: Engine, evaluation: Landed, total: int | None) -> None:
        if not isinstance(evaluation, EvaluationPart):
            self._throughput.landed(self._clock())
        style = "green" if _leads(engine, evaluation) else "red" if isinstance(evaluation, Failed) else ""
        # A styled text, not a styled print, which would colour the slots below it, too.
        line = Text(describe_landing(engine, evaluation, total), style=style)
        self._console.print(line, overflow="ellipsis", no_wrap=True)

    def show(self, message: str) -> None:
        """Print a message, wrapped between words. Indented lines are not wrapped, so that commands can be copied."""
        for line in message.split("\n"):
            harmless = "".join(c if c.isprintable() else " " for c in line)
            self._console.print(Text(harmless), soft_wrap=line.startswith(" "))

    def tick(self, engine: Engine, running: Sequence[Running], total: int | None) -> None:
        now = self._clock()
        if now - self._drawn < REDRAW_SECONDS:
            return
        self._drawn = now
        forecast = self._forecast() if self._forecast is not None else None
        slots = forecast.slots if forecast is not None else 1 + max((one.slot.index for one in running), default=-1)
        self._throughput.sample(now, len(running), slots)
        self._live.update(self._frame(engine, running, forecast, slots, total), refresh=True)

    def _frame(
        self, engine: Engine, running: Sequence[Running], forecast: Forecast | None, slots: int, total: int | None
    ) -> TerminalFrame:
        now, busy = self._clock(), {one.slot.index: one for one in running}
        rows = [
            _row(engine, busy[index], now) if index in busy else SlotRow(index)
            for index in sorted({*range(slots), *busy})
        ]
        rate = self._throughput.rate(now, max(1, slots))
        groups = (
            _progress(engine, forecast, total, rate, self._throughput.busy()),
            _standing(engine),
            self._suspects(engine.tree),
            _model(engine, self._meter),
        )
        return TerminalFrame(rows, [tuple(group) for group in groups])

    def _suspects(self, tree: Tree) -> tuple[Fact, ...]:
        """Return the facts about suspects, computed again only when an evaluation has landed."""
        if self._suspected[0] != tree.evaluated:
            self._suspected = tree.evaluated, tuple(_suspicions(tree))
        return self._suspected[1]


def _row(engine: Engine, one: Running, now: float) -> SlotRow:
    node, request = engine.tree[one.request.node_id], one.request
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


# ---------------------------------------------------------------- facts


def _progress(
    engine: Engine, forecast: Forecast | None, total: int | None, rate: float | None, busy: float | None
) -> Iterator[Fact]:
    """Yield progress, time left and throughput."""
    tree = engine.tree
    yield Fact(f"{tree.evaluated}" + (f" of {total}" if total else "") + " evaluations", BOLD)
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
    """Return the seconds until the run ends: by its evaluations at ``rate`` a second, or by its hours."""
    known = [] if forecast.seconds is None else [forecast.seconds]
    if forecast.to_come is not None and rate:
        known.append(forecast.to_come / rate)
    return min(known, default=None)


def _standing(engine: Engine) -> Iterator[Fact]:
    """Yield the leader, the root and the seed deviation."""
    tree, unit = engine.tree, engine.parts.task.metric.unit
    leader, sigma = tree.leader(), seed_deviation(tree)
    if leader is not None and leader != tree.root:
        yield Fact(f"best {_mean(tree, leader)} {unit} ({leader[:8]}, {_runs(tree, leader)})", GREEN)
    if len(tree) and tree.runs[0]:
        yield Fact(f"root {_mean(tree, tree.root)} ({_runs(tree, tree.root)})")
    if sigma is not None:
        yield Fact(f"sigma {sigma.value:.2g} ({sigma.low:.2g} to {sigma.high:.2g})")


def _mean(tree: Tree, node_id: str) -> str:
    return digits(tree.mean(node_id))


def _runs(tree: Tree, node_id: str) -> str:
    runs = int(tree.runs[tree.index[node_id]])
    return many(runs, "run")


def _suspicions(tree: Tree) -> Iterator[Fact]:
    """Yield the number of nodes that are suspect because of cheating, and the reason of the latest of them."""
    places = np.flatnonzero(tree.suspects)
    found = [(i, why) for i in map(int, places) if (why := tree.suspicion(tree.nodes[i].node_id)) is not None]
    cheats = [(tree.nodes[i].node_id, why) for i, why in found if why.evaluation.violation]
    if cheats:
        node_id, why = cheats[-1]
        yield Fact(many(len(cheats), "suspect node"), RED)
        yield Fact(f"{node_id[:8]} {clean(str(why), 200)}", RED)


def _model(engine: Engine, meter: Meter | None) -> Iterator[Fact]:
    """Yield the state of the language model, and its cost beside its caps."""
    if meter is None:
        return
    pending, closed = engine.pending, engine.parts.llm_closed()
    answers = f"{many(pending, 'answer')} on the way"
    if closed is not None:
        yield Fact("model: not asked any more" + (f", {answers}" if pending else ""), YELLOW)
    elif engine.paused:
        yield Fact("model: paused, its service cannot answer" + (f", {answers}" if pending else ""), YELLOW)
    else:
        yield Fact(f"model: {answers}")
    if engine.ready:
        yield Fact(f"{engine.ready} ready")
    spent = meter.spending  # as counted against the caps: a call of unknown cost counts as its maximum
    if meter.priced:
        yield Fact(f"${spent.charged_dollars:.2f} of ${meter.max_dollars:.2f}")
    yield Fact(f"{spent.charged_tokens:,} of {meter.max_tokens:,} tokens")
    if closed is not None:
        yield Fact(clean(closed, 200), YELLOW)


class _Output:
    """An output that may go away (a closed pipe or terminal, a full disk): a search goes on without it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            return self._lost(len(text))

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._lost(0)

    def _lost(self, length: int) -> int:
        silence(self._stream)
        return length


def make_display(stream: TextIO) -> PlainDisplay | LiveDisplay:
    """Return a live display for a terminal with cursor control, else a plain one, whatever FORCE_COLOR says."""
    if isinstance(stream, io.TextIOWrapper):  # a non-Latin-1 character must not raise in a Latin-1 locale
        stream.reconfigure(errors="backslashreplace")
    output = cast(TextIO, _Output(stream))
    console = Console(file=output)
    return LiveDisplay(console) if output.isatty() and not console.is_dumb_terminal else PlainDisplay(output)
