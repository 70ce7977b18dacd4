"""Ranks of policies over tables, and whether they differ: Friedman's test and Nemenyi's critical difference.

On each table a policy's figure is the mean over seeds; the best has rank 1, ties share their mean rank. Two policies
differ at 5% if their mean ranks over N tables are further apart than ``q sqrt(k (k + 1) / (6 N))``, where q is the
quantile of the studentized range for k policies over sqrt(2) (Demsar 2006, "Statistical comparisons of classifiers over
multiple data sets"). That level holds for all pairs together, so it is wide where k is large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of k >= 3 policies over N tables."""

    mean: Mapping[str, float]
    """By policy, the best first."""
    tables: int
    p: float
    """Of Friedman's test, whose hypothesis is that all policies are equal."""
    difference: float
    """Nemenyi's critical difference at 5%."""

    @property
    def cliques(self) -> list[tuple[str, ...]]:
        """The largest groups of policies, neighbours by rank, within which no two differ."""
        names, groups = list(self.mean), []
        for first, name in enumerate(names):
            group = tuple(n for n in names[first:] if self.mean[n] - self.mean[name] <= self.difference)
            if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
                groups.append(group)
        return groups


def ranks(figures: Mapping[str, Sequence[float]]) -> Ranks:
    """Rank policies by their figures on the same tables, lower is better.

    Args:
        figures: By policy, [N] figures.

    Raises:
        ValueError: Fewer than three policies or two tables, or figures on different numbers of tables.
    """
    table: NDArray[np.float64] = np.array(list(figures.values()), dtype=np.float64)
    if table.ndim != 2 or len(table) < 3 or table.shape[1] < 2:
        raise ValueError(f"ranks need 3 policies and 2 tables at least, and got figures of shape {table.shape}")
    count, tables = table.shape
    means = rankdata(table, axis=0).mean(axis=1)
    order = np.argsort(means, kind="stable")
    names = list(figures)
    quantile = float(studentized_range.ppf(0.95, count, np.inf)) / math.sqrt(2)
    return Ranks(
        {names[place]: float(means[place]) for place in order},
        tables,
        float(friedmanchisquare(*table).pvalue),
        quantile * math.sqrt(count * (count + 1) / (6 * tables)),
    )


def diagram(found: Ranks, width: int = 72) -> str:
    """Return a critical-difference diagram as text: one line a policy, and one column of ``|`` for each clique."""
    last, longest = len(found.mean), max(map(len, found.mean))
    columns = found.cliques
    lines = [f"{found.tables} tables, critical difference {found.difference:.2f}, Friedman p = {found.p:.1g}"]
    for name, mean in found.mean.items():
        bars = "".join("|" if name in group else " " for group in columns)
        place = round((mean - 1) / (last - 1) * (width - longest - len(bars) - 12))
        lines.append(f"{name:<{longest}}  {mean:5.2f}  {bars}  {' ' * place}*".rstrip())
    return "\n".join(lines)


def draw(found: Ranks, path: Path) -> None:
    """Draw the diagram to a file (.svg or .png): ranks on an axis, a bar over each clique."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names, count = list(found.mean), len(found.mean)
    half = (count + 1) // 2
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.25 * (half + len(found.cliques))))
    top = 0.4 * len(found.cliques) + 0.6
    for place, name in enumerate(names):
        left = place < half
        level = -1.0 - (place if left else count - 1 - place)
        end = 0.7 if left else count + 0.3
        axes.plot([found.mean[name]] * 2 + [end], [top, level, level], color="black", linewidth=0.8)
        text = f"{name} {found.mean[name]:.1f}"
        axes.text(end, level, f" {text} ", ha="right" if left else "left", va="center", fontsize=8)
    for number, group in enumerate(found.cliques):
        ends = [found.mean[group[0]] - 0.05, found.mean[group[-1]] + 0.05]
        axes.plot(ends, [0.3 + 0.4 * number] * 2, color="black", linewidth=3)
    axes.plot([1, 1 + found.difference], [top + 0.6] * 2, color="black", linewidth=2)
    axes.text(1, top + 0.8, f"critical difference {found.difference:.2f}, {found.tables} tables", fontsize=8)
    axes.plot([1, count], [top, top], color="black", linewidth=1)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [top, top + 0.15], color="black", linewidth=0.8)
        axes.text(rank, top + 0.2, str(rank), ha="center", fontsize=7)
    axes.set_xlim(-1.5, count + 2.5)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)
