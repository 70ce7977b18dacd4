"""The configuration of a run, typed and checked in one place.

``Config.of`` takes plain values (``search.settings`` composes them) and gives dataclasses, which travel from there.
What a pluggable class takes for itself stays a mapping until that class is instantiated, so that a class of the user's
own may have any options. ``runs.config`` of the archive keeps the plain values.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from archive.interval import CONFIDENCE
from archive.storage.wal import unusable_name
from operators.config import LlmConfig, OperatorConfig
from prepare.command_line import command
from prepare.config import Part, Plain, SettingsError, typed
from prepare.overrides import written
from prepare.paths import is_utf8
from prepare.renamed import refuse_old_names
from train.executors.base import ExecutionConfig

LEAST_SEEDS = 2
"""Report seeds per side that an interval needs."""

DEFAULT_EVALUATIONS = 29
"""For ``budget.evaluations: auto``, where no other limit is set."""

_LONGEST_NAME = 120
_MOST = 10**12
"""Largest limit of a budget."""
_MOST_RUNS = 1000
"""Most finalists of a claim, and most evaluations of one of them for one purpose."""
_LIMITS = ("evaluations", "hours", "device_hours", "tokens", "dollars")
_WHOLE = ("evaluations", "tokens")
_PARTS = ("task", "policy", "operators", "llm", "evaluator", "executor")
"""Sections that name classes."""
NO_SCORE_DEPENDS_ON = frozenset({"folder", "known"})
"""Keys of a task that no score depends on: where its folder lies, and the best value known."""
_FREE_OF_IDENTITY = NO_SCORE_DEPENDS_ON | {"limits", "smallest_gain", "clock"}
"""Keys of a task that may change between sessions: what a candidate may use, what is worth claiming, and the clock, by
which scores are kept apart anyway."""


@dataclass(frozen=True)
class Budget:
    """Limits of one run; None means no limit. Raises ValueError for an invalid limit, and for no limit at all.

    ``search.run.budget`` calculates what is left of them.
    """

    evaluations: int | None = None
    hours: float | None = None
    device_hours: float | None = None
    tokens: int | None = None
    dollars: float | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        for part in fields(self):
            self._check(part.name, getattr(self, part.name))
        if all(getattr(self, part.name) is None for part in fields(self)):
            keys = ", ".join(f"budget.{name}" for name in _LIMITS)
            raise ValueError(f"no budget: set one of {keys} or budget.target, so that the search ends")

    def _check(self, name: str, value: Any) -> None:
        if value is None:
            return
        wanted = int if name in _WHOLE else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not math.isfinite(value):
            whole = "whole " if name in _WHOLE else ""
            raise ValueError(f"budget.{name} is {value!r}; expected a {whole}number, or null for no limit")
        if name in _WHOLE and value < 1:
            raise ValueError(f"budget.{name} is {value}; expected at least 1")
        if name != "target" and value > _MOST:
            raise ValueError(f"budget.{name} is {str(value)[:40]}; expected at most {_MOST:,}, or null for no limit")
        if name not in (*_WHOLE, "target") and value <= 0:
            raise ValueError(f"budget.{name} is {value}; expected a positive number")

    def needs_model(self) -> str | None:
        """Return the error for a search without a language model that is limited by nothing else; None if it is."""
        others = (self.evaluations, self.hours, self.device_hours, self.target)
        if any(value is not None for value in others):
            return None
        names = " and ".join(f"budget.{name}" for name in ("tokens", "dollars") if getattr(self, name) is not None)
        return (
            f"{names} would never end this search, since it asks no language model. "
            "Set budget.evaluations, budget.hours or budget.device_hours."
        )

    def describe(self) -> str:
        """Return the limits in words: ``29 evaluations, 2 hours``."""
        words = {
            "evaluations": f"{self.evaluations} evaluations",
            "hours": f"{self.hours or 0:g} hours",
            "device_hours": f"{self.device_hours or 0:g} device hours",
            "tokens": f"{self.tokens or 0:,} tokens",
            "dollars": f"${self.dollars or 0:.2f}",
            "target": f"target {self.target or 0:g}",
        }
        return ", ".join(text for name, text in words.items() if getattr(self, name) is not None)


FIRST_LOOK = 3
"""Report seeds a side at the first of two looks at a claim. A constant: then no budget that grows can move the look."""
LOOK_SEEDS = FIRST_LOOK + 2
"""Report seeds a side, at least, of a claim with two looks (see ``search.claims.looks``)."""


@dataclass(frozen=True)
class ClaimPlan:
    """The size of a claim. Raises ValueError for numbers with which no claim is possible."""

    candidates: int = 3
    """Finalists of the confirm stage."""
    confirm_seeds: int = 2
    report_seeds: int = 4
    """Per side, at least, as far as the budget allows. See ``search.claims.plan.sized`` for a lead that needs fewer."""
    most_report_seeds: int = 12
    """Per side, at most, however large the seed deviation is."""
    smallest_gain: float | None = None
    """The smallest gain worth claiming, in the metric's unit; None: ``report_seeds`` whatever the seed deviation."""
    power: float = 0.8
    """Probability of detecting a gain of that size."""
    least_power: float = 0.5
    """No claim is begun that would find its gain with a smaller probability; 0: claim whatever the probability."""
    confidence: float = CONFIDENCE
    """Of the first claim on a holdout; 1 less it is what all claims on it together may err with."""
    least_report_seeds: int | None = None
    """How far ``fit`` lowers ``report_seeds`` before it drops a candidate; None: not at all."""
    limit: int | None = None
    """Evaluations that the claim may cost, repeats of failed ones included; None: ``evaluations``. See ``fit``."""
    deterministic: bool = False
    """Whether the task says that no seed changes a score: one evaluation a side; see ``search.claims.plan.sized``."""
    looks: int = 2
    """2 to look at a claim after ``FIRST_LOOK`` seeds a side and stop it then, if that is enough; or 1. A run keeps
    the number that it was started with: see ``search.claims.plan.as_started``."""
    claims_elsewhere: int = 0
    """Earlier claims of other runs on the same holdout, which have spent from the same error budget."""
    reach: float | None = None
    """The seed deviation by which nodes are told from finalists: of nodes further behind the best than the standard
    error of their difference none becomes a finalist. None: all may. See ``search.claims.plan.sized``."""

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.confirm_seeds < 1 or self.report_seeds < self.least_seeds:
            raise ValueError(
                f"the claim has {self.candidates} candidates, {self.confirm_seeds} confirm seeds and "
                f"{self.report_seeds} report seeds; expected at least 1, 1 and {self.least_seeds}"
            )
        for name in ("confidence", "power"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"the claim's {name} is {getattr(self, name)}; expected a number such as 0.95")
        for name in ("candidates", "confirm_seeds", "report_seeds", "most_report_seeds"):
            if not 1 <= getattr(self, name) <= _MOST_RUNS:
                raise ValueError(f"the claim's {name} is {getattr(self, name)}; expected 1 to {_MOST_RUNS:,}")
        if self.looks not in (1, 2):
            raise ValueError(f"the claim's looks is {self.looks}; expected 1 or 2")
        if not 0 <= self.least_power < 1:
            raise ValueError(f"the claim's least_power is {self.least_power}; expected a number from 0 to below 1")
        if self.smallest_gain is not None and not 0 < self.smallest_gain < math.inf:
            raise ValueError(
                f"the claim's smallest_gain is {self.smallest_gain}; expected a positive number in the metric's unit, "
                "or null for the same number of seeds whatever the noise"
            )

    @property
    def least_seeds(self) -> int:
        """Report seeds per side that a verdict needs."""
        return 1 if self.deterministic else LEAST_SEEDS

    @property
    def look_seeds(self) -> tuple[int, ...]:
        """Report seeds per side at each look: after the first of two the claim may stop."""
        two = self.looks == 2 and self.report_seeds >= LOOK_SEEDS
        return (FIRST_LOOK, self.report_seeds) if two else (self.report_seeds,)

    @property
    def evaluations(self) -> int:
        """Evaluations of a claim in which none fails and no look stops it."""
        return (self.candidates * self.confirm_seeds if self.candidates > 1 else 0) + 2 * self.report_seeds


