"""The plots of the report as PNG and SVG files: progress over experiments, and the tree.

Drawn with matplotlib (extra ``[plots]``). Text of candidates and models is drawn as plain text: a dollar sign starts no
formula.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archive.errors import ArchiveError
from archive.report.layout import tree_places
from archive.storage.outputs import check_output
from prepare.output import shortened

_INK, _DOT, _BEST, _BAD, _ODD, _LINE = "#24292f", "#8c959f", "#1a7f37", "#cf222e", "#8250df", "#d0d7de"


def draw(facts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``progress`` and ``tree`` as ``.png`` and ``.svg`` into ``folder``; returns the files.

    Raises ArchiveError where matplotlib is missing or the folder cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ArchiveError(
            f"plots need matplotlib ({error}); install it with: pip install 'treewright[plots]'"
        ) from error
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, paint in (("progress", progress), ("tree", _tree)):
            figure = Figure(figsize=(9, 5), layout="constrained")
            FigureCanvasAgg(figure)
            paint(figure.add_subplot(), facts)
            for kind in ("png", "svg"):
                path = folder / f"{name}.{kind}"
                check_output(path)
                figure.savefig(path, dpi=150, metadata={"Date": None} if kind == "svg" else None)
                written.append(path)
    except OSError as error:
        raise ArchiveError(f"the plots cannot be written to {folder}: {error}") from error
    return written


def _words(text: str, limit: int = 42) -> str:
    """Return the start of a text for Matplotlib, which never ends within a number."""
    return shortened(text, limit).replace("$", r"\$")


def progress(axes: Any, facts: Mapping[str, Any]) -> None:
    """Draw a dot per experiment, the best mean so far as a line, and the improvements with their 95% seed noise."""
    run, nodes, list_ = facts["run"], facts["nodes"], facts["experiments"]
    scored = [(k, score) for k, (_, score, _, _) in enumerate(list_) if score is not None]
    failed = [k for k, (_, score, _, _) in enumerate(list_) if score is None]
    axes.set_title(_words(f"{run['run']}: {run['task']}, {len(list_)} screenings, policy {run['policy']}", 100))
    axes.set_xlabel("evaluations in order of arrival")
    axes.set_ylabel(_words(f"{run['metric']} ({run['unit'] or '-'}) on val"))
    colours = [_ODD if nodes["suspect"][list_[k][0]] else _DOT for k, _ in scored]
    axes.scatter([k for k, _ in scored], [score for _, score in scored], s=9, c=colours, zorder=2)
    line = [(k, best) for k, (_, _, _, best) in enumerate(list_) if best is not None]
    axes.step([k for k, _ in line], [best for _, best in line], where="post", color=_BEST, linewidth=1.4, zorder=3)
    low, high = facts["range"]
    axes.set_ylim(low, high)
    axes.scatter(failed, [low + 0.02 * (high - low)] * len(failed), marker="|", color=_BAD, zorder=2)
    kept = facts["kept"]
    for k, node, best in kept:
        half = 1.96 * facts["sigma"] / math.sqrt(nodes["runs"][node] or 1) if facts["sigma"] else 0.0
        axes.errorbar([k], [best], yerr=[half], color=_BEST, fmt="o", markersize=3.5, linewidth=1.0, zorder=4)
    _label(axes, [(k, best, _words(nodes["idea"][node])) for k, node, best in kept[1:]], run["direction"])


def _label(axes: Any, steps: list[tuple[int, float, str]], direction: str) -> None:
    """Label the improvements, the last ones first: to the right, to the left, or not at all without room."""
    axes.figure.draw_without_rendering()  # computes positions on the canvas
    inside = axes.get_window_extent()
    taken: list[Any] = []
    up = 4 if direction == "minimise" else -10
    for k, best, words in reversed(steps):
        for x, y, side in ((5, up, "left"), (-5, -6 - up, "right")):
            label = axes.annotate(
                words, (k, best), xytext=(x, y), textcoords="offset points", ha=side, fontsize=6, color=_INK
            )
            label.set_in_layout(False)
            box = label.get_window_extent()
            if inside.containsx(box.x0) and inside.containsx(box.x1) and box.count_overlaps(taken) == 0:
                taken.append(box)
                break
            label.remove()


def _tree(axes: Any, facts: Mapping[str, Any]) -> None:
    """Draw the tree, depth to the right: the lineage of the best bold, failures red, other nodes by rank."""
    from matplotlib.collections import LineCollection

    nodes = facts["nodes"]
    x, y = tree_places(nodes["parents"])
    edges = [((x[p], y[p]), (x[i], y[i])) for i, above in enumerate(nodes["parents"]) for p in above[:1]]
    axes.add_collection(LineCollection(edges, colors=_LINE, linewidths=0.6, zorder=1))
    best = set(facts["lineage"])
    bold = [((x[p], y[p]), (x[i], y[i])) for i, above in enumerate(nodes["parents"]) for p in above if {i, p} <= best]
    axes.add_collection(LineCollection(bold, colors=_BEST, linewidths=1.8, zorder=2))
    size = max(2.0, min(20.0, 4000 / max(1, len(x))))
    failed = [i for i, state in enumerate(nodes["state"]) if state not in ("scored", "waiting")]
    scored = [i for i, score in enumerate(nodes["score"]) if score is not None]
    axes.scatter([x[i] for i in failed], [y[i] for i in failed], s=size, color=_BAD, zorder=3)
    sign = -1 if facts["run"]["direction"] == "minimise" else 1
    ranks = np.argsort(np.argsort([sign * nodes["score"][i] for i in scored]))
    axes.scatter([x[i] for i in scored], [y[i] for i in scored], s=size, c=ranks, cmap="viridis", zorder=3)
    axes.set_title(
        _words(f"{facts['run']['run']}: {len(x)} candidates; green: the lineage of the best; red: no score", 100)
    )
    axes.set_axis_off()
    axes.autoscale()
