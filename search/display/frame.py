"""The terminal frame of a running search: one line per slot, and below them facts about the search.

Pure: the content and the size of the terminal go in, lines that fit come out. It is drawn on the cores that evaluate
candidates, so it is written to be cheap: segments, no tables, nothing is measured twice.

    0  3f2a91c4  tune       train   █▆▅▄▃▃▂▂▂▁······   62%   3.412   7 s  LEARNING_RATE 0.001 -> 0.0031
    1  c98c047c  crossover  audit   █▅▄▃▃▂▂▂▁▁▁▁▁▁▁▁  100%   3.120  13 s  merge of f8ca2672 and 6736c5dd
    12 of 29 evaluations   searching   about 3 min left   214 an hour   slots 96% busy
    best 3.0925 bpb (c98c047c, 1 run)   root 3.6178 (3 runs)   sigma 0.0187
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

_BLOCKS, _ASCII_BLOCKS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
_REST, _ASCII_REST = "·", "."
"""The remaining part of a progress bar."""
_GAP = "   "
"""Between two facts on a line."""

BOLD, GREEN, RED, YELLOW = Style(bold=True), Style(color="green"), Style(color="red"), Style(color="yellow")
_NONE, _DIM, _CURVE = Style(), Style(dim=True), Style(color="cyan")
_PHASES = {"train": GREEN, "score": YELLOW, "audit": Style(color="magenta")}


@dataclass(frozen=True)
class SlotRow:
    """One slot; ``node`` and the following fields are empty while it is idle. Texts are one printable line."""

    index: int
    node: str = ""
    does: str = ""
    """The operator that made the candidate; for a claim, the purpose of the evaluation."""
    phase: str = "idle"
    share: float = 0.0
    """Of the evaluation's own budget, in [0, 1]."""
    seconds: float = 0.0
    """Since the evaluation began."""
    losses: Sequence[tuple[float, float]] = ()
    """(share of the budget, loss) as reported by the candidate: shown, and used for nothing else."""
    idea: str = ""


@dataclass(frozen=True)
class Fact:
    """A few printable words that stay together on a line, and their style."""

    words: str
    style: Style = _NONE


@dataclass(frozen=True)
class TerminalFrame:
    """The whole frame. Each group of facts starts a new line, the most important group first."""

    slots: Sequence[SlotRow] = ()
    groups: Sequence[Sequence[Fact]] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        size = options.size
        for number, line in enumerate(self.lines(options.max_width, size.height, options.ascii_only)):
            if number:
                yield Segment.line()
            yield from line

    def lines(self, width: int, height: int, ascii_only: bool = False) -> list[list[Segment]]:
        """Return at most ``height`` - 2 lines (at least one) of at most ``width`` cells: earlier output stays visible.

        In a short terminal slots and facts are left out from the end; two slots stay as long as possible.
        """
        room = max(1, height - 2)
        slots = list(self.slots)
        facts = list(_flow(self.groups, width))
        facts = facts[: max(1, room - min(2, len(slots)))]
        shown = room - len(facts)
        if len(slots) > shown:  # the last line says how many more there are
            hidden = len(slots) - max(0, shown - 1)
            more = [Segment(f"and {hidden} more slots"[:width], _DIM)]
            rows = [*self._rows(slots[: len(slots) - hidden], width, ascii_only), more][:shown]
        else:
            rows = list(self._rows(slots, width, ascii_only))
        ruled = room - len(rows) - len(facts) >= 4
        return [*([[Segment("-" * width if ascii_only else "─" * width, _DIM)]] if ruled else []), *rows, *facts]

    def _rows(self, slots: Sequence[SlotRow], width: int, ascii_only: bool) -> Iterator[list[Segment]]:
        digits = len(str(max((row.index for row in self.slots), default=0)))
        return (_slot_line(row, digits, width, ascii_only) for row in slots)


