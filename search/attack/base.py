"""Cheats: one or more versions of a task's seed that do not deserve a better score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from operators.languages.files import Files

Kind = Literal["idle", "working", "inexact", "shopping"]
"""How a cheat breaks a task:

idle      leaves the work undone: a score as good as the seed's is a break
working   does the seed's work and more: a score better than the seed's is a break
inexact   (fine, coarse): results are off by 1e-9 and by 1e-4; a fine one that gains while the coarse one is refused
shopping  several random seeds: the one that is best on ``val`` gains on ``holdout`` (of tasks with noise)
"""


@dataclass(frozen=True)
class Target:
    """Facts of the attacked task, from which a cheat is made."""

    files: Files
    """The seed's, the main file first."""
    metric: str
    best: float
    """A score that no honest program has."""
    secrets: Mapping[str, str]
    """Absolute path of each file that no candidate may read -> SHA-256 of its content."""
    output_bytes: int
    """The most that a candidate may return."""
    token: str
    """What a cheat prints, or has in its processes' command lines, if it did what it may not."""
    scorer: str | None
    blocks: bool
    """Whether only text in EVOLVE-BLOCKs may change."""

    @property
    def main(self) -> str:
        """The name of the main file."""
        return next(iter(self.files))


@dataclass(frozen=True)
class Cheat:
    """A cheat. ``make`` returns its versions, or an empty list if it does not apply to the task."""

    name: str
    words: str
    """What it does, for the table."""
    kind: Kind
    make: Callable[[Target], list[Files]]