@dataclass(frozen=True)
class Sweep:
    """The sweep that a run belongs to."""

    id: str
    values: Mapping[str, str]
    """Key -> value, of the keys that have several values in the sweep."""


@dataclass(frozen=True)
class Config:
    """Everything that is set of a run."""

    task: Plain
    """Of ``prepare.load.task_from``; the preset of the device is in it."""
    policy: Plain
    """``_target_`` and options, with parts below that are named so, too."""
    operators: Mapping[str, OperatorConfig]
    llm: LlmConfig
    evaluator: Part
    executor: Part
    budget: Budget
    claim: ClaimPlan | None
    """None: no claim at the end."""
    sandbox: str
    seed: int
    run: str | None
    """None: a new name."""
    archive: str
    plain: Plain = field(repr=False)
    """The plain values of all this."""
    notify: str | None = None
    """A command that is told of a plateau, failures, caps and the end; see ``search/observers/notify.py``."""
    tracker: Part | None = None
    """An experiment tracker; see ``search/observers/trackers``."""
    overseer: Part | None = None
    """Rules that end a search which gets nowhere; see ``search/observers/overseer.py``."""
    chosen: Mapping[str, str | None] = field(default_factory=dict)
    """Group -> the choice that was made, for the record."""
    sweep: Sweep | None = None

    @classmethod
    def of(cls, values: Plain) -> Config:
        """Typed from plain values. Raises SettingsError for the first that cannot be used."""
        made = {}
        for section in _SECTIONS:
            try:
                made[section] = _section(section, values)
            except ValueError as error:
                raise SettingsError(str(error)) from error
        return cls(**made, plain=values)

    @property
    def identity(self) -> dict[str, Any]:
        """Plain values that a resume may not change."""
        task = {key: value for key, value in self.plain["task"].items() if key not in _FREE_OF_IDENTITY}
        operators = {
            name: {key: value for key, value in entry.items() if key != "llm"}
            for name, entry in self.plain["operators"].items()
        }
        return {"task": task, "policy": self.plain["policy"], "operators": operators, "seed": self.seed}

    @property
    def recorded(self) -> dict[str, Any]:
        """Plain values for the archive: all but the language model's settings, which may hold addresses."""
        return {key: value for key, value in self.plain.items() if key != "llm"}

    @property
    def execution(self) -> ExecutionConfig:
        return ExecutionConfig(self.task, self.evaluator, self.executor, self.sandbox)

    def changed(self, **sections: Any) -> Config:
        """The same with other plain values of some sections. Raises SettingsError."""
        return Config.of({**self.plain, **sections})

    def described(self, **sections: Any) -> Config:
        """The same with other plain values in its record and identity: of objects that stand in for what is named."""
        return replace(self, plain={**self.plain, **sections})


