"""Machine speed as a covariate: how much of the noise of scores does it explain?

A fixed workload is timed beside every training (``train.hardware.speed``). Among runs of the same program for the
same purpose, score is regressed on the logarithm of that speed. The summary prints the share of the variance that speed
explains, and the seed deviation at equal speed, so that a user knows whether a quieter machine would help.

No decision uses it: a claim answers noise with fresh seeds, both sides in turn. The probe does not see what happens in
the middle of a training, nor, as yet, the speed of a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from archive.interval import ROUNDING
from archive.records import Purpose, Scored
from archive.tree import Tree

SIGNIFICANT = 0.05
LEAST_DOF = 3
"""Degrees of freedom below which the slope is not reported as an effect."""
PURPOSES: tuple[Purpose, ...] = ("screen", "confirm", "report")

Run = tuple[float, float]
"""(logarithm of the machine's speed, score) of one evaluation."""


@dataclass(frozen=True)
class SpeedEffect:
    """The common slope of score on log speed among replicates, with its t test."""

    slope: float
    """Change of the score per unit of the natural logarithm of the machine's speed."""
    p: float
    """Two-sided p-value of the slope."""
    dof: int
    share: float
    """Of the variance among replicates that speed accounts for, in [0, 1]."""
    sigma: float
    """Deviation among replicates."""
    sigma_at_equal_speed: float
    """Residual deviation of the regression."""
    slowest: float
    fastest: float
    """Workloads a second, of all runs included."""

    @property
    def explains(self) -> bool:
        """True if the slope is significant at ``SIGNIFICANT`` with enough degrees of freedom."""
        return self.dof >= LEAST_DOF and self.p < SIGNIFICANT


def speed_effect(tree: Tree) -> SpeedEffect | None:
    """Regress the scores of replicates on machine speed; None where it was not measured, or nothing was replicated.

    Analysis of covariance with one slope: speeds and scores are taken from the mean of their group (runs of one node
    for one purpose), ``slope = sum xy / sum xx``, and ``t = slope / sqrt(s^2 / sum xx)`` has ``sum (n_i - 1) - 1``
    degrees of freedom. Source: Fisher, "Statistical Methods for Research Workers", chapter VIII.
    """
    groups = [group for group in _groups(tree) if len(group) > 1]
    if not groups:
        return None
    speeds = [math.exp(x) for group in groups for x, _ in group]
    x, y = np.concatenate([np.asarray(group) - np.mean(group, axis=0) for group in groups]).T
    free = sum(len(group) - 1 for group in groups)
    xx, yy = float(x @ x), float(y @ y)
    level = max(abs(score) for group in groups for _, score in group)
    if free < 2 or xx <= ROUNDING or yy <= (ROUNDING * level) ** 2:
        return None
    from scipy.special import stdtr  # a quarter of a second to import

    slope = float(x @ y) / xx
    left = max(0.0, yy - slope * float(x @ y))
    dof = free - 1
    t = abs(slope) / math.sqrt(left / dof / xx) if left > 0 else math.inf
    p = 2.0 * float(stdtr(dof, -t)) if math.isfinite(t) else 0.0
    return SpeedEffect(
        slope, p, dof, 1 - left / yy, math.sqrt(yy / free), math.sqrt(left / dof), min(speeds), max(speeds)
    )


def describe_speed(effect: SpeedEffect, unit: str) -> str:
    """Return a sentence of one or two lines for the summary."""
    seen = f"{effect.slowest:.3g} to {effect.fastest:.3g} workloads a second"
    if not effect.explains:
        few = f"degrees of freedom: {effect.dof}" if effect.dof < LEAST_DOF else f"p = {effect.p:.2g}"
        return f"Machine speed ({seen}) is not seen to explain scores of one program ({few})."
    quiet = f"{effect.sigma_at_equal_speed:.2g} {unit}".rstrip()
    return (
        f"Machine speed ({seen}) explains {effect.share:.0%} of the variance between runs of one program "
        f"(p = {effect.p:.1g}):\n  at equal speed these runs would deviate by {quiet} instead of {effect.sigma:.2g}; "
        "a quieter machine tells candidates apart sooner."
    )


def _groups(tree: Tree) -> Iterator[list[Run]]:
    """Yield the runs of each node for each purpose; suspects and nodes with a single evaluation are left out."""
    for place in np.flatnonzero(~tree.suspects):
        node_id = tree.nodes[int(place)].node_id
        if len(tree.evaluations[node_id]) > 1:
            yield from (_runs(tree, node_id, purpose) for purpose in PURPOSES)


def _runs(tree: Tree, node_id: str, purpose: Purpose) -> list[Run]:
    """Return the comparable scored runs whose machine speed is known."""
    return [
        (math.log(e.resources.machine_speed), e.score)
        for e in tree.comparable(node_id, purpose)
        if isinstance(e, Scored) and e.resources.machine_speed
    ]
