"""Draw a run as the field knows it: a dot per experiment, the running best, and the claim beside it.

python docs/draw_run.py ARCHIVE RUN docs/run.svg
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import duckdb
from scipy.stats import t

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 400, 64, 232, 46, 46
INK, FAINT, DOT, BEST, CLAIM = "#24292f", "#d0d7de", "#8c959f", "#1a7f37", "#0969da"
Row = tuple[float | None, str, str, str]
"""Score (None for a failure), operator, node, idea."""


@dataclass(frozen=True)
class Frame:
    """Where things lie: scores between ``low`` and ``high``, ``count`` screenings from left to right."""

    low: float
    high: float
    count: int

    def x(self, place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / self.count

    def y(self, score: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - score) / (self.high - self.low)


def read(archive: str, run: str) -> tuple[list[Row], str, dict[str, Any]]:
    """The screenings in order of arrival, and the newest verdict with its figures."""
    connection = duckdb.connect(archive, read_only=True)
    rows = connection.execute(
        "SELECT e.score, n.operator, n.node_id, n.idea FROM evaluations e JOIN nodes n USING (node_id) "
        "WHERE e.run = ? AND e.purpose = 'screen' ORDER BY e.finished_at",
        [run],
    ).fetchall()
    verdict = connection.execute(
        "SELECT kind, detail FROM decisions WHERE run = ? AND kind <> 'leader' ORDER BY decided_at DESC LIMIT 1", [run]
    ).fetchone()
    connection.close()
    if verdict is None:
        sys.exit(f"run {run!r} in {archive} has no verdict yet")
    return rows, verdict[0], json.loads(verdict[1])


def draw(rows: list[Row], kind: str, claim: dict[str, Any]) -> str:
    """The SVG text."""
    scores = [row[0] for row in rows if row[0] is not None] + claim["baseline"] + claim["champion"]
    frame = Frame(min(scores) - 0.06, max(scores) + 0.06, len(rows))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 24, f"python -m search: {len(rows)} screenings of 10 s on 2 CPU cores, then the claim", size=15),
        *_axes(frame),
        *_screenings(frame, rows),
        *_claim(frame, kind, claim),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _text(x: float, y: float, words: str, *, size: int = 12, fill: str = INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" {more}>{words}</text>'


def _axes(frame: Frame) -> Iterator[str]:
    step = 0.2 if frame.high - frame.low < 2 else 0.5
    tick = step * (int(frame.low / step) + 1)
    while tick < frame.high:
        yield f'<path d="M{LEFT} {frame.y(tick):.1f}H{WIDTH - RIGHT}" stroke="{FAINT}"/>'
        yield _text(LEFT - 8, frame.y(tick) + 4, f"{tick:.1f}", more='text-anchor="end"')
        tick += step
    yield _text(LEFT, HEIGHT - 14, "screenings in order of arrival (x: no score)")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield _text(0, 0, "val bpb", more=f'transform="translate(18 {middle}) rotate(-90)" text-anchor="middle"')


def _screenings(frame: Frame, rows: list[Row]) -> Iterator[str]:
    best, path = None, ""
    for place, (score, operator, node, idea) in enumerate(rows):
        title = f"<title>{escape(node[:8])} {escape(operator)}: {escape(idea)}</title>"
        x = frame.x(place)
        if score is None:
            yield _text(x, HEIGHT - BOTTOM - 6, f"x{title}", fill="#cf222e", more='text-anchor="middle"')
            continue
        leads = best is None or score < best
        best = score if leads or best is None else best
        path += f"H{x:.1f}V{frame.y(best):.1f}" if path else f"M{x:.1f} {frame.y(best):.1f}"
        fill = BEST if leads else DOT
        yield f'<circle cx="{x:.1f}" cy="{frame.y(score):.1f}" r="5" fill="{fill}">{title}</circle>'
    yield f'<path d="{path}H{frame.x(len(rows) - 1):.1f}" fill="none" stroke="{BEST}" stroke-width="1.5"/>'


def _claim(frame: Frame, kind: str, claim: dict[str, Any]) -> Iterator[str]:
    place = WIDTH - RIGHT + 26
    for name, values in (("baseline", claim["baseline"]), (kind.replace("no_champion", "best"), claim["champion"])):
        mean = statistics.mean(values)
        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
        top, bottom = frame.y(mean + half), frame.y(mean - half)
        yield f'<path d="M{place} {top:.1f}V{bottom:.1f}" stroke="{CLAIM}" stroke-width="3"/>'
        yield from (f'<circle cx="{place}" cy="{frame.y(v):.1f}" r="3" fill="{CLAIM}"/>' for v in values)
        yield _text(place + 12, frame.y(mean) + 4, f"{name} {mean:.2f}", size=13)
    words = f"gain {claim['gain']:.2f} bpb, 95% interval {claim['low']:.2f} to {claim['high']:.2f}"
    yield _text(WIDTH - RIGHT + 8, HEIGHT - 30, words, fill=CLAIM, size=11)
    words = f"on holdout, {len(claim['champion'])} fresh seeds each"
    yield _text(WIDTH - RIGHT + 8, HEIGHT - 14, words, fill=CLAIM, size=11)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    Path(sys.argv[3]).write_text(draw(*read(sys.argv[1], sys.argv[2])))
