"""Looks at a claim: after three pairs of reports it may stop, for success or for futility (a group-sequential test).

**What a look may see.** All trainings that are judged on some text have to end, and be sealed, before the first row of
it is shown to a sandbox (``search.run.sealing``). The first look shows text of the holdout, so trainings that follow it
must be judged on other text. What could be used, and what is:

    select, sealed states in stages   no: select has chosen the nominee, so its gain there is biased upwards, and no
                                      error could be spent on it; for futility alone it would cost the root's trainings
    all trainings, judged in parts    no: what costs is the training, and all would be done
    text of its own for each look     yes: the windows of the second look are others, whose targets and prefixes no
                                      sandbox was sent in the first (``train.language_model.evaluator``)
    cases of a program task           the same cases in both looks: a program sees the arguments of its calls only in
                                      fresh sandboxes, today as well, so a look shows nothing that a report does not

Scores on different text are compared within their look (``archive.difference.welch_in_stages``). A second look
therefore has at least two pairs, else an outlier in it could not be seen: claims with fewer than five seeds a side have
a single look. Simulated, three and one pairs with one outlier covered 89% instead of 95%.

**The error.** A claim may crown wrongly with probability ``alpha``, its share of the error budget of a holdout
(``search.claims.error_budget``). Of that the first look, with the share t of the seeds, spends ``alpha t^2``, and the
last look what is left: its level solves ``P(z1 < c1, z2 > c2) = alpha - alpha t^2`` for normal z1, z2 of correlation
``sqrt(t)``. With few seeds the levels are those of Welch's t at each look (the significance-level approach). Sources:
Lan and DeMets (1983), "Discrete sequential boundaries for clinical trials"; Kim and DeMets (1987), "Design and analysis
of group sequential tests based on the type I error spending rate function" (t^2); Jennison and Turnbull (2000), "Group
sequential methods", chapters 3.8 and 7. Of five seeds a side t^2 stops 61% of the claims at the first look where the
gain is 4 sigma, and finds 66% of gains of 2 sigma; spending like Pocock's 80% and 56%, like O'Brien and Fleming's 36%
and 69%.

**Futility.** A claim stops without a champion if the rest would crown with a probability below ``FUTILE`` even if
the gain were a standard error larger than it looks (conditional power, Lan and Wittes 1988). Stopping for futility only
lowers the error, and the boundary does not count on it.

**The interval.** In the stagewise ordering of results (Armitage 1957, Tsiatis et al. 1984) the interval of a claim
that stops at the first look is the usual one. After the last look it has the confidence ``1 - 2 alpha_2``, so that it
excludes zero exactly when the claim has a champion. Coverage, errors, power: tests/benchmarks/claims.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np

from archive.difference import Difference

FUTILE = 0.1
"""A claim stops if the rest would crown with a smaller probability."""

Stopped = Literal["success", "futility"]


@dataclass(frozen=True)
class Boundary:
    """The one-sided levels of both looks of a claim."""

    share: float
    """Of the seeds, that the first look has."""
    first: float
    last: float

    @property
    def confidence(self) -> float:
        """Of the interval after the last look."""
        return 1 - 2 * self.last


@lru_cache(maxsize=256)
def boundary(alpha: float, share: float) -> Boundary:
    """Return the levels of two looks that together crown wrongly with a probability of ``alpha``.

    share: of the seeds, at the first look. Raises ValueError unless both are between 0 and 1.
    """
    if not (0 < alpha < 1 and 0 < share < 1):
        raise ValueError(f"alpha is {alpha} and the first look's share {share}; expected numbers between 0 and 1")
    first = alpha * share**2
    low, high = 0.0, alpha
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _only_at_last(first, middle, share) < alpha - first else (low, middle)
    return Boundary(share, first, low)


def _only_at_last(first: float, last: float, share: float) -> float:
    """Return the probability that only the last look crowns: P(z1 < c1, z2 > c2), by Gauss and Legendre."""
    from scipy.special import ndtr, ndtri  # a quarter of a second to import, and most runs look at no claim

    nodes, weights = _gauss_legendre()
    c1, c2, lowest = -float(ndtri(first)), -float(ndtri(last)), -9.0
    z = lowest + (c1 - lowest) * (nodes + 1) / 2
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    tail = ndtr((math.sqrt(share) * z - c2) / math.sqrt(1 - share))
    return float((weights * density * tail).sum() * (c1 - lowest) / 2)


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes and weights of a quadrature with 80 points."""
    nodes, weights = np.polynomial.legendre.leggauss(80)
    return nodes, weights


def stopped(difference: Difference, levels: Boundary) -> Stopped | None:
    """Return why a claim stops with the difference of its first look; None if it goes on."""
    if difference.standard_error <= 0:  # nothing varies: more of the same would say the same
        return "success" if difference.gain > 0 else "futility"
    if not math.isfinite(difference.gain):
        return None
    from scipy.special import ndtri, stdtr  # as above

    t = difference.gain / difference.standard_error
    if 1 - float(stdtr(difference.dof, t)) < levels.first:
        return "success"
    z = float(ndtri(np.clip(stdtr(difference.dof, t), 1e-300, 1 - 1e-16)))
    return "futility" if conditional_power(z, levels) < FUTILE else None


def conditional_power(z: float, levels: Boundary) -> float:
    """Return the probability that the last look crowns, after ``z`` at the first, if the gain is a z larger than that.

    ``P(z2 > c2)`` with ``z2 = sqrt(t) z + (z + 1) (1 - t) / sqrt(t) + sqrt(1 - t) e``, e standard normal.
    """
    from scipy.special import ndtr, ndtri  # as above

    share, c2 = levels.share, -float(ndtri(levels.last))
    expected = math.sqrt(share) * z + (z + 1) * (1 - share) / math.sqrt(share)
    return float(ndtr((expected - c2) / math.sqrt(1 - share)))
