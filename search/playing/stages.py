"""Staged evaluation: nested sets of problems, and a stop where a candidate is clearly worse on those so far.

Differences are paired with a reference on the same problems; scores of different stages are never compared: a
candidate that is stopped has no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import t as student


@dataclass
class NestedStages:
    """The problems of one evaluation as they come. ``ends``: the size of each nested set, growing."""

    ends: Sequence[int]
    confidence: float = 0.95
    gains: list[float] = field(default_factory=list)
    """The candidate's value less the reference's, by problem."""
    stopped: bool = False

    def add(self, gain: float) -> None:
        """Add the next problem. At the end of a set but the last it may stop the evaluation."""
        self.gains.append(gain)
        if len(self.gains) in self.ends[:-1]:
            self.stopped = clearly_worse(self.gains, self.confidence)


def clearly_worse(gains: Sequence[float], confidence: float) -> bool:
    """Return whether the one-sided upper end of the mean gain (Student) is below 0; without spread, the mean itself."""
    values = np.asarray(gains, dtype=np.float64)
    mean, count = float(values.mean()), len(values)
    error = float(values.std(ddof=1)) / np.sqrt(count) if count > 1 else np.inf
    if error == 0:
        return mean < 0
    return mean + float(student.ppf(confidence, count - 1)) * error < 0 if count > 1 else False
