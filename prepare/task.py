"""A task as the search, the operators and the archive know it, whatever kind of program it improves.

``prepare.language_model`` has the tasks whose candidates train a language model, ``prepare.program`` those of any
program that a scorer judges. Tasks are trusted: candidates never import these modules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from prepare.clock import Clock

BITS_PER_BYTE = "bpb"
"""The unit of language models' scores."""
LARGEST_SCORE = 1e100
"""Largest magnitude of a score: sums of squares of larger ones are infinite."""
LONGEST_SECONDS = 30 * 86_400.0
"""Seconds of the longest phase of an evaluation."""
MOST = 10**12
"""Largest value of a limit that is no time."""


def require_seconds(seconds: float, name: str = "task.seconds") -> None:
    """Raise ValueError unless this can be the budget of one evaluation, which ``name`` sets."""
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"{name} is {seconds}; expected a positive number, at most {LONGEST_SECONDS:,.0f}")


def require_limits(limits: Any, least: Mapping[str, float]) -> None:
    """Raise ValueError for a limit that is too small or too large. None is no limit.

    ``least``: the smallest values of fields; of others, 0.001 s for a time and 1 for the rest.
    """
    for name in (part.name for part in fields(limits)):
        value, is_time = getattr(limits, name), name.endswith("_seconds")
        smallest, largest = least.get(name, 0.001 if is_time else 1), LONGEST_SECONDS if is_time else MOST
        if value is not None and not smallest <= value <= largest:
            raise ValueError(
                f"task.limits.{name} is {str(value)[:40]}; expected a number from {smallest:g} to {largest:,.0f}"
            )


@dataclass(frozen=True)
class Metric:
    """Name, direction and range of the score. ``direction`` has no default, since a wrong one selects the worst."""

    name: str
    direction: Literal["minimise", "maximise"]
    lower: float = -math.inf
    upper: float = math.inf
    unit: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("minimise", "maximise"):
            raise ValueError(
                f"metric {self.name!r} has direction {self.direction!r}; expected 'minimise' or 'maximise'. "
                "Set task.metric.direction in the task's YAML file."
            )
        if self.unit == BITS_PER_BYTE and self.direction == "maximise":
            raise ValueError(
                f"task.metric.direction is 'maximise' and the unit of {self.name!r} is {BITS_PER_BYTE} (bits per "
                "byte), of which a better model has fewer; expected 'minimise'"
            )
        if not self.lower < self.upper:
            raise ValueError(
                f"task.metric.lower is {self.lower:g} and task.metric.upper is {self.upper:g}; expected lower < upper"
            )

    @property
    def sign(self) -> int:
        """1 if a larger score is better, else -1."""
        return 1 if self.direction == "maximise" else -1

    @property
    def bound(self) -> float | None:
        """The best value that a score can have; None if there is no limit."""
        best = self.upper if self.direction == "maximise" else self.lower
        return best if math.isfinite(best) else None

    def is_better(self, score: float, other: float, margin: float = 0.0) -> bool:
        """Return whether a score is better than another one by more than ``margin``."""
        return self.sign * score > self.sign * other + margin

    def check(self, score: float) -> str | None:
        """Return why ``score`` cannot be a value of this metric, or None."""
        if not math.isfinite(score):
            return f"{self.name} is {score}, not a finite number"
        if abs(score) > LARGEST_SCORE:
            return f"{self.name} is {score:.6g}; expected a magnitude of at most {LARGEST_SCORE:g}"
        if not self.lower <= score <= self.upper:
            return f"{self.name} is {score:.6g}, outside [{self.lower:g}, {self.upper:g}]"
        return None


@dataclass(frozen=True)
class PromptInfo:
    """What prompts say of a task beyond its ``facts`` and ``instructions``: the words of its domain."""

    contract: str
    """How the program is called and what it must produce, as Markdown."""
    example: str | None = None
    """A complete program that shows how the interface is used, in a fence; None: prompts show the first program."""
    change_kinds: str | None = None
    """Kinds of change to ask for, in the form of ``operators/prompts/aims.md``; None: the kinds in that file."""
    metrics: tuple[str, ...] | None = None
    """Names of the metrics that are shown beside a score; None: all."""


class TaskLimits(Protocol):
    """Limits that every kind of task has."""

    @property
    def memory_mb(self) -> int:
        """Memory of all processes of a candidate together."""
        ...

    @property
    def source_kb(self) -> int:
        """Size of a candidate's files together."""
        ...


@runtime_checkable
class Task(Protocol):
    """What is improved: files that may change, a metric, a budget for one evaluation, data, and instructions."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def seconds(self) -> float:
        """Budget of one evaluation."""
        ...

    @property
    def limits(self) -> TaskLimits: ...

    @property
    def smallest_gain(self) -> float | None:
        """The smallest gain worth claiming, in the metric's unit; None if not set."""
        ...

    @property
    def editable(self) -> tuple[str, ...]:
        """Patterns of the files that candidates may change (``prepare.globs``)."""
        ...

    @property
    def constants(self) -> Mapping[str, float]:
        """Module-level constants to set in the seed program before the search begins."""
        ...

    @property
    def parameters(self) -> Mapping[str, str]:
        """Numbers in data files that the numeric search changes: ``config.json:model.rate`` -> ``0.1..1 log``."""
        ...

    @property
    def evolve_blocks(self) -> bool:
        """Whether only text between EVOLVE-BLOCK-START and EVOLVE-BLOCK-END may change (``prepare.blocks``)."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether an evaluation gives the same score with every seed, so that none is repeated."""
        ...

    @property
    def audit_unseen(self) -> float | None:
        """Gain that may stay unseen in an audited screening until sigma is known; None without audits."""
        ...

    @property
    def data(self) -> str:
        """Name of the data that scores are computed on, for messages."""
        ...

    def seed_files(self) -> dict[str, str]:
        """Return the root's files (path -> text). Raises TaskError."""
        ...

    def instructions(self) -> str:
        """Return the text of ``program.md``: goal and constraints in the user's words. Raises TaskError."""
        ...

    def facts(self) -> tuple[str, ...]:
        """Return what a prompt says of budget, interface and limits, a line each."""
        ...

    @property
    def prompt_info(self) -> PromptInfo:
        """Texts of the task for prompts. Raises TaskError if one cannot be read."""
        ...

    def readonly_files(self) -> Mapping[str, bytes]:
        """Return the files (path -> bytes) that lie beside a candidate's and are no part of it. Raises TaskError."""
        ...

    def is_prepared(self) -> bool: ...

    def prepare(self) -> Path:
        """Prepare and verify the data; idempotent. Returns their folder. Raises PreparationError or TaskError."""
        ...

    def locations(self) -> tuple[Path, ...]:
        """Return the folders of hidden data: a sandbox that mounts one of them is refused."""
        ...

    def fingerprint(self) -> str:
        """Return an identifier of data and scoring; scores of different fingerprints are never compared."""
        ...

    def clock_on(self, device: str) -> Clock:
        """Return the clock of the budget on a device. Raises ValueError for one that the device does not have."""
        ...
