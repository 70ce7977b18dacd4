"""Coordinates of the plots: steps and range for the page and the image files, places in the tree for the latter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def kept_steps(experiments: Sequence[Sequence[Any]], direction: str) -> list[list[Any]]:
    """Return [experiment, node, best mean] of the experiments that improved the best. See ``facts.gather``."""
    kept: list[list[Any]] = []
    for k, (node, score, _, best) in enumerate(experiments):
        if score is None or best is None:
            continue
        if not kept or (best < kept[-1][2] if direction == "minimise" else best > kept[-1][2]):
            kept.append([k, node, best])
    return kept


def score_range(experiments: Sequence[Sequence[Any]], direction: str, root: float | None) -> tuple[float, float]:
    """Return the range from the best score to the root's or the ninth decile: diverged runs do not set the scale."""
    scores = [score for _, score, _, _ in experiments if score is not None]
    if not scores:
        return 0.0, 1.0
    edge = float(np.quantile(scores, 0.9 if direction == "minimise" else 0.1))
    ends = [min(scores) if direction == "minimise" else max(scores), edge, *([root] if root is not None else [])]
    low, high = min(ends), max(ends)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - pad, high + pad


def tree_places(parents: Sequence[Sequence[int]]) -> tuple[list[int], list[float]]:
    """Return (depth, row) of each node: leaves take rows in order, a parent the middle of its children.

    Parents come before their children, so two passes suffice. networkx took 4 times as long on 100,000 nodes.
    """
    count = len(parents)
    depth, children = [0] * count, [[] for _ in range(count)]  # type: tuple[list[int], list[list[int]]]
    for i, above in enumerate(parents):
        if above:
            depth[i] = depth[above[0]] + 1
            children[above[0]].append(i)
    row, free = [0.0] * count, 0
    stack = [i for i in reversed(range(count)) if not parents[i]]
    while stack:
        i = stack.pop()
        if not children[i]:
            row[i], free = float(free), free + 1
        stack.extend(reversed(children[i]))
    for i in reversed(range(count)):
        if children[i]:
            row[i] = (row[children[i][0]] + row[children[i][-1]]) / 2
    return depth, row
