"""Machine speed as a covariate: does it explain scores, how much, and what do means say at equal speed?

Beside every training a small workload of our own is timed (``train.hardware.speed``). Among runs of the same
program for the same purpose, score is regressed on the logarithm of that speed. Where the slope differs from zero by a
t test:

    screening means are compared at equal speed when the finalists of a claim are chosen (``adjusted_means``)
    the summary says how much of the noise it is, and what the seed deviation would be at equal speed

It never enters a claim's interval, nor the means that a policy sees: a claim answers noise with fresh seeds, both sides
in turn. It cannot see what happens in the middle of a training, nor, as yet, the speed of a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from archive.interval import ROUNDING
from archive.records import Purpose, Scored
from archive.tree import Floats, Tree

SIGNIFICANT = 0.05
LEAST_DOF = 3
"""Degrees of freedom below which a slope says nothing that one would act upon."""
PURPOSES: tuple[Purpose, ...] = ("screen", "confirm", "report")

Run = tuple[float, float]
"""(logarithm of the machine's speed, score) of one training."""


@dataclass(frozen=True)
class SpeedEffect:
    """The common slope of score on log speed among replicates, and what its t test says."""

    slope: float
    """Change of the score for each unit of the natural logarithm of the machine's speed."""
    p: float
    """Of a slope as far from zero by chance alone, two-sided."""
    dof: int
    share: float
    """Of the variance among replicates that speed accounts for, in [0, 1]."""
    sigma: float
    """Deviation among replicates."""
    sigma_at_equal_speed: float
    """Residual deviation of the regression."""
    slowest: float
    fastest: float
    """Workloads a second, of all runs that were looked at."""

    @property
    def explains(self) -> bool:
        """Whether machine speed explains scores, so far as that can be told."""
        return self.dof >= LEAST_DOF and self.p < SIGNIFICANT


def speed_effect(tree: Tree, purposes: Sequence[Purpose] = PURPOSES) -> SpeedEffect | None:
    """How machine speed bears on the scores of replicates; None where it was not measured, or nothing was replicated.

    Analysis of covariance with one slope: speeds and scores are taken from the mean of their group (runs of one node
    for one purpose), ``slope = sum xy / sum xx``, and ``t = slope / sqrt(s^2 / sum xx)`` has ``sum (n_i - 1) - 1``
    degrees of freedom. Source: Fisher, "Statistical Methods for Research Workers", chapter VIII.
    """
    groups = [group for group in _groups(tree, purposes) if len(group) > 1]
    if not groups:
        return None
    speeds = [math.exp(x) for group in groups for x, _ in group]
    x, y = np.concatenate([np.asarray(group) - np.mean(group, axis=0) for group in groups]).T
    free = sum(len(group) - 1 for group in groups)
    xx, yy = float(x @ x), float(y @ y)
    level = max(abs(score) for group in groups for _, score in group)
    if free < 2 or xx <= ROUNDING or yy <= (ROUNDING * level) ** 2:
        return None
    slope = float(x @ y) / xx
    left = max(0.0, yy - slope * float(x @ y))
    dof = free - 1
    t = abs(slope) / math.sqrt(left / dof / xx) if left > 0 else math.inf
    p = 2.0 * float(stdtr(dof, -t)) if math.isfinite(t) else 0.0
    return SpeedEffect(
        slope, p, dof, 1 - left / yy, math.sqrt(yy / free), math.sqrt(left / dof), min(speeds), max(speeds)
    )


def adjusted_means(tree: Tree) -> Floats:
    """[N] the screening means at equal machine speed, or as they are where speed does not explain screenings.

    ``mean_i - slope * (x_i - x)``: x_i the mean log speed of the node's screenings, x that of all nodes'. A node whose
    speed was not measured keeps its mean.
    """
    effect = speed_effect(tree, ("screen",))
    if effect is None or not effect.explains:
        return tree.means
    speeds = np.full(len(tree), np.nan)
    for place in np.flatnonzero(tree.eligible()):
        runs = _runs(tree, tree.nodes[int(place)].node_id, "screen")
        speeds[place] = np.mean([x for x, _ in runs]) if runs else np.nan
    away = np.where(np.isnan(speeds), 0.0, speeds - np.nanmean(speeds))
    adjusted: Floats = tree.means - effect.slope * away
    return adjusted


def in_words(effect: SpeedEffect, unit: str) -> str:
    """A sentence, of one line or two, for the person who reads the summary."""
    seen = f"{effect.slowest:.3g} to {effect.fastest:.3g} workloads a second"
    if not effect.explains:
        few = f"degrees of freedom: {effect.dof}" if effect.dof < LEAST_DOF else f"p = {effect.p:.2g}"
        return f"Machine speed ({seen}) is not seen to explain scores of one program ({few})."
    quiet = f"{effect.sigma_at_equal_speed:.4f} {unit}".rstrip()
    return (
        f"Machine speed ({seen}) explains {effect.share:.0%} of the variance between runs of one program "
        f"(p = {effect.p:.1g}):\n  at equal speed the deviation would be {quiet} instead of {effect.sigma:.4f}; "
        "a quieter machine tells candidates apart sooner."
    )


def _groups(tree: Tree, purposes: Sequence[Purpose]) -> Iterator[list[Run]]:
    """The runs of each node for each purpose, of nodes that are not suspect and have been trained more than once."""
    sound = ~tree.suspects
    if tuple(purposes) == ("screen",):  # asked again and again during a claim, of 100,000 nodes
        sound &= tree.runs > 1
    for place in np.flatnonzero(sound):
        node_id = tree.nodes[int(place)].node_id
        if len(tree.evaluations[node_id]) > 1:
            yield from (_runs(tree, node_id, purpose) for purpose in purposes)


def _runs(tree: Tree, node_id: str, purpose: Purpose) -> list[Run]:
    """The comparable scored runs whose machine speed is known."""
    return [
        (math.log(e.resources.machine_speed), e.score)
        for e in tree.comparable(node_id, purpose)
        if isinstance(e, Scored) and e.resources.machine_speed
    ]
