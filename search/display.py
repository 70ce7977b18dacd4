"""What a person sees while a search runs: one line for each training that lands, and, on a terminal, the slots.

Plain lines when the output is not a terminal. All text that came from a candidate or a model is stripped of control
characters before it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from archive.records import Evaluation, Failed, Scored
from search.engine import Search
from search.statistics import screening_sigma
from train.local import Running

_IDEA = 72


def clean(text: str, width: int) -> str:
    """One line of at most ``width`` printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= width else line[: width - 3] + "..."


def describe_landing(search: Search, evaluation: Evaluation, total: int | None) -> str:
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
        leads = "leads" if request.purpose == "screen" and tree.leader() == node.node_id else "     "
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


def _suspects_made(search: Search, evaluation: Evaluation) -> str:
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

    def landed(self, search: Search, evaluation: Evaluation, total: int | None) -> None:
        self.said(describe_landing(search, evaluation, total))

    def said(self, message: str) -> None:
        print(message, file=self._stream, flush=True)

    def tick(self, search: Search, running: Sequence[Running], total: int | None) -> None:
        """A log needs no heartbeat."""


class LiveDisplay:
    """The same lines, and below them what each slot does, redrawn four times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the slots away; what is said afterwards stands alone."""
        self._live.stop()

    def landed(self, search: Search, evaluation: Evaluation, total: int | None) -> None:
        line = describe_landing(search, evaluation, total)
        leads = "leads" in line and isinstance(evaluation, Scored)
        style = "green" if leads else "red" if isinstance(evaluation, Failed) else ""
        # A styled text, not a styled print: that would dye the slots below it, too.
        self._console.print(Text(line, style=style, overflow="ellipsis", no_wrap=True))

    def said(self, message: str) -> None:
        self._console.print(escape(message), highlight=False)

    def tick(self, search: Search, running: Sequence[Running], total: int | None) -> None:
        self._live.update(self._slots(search, running, total))

    def _slots(self, search: Search, running: Sequence[Running], total: int | None) -> Table:
        tree = search.tree
        table = Table.grid(padding=(0, 2))
        for one in running:
            node = tree[one.request.node_id]
            bar = "#" * round(20 * one.share) + "." * (20 - round(20 * one.share))
            table.add_row(
                f"slot {one.slot.index}",
                node.node_id[:8],
                one.request.purpose if one.request.purpose != "screen" else node.candidate.operator,
                f"{one.phase:<6}",
                bar,
                f"{time.monotonic() - one.since:.0f} s",
                escape(clean(node.candidate.idea, 48)),
            )
        leader, sigma = tree.leader(), screening_sigma(tree)
        facts = [f"{tree.evaluated}" + (f" of {total}" if total else "") + " trainings"]
        if leader is not None:
            facts.append(f"best {tree.means[tree.index[leader]]:.4f}")
        if sigma is not None:
            facts.append(f"sigma {sigma:.4f}")
        if search.thinking:
            facts.append(f"{search.thinking} proposals asked of the model")
        table.add_row("", "", "", "", "", "", ", ".join(facts))
        return table


def make_display(stream: TextIO) -> PlainDisplay | LiveDisplay:
    """Live on a terminal, plain otherwise."""
    console = Console(file=stream)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(stream)
