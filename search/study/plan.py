"""The plan of a study: read from YAML, completed with what it stands for, and hashed before the first run.

study: circles            its runs are circles-1, circles-2 ..., one for each seed
title: ...
hypothesis: ...
task: circles26
metric: sum_radii
direction: maximise
evaluations: 192          at most, of all runs together, claims included
seeds: [1, 2, 3]          of the searches; at least three
patience: null            stopping rule: a stage of proposals ends after so many evaluations without a new best
level: 0.95               analysis: of the interval of the mean gain over the seeds
smallest_gain: 0.001      analysis: a mean gain that is smaller is no improvement
settings: []              as of python -m search: [operators=tune, policy=greedy]
bibliography: null        a BibTeX file; null: the references that come along
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from archive.paper.deviations import BIBLIOGRAPHY
from archive.records import Direction, Stage, sha256
from prepare.config import SettingsError

STAGES: tuple[Stage, ...] = get_args(Stage)
SHARES: Mapping[Stage, int] = {"baseline": 20, "tuning": 12, "research": 12, "ablation": 18}
"""Evaluations of each stage by default, as in AI-Scientist-v2 (``bfts_config.yaml``): scaled to the plan's budget."""
LEAST_SEEDS = 3
_LEAST_EVALUATIONS = 8
"""Of one run, the claim left out: two for each stage."""


@dataclass(frozen=True)
class StudyPlan:
    """A plan as typed. Raises SettingsError for values that cannot be used."""

    study: str
    title: str
    hypothesis: str
    task: str
    metric: str
    direction: Direction
    evaluations: int
    seeds: tuple[int, ...]
    patience: int | None = None
    level: float = 0.95
    smallest_gain: float | None = None
    settings: tuple[str, ...] = ()
    bibliography: str | None = None

    def __post_init__(self) -> None:
        for wrong, words in self._faults():
            if wrong:
                raise SettingsError(f"the plan's {words}")

    def _faults(self) -> Sequence[tuple[bool, str]]:
        texts = ("title", "hypothesis", "task", "metric")
        gain = self.smallest_gain
        is_number = isinstance(gain, int | float) and not isinstance(gain, bool)
        return [
            (not re.fullmatch(r"[A-Za-z][\w.+-]{0,60}", str(self.study)),
             f"study is {self.study!r}; expected a name of letters, digits and -"),
            *((not isinstance(getattr(self, name), str) or not getattr(self, name).strip(),
               f"{name} is {getattr(self, name)!r}; expected text") for name in texts),
            (self.direction not in get_args(Direction),
             f"direction is {self.direction!r}; expected minimise or maximise"),
            (not all(type(seed) is int and seed >= 0 for seed in self.seeds) or len(set(self.seeds)) < LEAST_SEEDS,
             f"seeds are {list(self.seeds)}; expected at least {LEAST_SEEDS} different whole numbers"),
            (type(self.evaluations) is not int or self.evaluations < _LEAST_EVALUATIONS * len(self.seeds),
             f"evaluations is {self.evaluations!r}; expected at least {_LEAST_EVALUATIONS} for each seed"),
            (self.patience is not None and (type(self.patience) is not int or self.patience < 1),
             f"patience is {self.patience!r}; expected a whole number of at least 1, or null"),
            (not isinstance(self.level, float) or not 0.5 <= self.level < 1,
             f"level is {self.level!r}; expected a number such as 0.95"),
            (gain is not None and not (is_number and 0 < gain < math.inf),
             f"smallest_gain is {gain!r}; expected a positive number in the metric's unit, or null"),
            (not all(isinstance(word, str) and "=" in word for word in self.settings),
             f"settings are {list(self.settings)}; expected words like policy=greedy"),
        ]  # fmt: skip

    @property
    def runs(self) -> dict[str, int]:
        """The name of each run -> the seed of its search."""
        return {f"{self.study}-{seed}": seed for seed in self.seeds}

    @property
    def each(self) -> int:
        """Evaluations of one run at most, its claim included."""
        return self.evaluations // len(self.seeds)


def read_plan(path: Path) -> StudyPlan:
    """Read a plan. Raises SettingsError."""
    import yaml  # type: ignore[import-untyped]

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"the plan {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"the plan {path} holds {type(values).__name__}; expected names with values")
    known = {part.name for part in fields(StudyPlan)}
    if strange := sorted(map(str, values.keys() - known)):
        raise SettingsError(f"the plan {path} has {strange[0]!r}; the names are {', '.join(sorted(known))}")
    lists = {name: tuple(values[name] or ()) for name in ("seeds", "settings") if isinstance(values.get(name), list)}
    try:
        return StudyPlan(**{**values, **lists})
    except TypeError as error:
        raise SettingsError(f"the plan {path} is not complete: {error}") from error


def scaled(evaluations: int) -> dict[Stage, int]:
    """Return the evaluations of each stage: ``SHARES`` in small, by largest remainders."""
    whole = sum(SHARES.values())
    exact = {stage: evaluations * share / whole for stage, share in SHARES.items()}
    found = {stage: int(value) for stage, value in exact.items()}
    rest = sorted(STAGES, key=lambda stage: found[stage] - exact[stage])
    for stage in rest[: evaluations - sum(found.values())]:
        found[stage] += 1
    return found


def registered(
    plan: StudyPlan,
    budgets: Mapping[Stage, int],
    baseline: Mapping[str, str],
    settings: Mapping[str, Any],
    bibliography: str,
) -> str:
    """Return the text that is registered: the plan with its runs, stages, baseline and settings, as canonical JSON.

    ``baseline``: the files of the seed program. ``settings``: what a run may not change, of any of the runs.
    ``bibliography``: the BibTeX text that papers may cite, of which the plan has the digest.
    """
    facts = {
        **asdict(plan),
        "runs": plan.runs,
        "stages": dict(budgets),
        "baseline": {path: sha256(text) for path, text in baseline.items()},
        "identity": dict(settings),
        BIBLIOGRAPHY: sha256(bibliography),
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False, indent=1)
