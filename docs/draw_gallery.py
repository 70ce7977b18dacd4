"""Draw three results of tasks in conf/task for docs/gallery.md: a packing, a sorting network, a learning curve.

python docs/draw_gallery.py ARCHIVE docs/gallery.svg        # needs pip install -e '.[plots]'

ARCHIVE holds runs called circles26, sorting and overlap; the page says with which commands they are made.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from archive.cli.commands import certificate
from archive.query.query import Reader, open_reader
from archive.report.facts import gather
from archive.report.plots import progress

matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a third of the size, and it can be searched
INK, FILL = "#24292f", "#ddf4ff"
CHANNELS = "11"


def best(reader: Reader, run: str) -> tuple[float, float, Any]:
    """Return the root's score, the leader's, and the leader's certificate."""
    (row,) = reader.query("SELECT baseline, leader_score, leader FROM run_summary WHERE run = ?", [run]).rows
    return row[0], row[1], json.loads(certificate(reader, row[2]))


def draw_packing(axes: Any, reader: Reader) -> None:
    root, leader, circles = best(reader, "circles26")
    axes.add_patch(Rectangle((0, 0), 1, 1, fill=False, color=INK))
    for x, y, radius in circles:
        axes.add_patch(Circle((x, y), radius, facecolor=FILL, edgecolor=INK, linewidth=0.6))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"circles26: {root:.4f} -> {leader:.4f}", size=10)


def draw_network(axes: Any, reader: Reader) -> None:
    root, leader, networks = best(reader, "sorting")
    network, channels, at, ready = networks[CHANNELS], int(CHANNELS), 0.0, 0
    for i, j in network:
        if ready & (taken := (1 << j + 1) - (1 << i)):  # lines of one column do not overlap
            ready = 0
            at += 1
        ready |= taken
        axes.plot([at, at], [i, j], color=INK, marker="o", markersize=2.5, linewidth=1)
    axes.hlines(range(channels), -1, at + 1, color="#8c959f", linewidth=0.6, zorder=0)
    axes.set(xticks=[], yticks=[])
    axes.invert_yaxis()
    axes.set_title(f"sorting, n = {channels}: {len(network)}; all six: {root:.0f} -> {leader:.0f}", size=10)


def main(arguments: Sequence[str]) -> None:
    """Write the picture. Raises SystemExit for anything but an archive and a file to write."""
    if len(arguments) != 2:
        raise SystemExit(f"got {len(arguments)} arguments; expected two: python docs/draw_gallery.py ARCHIVE SVG")
    archive, out = arguments
    reader = open_reader(Path(archive))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.4, 1.4))
    draw_packing(left, reader)
    draw_network(middle, reader)
    progress(right, gather(reader, "overlap"))
    right.set_title("overlap", size=10)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])