def faults(values: Plain) -> dict[str, str]:
    """Section -> what is wrong with it, of all that cannot be used."""
    found = {}
    for section in _SECTIONS:
        try:
            _section(section, values)
        except ValueError as error:
            found[section] = str(error)
    return found


def completed(values: Plain, typed_keys: frozenset[str]) -> dict[str, Any]:
    """Fill in what follows from the budget. ``typed_keys``: the keys that were set on the command line.

    ``budget.evaluations: auto`` becomes a number, or None where another limit is set. ``budget.tokens`` and
    ``budget.dollars`` replace the language model's own caps; where such a cap was typed, too, the smaller one holds.
    """
    budget, llm = dict(values.get("budget") or {}), dict(values.get("llm") or {})
    if budget.get("evaluations") == "auto":
        limited = any(budget.get(name) is not None for name in _LIMITS if name != "evaluations")
        budget["evaluations"] = None if limited else DEFAULT_EVALUATIONS
    for name, cap in (("tokens", "max_total_tokens"), ("dollars", "max_dollars")):
        limit = budget.get(name)
        if cap in llm and isinstance(limit, int | float):
            own = llm[cap] if f"llm.{cap}" in typed_keys else None
            llm[cap] = limit if own is None else min(own, limit)
    return {**values, "budget": budget, "llm": llm or values.get("llm")}


# ---------------------------------------------------------------- the sections


def _section(name: str, values: Plain) -> Any:
    """One field of ``Config``. Raises ValueError."""
    if name in _PARTS:
        refuse_old_names(values.get(name), name)
        _refuse_unusable(values.get(name), name)
    return _SECTIONS[name](values.get(name, _MISSING))


