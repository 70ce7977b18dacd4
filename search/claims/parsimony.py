"""Parsimony: of finalists with equal confirm means, the shorter program is preferred.

    equal      the means differ by at most half a standard error of their difference, ``sigma * sqrt(1/n_a + 1/n_b)``;
               while sigma is unknown, only identical means are equal
    short      fewer nodes of the syntax tree: comments, docstrings, layout, the length of names and the digits of a
               number do not count, so that a tuned constant makes no program longer. Of other languages the tokens
               without comments, of plain text the words

The one-standard-error rule of Breiman et al. (1984, "Classification and Regression Trees", section 3.4.3), with half of
it: a whole one gave away 0.09 to 0.15 sigma of true gain in simulation, half of one 0.02 to 0.03
(tests/benchmarks/finalists.py). karpathy/autoresearch has the same preference: a change that removes code at the same
score is kept. Finalists are compared with the best mean and never in a chain, so that many equal steps cannot add up to
a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from archive.records import Direction
from operators.languages.language import language_for

SHARE = 0.5
"""Of the standard error of a difference: smaller differences count as none."""


@dataclass(frozen=True)
class Standing:
    """A node in a comparison: its mean score and the number of runs behind it."""

    node_id: str
    mean: float
    runs: int


def code_size(files: Mapping[str, str]) -> int:
    """Return the size of all files, each in the sense of its language: of Python the syntax nodes."""
    return sum(language_for(path).size(text) for path, text in files.items())


def equal(a: Standing, b: Standing, sigma: float | None) -> bool:
    """Return whether two means are equal within noise, by the definition at the top of this module."""
    return within(a, b, SHARE * (sigma or 0.0))


def within(a: Standing, b: Standing, deviation: float) -> bool:
    """Return whether two means differ by no more than the standard error of their difference."""
    return abs(a.mean - b.mean) <= deviation * math.sqrt(1 / a.runs + 1 / b.runs)


def shortest_equal(
    standings: Sequence[Standing], size: Callable[[str], int], direction: Direction, sigma: float | None
) -> tuple[Standing, Standing]:
    """Return (the preferred one, the one with the best mean): the same, unless another is equal to it and shorter.

    Of equally short ones the better mean, then the earlier in ``standings``, which must not be empty.
    """
    sign = 1.0 if direction == "minimise" else -1.0
    best = min(standings, key=lambda one: sign * one.mean)
    rivals = [one for one in standings if equal(one, best, sigma)]
    if len(rivals) == 1:
        return best, best
    return min(rivals, key=lambda one: (size(one.node_id), sign * one.mean)), best
