"""Staged evaluation: nested sets of problems, and a stop where a candidate is clearly worse on those so far.

Differences are paired with the candidate's parent on the same problems. Scores of different stages are never compared:
a candidate that is stopped has no score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from scipy.stats import t as student

from prepare.scorer import Case

H = TypeVar("H")
T = TypeVar("T")


@dataclass
class NestedStages:
    """The problems of one evaluation as they come. ``ends``: the size of each nested set, growing."""

    ends: Sequence[int]
    confidence: float = 0.95
    gains: list[float] = field(default_factory=list)
    """The candidate's value less its parent's, by problem."""
    stopped: bool = False

    def compare(self, case: Case, value: float) -> None:
        """Add a case of ``val`` with the value of the candidate's parent; the first program has none."""
        if case.split == "val" and case.parent is not None:
            self.add(value - case.parent)

    def add(self, gain: float) -> None:
        """Add the next problem. At the end of a set but the last it may stop the evaluation."""
        self.gains.append(gain)
        if len(self.gains) in self.ends[:-1]:
            self.stopped = clearly_worse(self.gains, self.confidence)


class OfEvaluation(Generic[T]):
    """A value of the evaluation that runs now: a scorer judges one candidate at a time, with a handle of its own."""

    def __init__(self) -> None:
        self._found: tuple[object, T] | None = None

    def get(self, handle: H, make: Callable[[H], T]) -> T:
        """Return the value of the evaluation that ``handle`` belongs to, made at its first case."""
        if self._found is None or self._found[0] is not handle:
            self._found = handle, make(handle)
        return self._found[1]


def clearly_worse(gains: Sequence[float], confidence: float) -> bool:
    """Return whether the one-sided upper end of the mean gain (Student) is below 0; without spread, the mean itself."""
    values = np.asarray(gains, dtype=np.float64)
    mean, count = float(values.mean()), len(values)
    error = float(values.std(ddof=1)) / np.sqrt(count) if count > 1 else np.inf
    if error == 0:
        return mean < 0
    return mean + float(student.ppf(confidence, count - 1)) * error < 0 if count > 1 else False