def _refuse_unusable(value: Any, where: str) -> None:
    """Raise ValueError for ``nan``, and for text that is no UTF-8, anywhere in a section.

    Also among options that only a class of its own checks.
    """
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{where} is nan; expected a finite number")
    if isinstance(value, str) and not is_utf8(value):
        raise ValueError(f"{where} is {value[:200]!r}, which has bytes that are no UTF-8; expected text")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        _refuse_unusable(item, f"{where}.{key}")


_MISSING = object()


def _mapping(name: str) -> Callable[[Any], Plain]:
    def convert(value: Any) -> Plain:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {_shown(value)}; expected {name}=NAME, see {command('search')} --help")
        return {str(key): item for key, item in value.items()}

    return convert


def _operators(value: Any) -> dict[str, OperatorConfig]:
    entries = _mapping("operators")(value)
    return {name: OperatorConfig.of(entry, f"operators.{name}") for name, entry in entries.items()}


def _claim(value: Any) -> ClaimPlan | None:
    return None if value in (None, _MISSING, "off", False) else typed(ClaimPlan, value, "claim")


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"seed is {_shown(value)}; expected a whole number")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"seed is {str(value)[:40]}; expected a whole number of at most 63 bits")
    return value


def _run(value: Any) -> str | None:
    if value is None or value is _MISSING:
        return None
    name = str(value)
    if isinstance(value, bool):
        quoted = shlex.quote(written("run", name.lower()))
        raise ValueError(f"run is {name.lower()}, which is no text; for a run of that name write {quoted}")
    plain = isinstance(value, str | int | float)
    if not (plain and name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME):
        raise ValueError(f"run is {name[:200]!r}; expected a name of 1 to {_LONGEST_NAME} printable characters")
    return name


def _archive(value: Any) -> str:
    """The path of a file, a home directory written in full."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or str(value).strip() in ("", ":memory:"):
        raise ValueError(f"archive is {_shown(value)}; expected the name of a file: archive=FILE")
    if "\0" in str(value):
        raise ValueError(f"archive is {value!r}; expected the name of a file, which has no NUL character")
    if str(value).endswith("/"):
        raise ValueError(f"archive is the folder {value!r}; expected the name of a file: archive={value}NAME.duckdb")
    path = os.path.expanduser(str(value))
    if path.startswith("~"):
        raise ValueError(f"archive is {value!r}, and that home directory is not known; expected archive=FILE")
    if (wrong := unusable_name(Path(path).absolute())) is not None:
        raise ValueError(f"archive is {path[:300]!r}, a path with {wrong}; use another name or folder: archive=FILE")
    return path


def _notify(value: Any) -> str | None:
    if value is None or value is _MISSING:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"notify is {value!r}; expected a command, or null")
    return value


def _names_nothing(value: Any) -> bool:
    return value in (None, _MISSING) or (isinstance(value, Mapping) and value.get("_target_") is None)


def _sweep(value: Any) -> Sweep | None:
    return None if value is None or value is _MISSING else typed(Sweep, value, "sweep")


def _shown(value: Any) -> str:
    return "missing" if value is _MISSING else repr(value)


_SECTIONS: Mapping[str, Callable[[Any], Any]] = {
    "task": _mapping("task"),
    "policy": lambda value: Part.of(value, "policy").plain,
    "operators": _operators,
    "llm": lambda value: LlmConfig.of({} if value is _MISSING else value),
    "evaluator": lambda value: Part.of(value, "evaluator"),
    "executor": lambda value: Part.of(value, "executor"),
    "budget": lambda value: typed(Budget, {} if value is _MISSING else value, "budget"),
    "claim": _claim,
    "sandbox": str,
    "seed": _seed,
    "run": _run,
    "archive": _archive,
    "notify": _notify,
    "tracker": lambda value: None if _names_nothing(value) else Part.of(value, "tracker"),
    "overseer": lambda value: None if _names_nothing(value) else Part.of(value, "overseer"),
    "chosen": lambda value: {} if value is _MISSING else dict(value),
    "sweep": _sweep,
}
