"""Draw a run for the README: the report's progress plot, with the scores of the claim on fresh seeds beside it.

python docs/draw_run.py ARCHIVE RUN docs/run.svg        # needs pip install -e '.[plots]'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from archive.interval import Interval, mean_interval
from archive.query.query import Reader, open_reader
from archive.report.facts import gather
from archive.report.plots import progress

matplotlib.rcParams["svg.fonttype"] = "none"  # text as text: a third of the size, and it can be searched
CLAIM = "#0969da"


def read_verdict(reader: Reader, run: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of the run's last verdict and its figures."""
    found = reader.query(
        "SELECT kind, detail FROM decisions WHERE run = ? AND kind <> 'leader' ORDER BY arrival DESC LIMIT 1", [run]
    ).rows
    if not found:
        sys.exit(f"run {run!r} has no verdict yet")
    return str(found[0][0]), json.loads(found[0][1])


def draw_claim(axes: Any, kind: str, detail: dict[str, Any]) -> None:
    """Draw the holdout scores of both sides with the 95% intervals of their means."""
    for place, name in enumerate(("baseline", "champion")):
        scores, interval = detail[name], mean_interval(detail[name])
        axes.scatter([place] * len(scores), scores, s=9, color=CLAIM)
        if isinstance(interval, Interval):
            half = interval.high - interval.mean
            axes.errorbar([place + 0.2], [interval.mean], yerr=[half], color=CLAIM, fmt="o", markersize=3.5)
    axes.set_xticks([0, 1], ["baseline", "champion" if kind == "champion" else "best"])
    axes.set_xlim(-0.5, 1.7)
    axes.set_ylabel("on holdout, fresh seeds")
    if "gain" in detail:
        words = f"gain {detail['gain']:.2f}\n95% interval {detail['low']:.2f} to {detail['high']:.2f}"
        axes.set_title(words, size=9)


def main(archive: str, run: str, out: str) -> None:
    """Write the picture of a run to ``out``."""
    reader = open_reader(Path(archive))
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    progress(left, gather(reader, run))
    draw_claim(right, *read_verdict(reader, run))
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