def _slot_line(row: SlotRow, digits: int, width: int, ascii_only: bool) -> list[Segment]:
    """Return the line of a slot. In a narrow one the idea goes first, then loss and seconds; the curve shrinks last."""
    gap = "  " if width >= 60 else " "
    head = f"{row.index:>{digits}}{gap}"
    if not row.node:
        return _cropped([Segment(head, _DIM), Segment(row.phase, _DIM)], width)
    front = [
        Segment(head, _DIM),
        Segment(f"{row.node:<8}{gap}"),
        Segment(f"{row.does[:9]:<9}{gap}", BOLD),
        Segment(f"{row.phase[:6]:<6}{gap}", _PHASES.get(row.phase, _DIM)),
    ]
    used = digits + 8 + 9 + 6 + 4 * len(gap)
    columns = 24 if width >= 110 else 16 if width >= 60 else max(0, min(16, width - used - 5))
    done, rest = curve(row.losses, row.share, columns, ascii_only)
    tail = f"{gap}{row.share:>4.0%}"
    if width >= 60:
        tail += f"{gap}{_loss(row.losses):>6}{gap}{duration(row.seconds):>6}{gap}"
    used += columns + len(tail)
    line = [*front, Segment(done, _CURVE), Segment(rest, _DIM), Segment(tail)]
    if used + 4 <= width:
        line.append(Segment(_fitted(row.idea, width - used), _DIM))
    return _cropped(line, width)


def _cropped(line: list[Segment], width: int) -> list[Segment]:
    if sum(len(segment.text) for segment in line[:-1]) + cell_len(line[-1].text) <= width:  # all but the idea is ASCII
        return line
    return Segment.adjust_line_length(line, width, pad=False)


def _fitted(text: str, width: int) -> str:
    """Crop to ``width`` terminal cells; a Chinese character takes two, a combining accent none."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 3).rstrip() + "..." if width > 6 else set_cell_size(text, width)


def _loss(losses: Sequence[tuple[float, float]]) -> str:
    """Format the latest loss in at most six characters."""
    if not losses:
        return ""
    loss = losses[-1][1]
    return f"{loss:.3f}" if abs(loss) < 10 else f"{loss:.1f}" if abs(loss) < 1000 else f"{loss:.0e}".replace("e+", "e")


def curve(
    losses: Sequence[tuple[float, float]], share: float, columns: int, ascii_only: bool = False
) -> tuple[str, str]:
    """Draw a progress bar whose heights are the loss curve. Return (the done part, the remaining part).

    ``columns`` stand for the whole budget of the evaluation. A column has the height of the median of its losses
    between the lowest and the highest of all columns; one without a report that of the column before it. Without any
    report the bar is flat. Losses come from the candidate and may be any number.
    """
    blocks, dot = (_ASCII_BLOCKS, _ASCII_REST) if ascii_only else (_BLOCKS, _REST)
    done = min(columns, math.ceil(min(1.0, max(0.0, share)) * columns))
    bins: list[list[float]] = [[] for _ in range(done)]
    for at, loss in losses:
        if math.isfinite(loss) and done:
            bins[min(done - 1, max(0, int(at * columns)))].append(loss)
    known = [sorted(values)[len(values) // 2] if values else None for values in bins]
    heights = [value for value in known if value is not None]
    if not heights:
        return blocks[0] * done, dot * (columns - done)
    low, high = min(heights), max(heights)
    drawn, level = [], next(value for value in known if value is not None)
    for value in known:
        level = level if value is None else value
        drawn.append(blocks[_height(level, low, high, len(blocks))])
    return "".join(drawn), dot * (columns - done)


def _height(value: float, low: float, high: float, levels: int) -> int:
    """Map [low, high] to 0 ... ``levels - 1``. Values are halved first, since a difference can overflow."""
    span = high / 2 - low / 2
    return 0 if span <= 0 else min(levels - 1, int((value / 2 - low / 2) / span * (levels - 1) + 0.5))


def _flow(groups: Iterable[Sequence[Fact]], width: int) -> Iterator[list[Segment]]:
    """Lay out facts side by side as long as they fit; each group starts a line, and no fact is longer than a line."""
    for group in groups:
        line: list[Segment] = []
        used = 0
        for fact in group:
            words = _fitted(fact.words, width)
            cells = cell_len(words)
            if line and used + len(_GAP) + cells > width:
                yield line
                line, used = [], 0
            if line:
                line.append(Segment(_GAP))
                used += len(_GAP)
            line.append(Segment(words, fact.style))
            used += cells
        if line:
            yield line


def duration(seconds: float) -> str:
    """Format a duration roughly: ``7 s``, ``4 min``, ``2.5 h``, ``3 days``."""
    for most, unit, name in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < most:
            value = seconds / unit
            return f"{value:.1f} {name}" if name == "h" and value < 10 else f"{value:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"
