"""Optimisers of others on the tables of ``policies.py``, each with its own loop from its own starts.

    tpe, cmaes, gp   Optuna's samplers with their defaults (gp needs torch, cmaes the extra [bench])
    auto             AutoSampler of OptunaHub: ``pip install optunahub`` and, without a network, a copy of
                     github.com/optuna/optunahub-registry whose folder OPTUNAHUB_REGISTRY names
    smac             SMAC3's facade for hyperparameters, which repeats its incumbents: ``pip install smac``

A constant of names is a category, any other a place in a list. One evaluation in five fails, which Optuna is told as a
failure, SMAC as a crash with the worst score so far. Optuna hands over the best single score, SMAC its incumbent.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from search.playing.game import CRASHES, Played
from search.playing.tables import Setting, Table


class TableSearch:
    """The evaluations of one search: scores looked up, one in five failed, and the best true percentile so far."""

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.best: list[float] = []
        self._worst: float | None = None
        self._rng = np.random.default_rng([seed, 4])

    def evaluate(self, setting: Setting) -> float | None:
        """Return the score of one training; None if it failed."""
        here, score = self.best[-1] if self.best else 0.0, None
        if self._rng.random() >= CRASHES:
            score = self.table.draw(setting, int(self._rng.integers(2**31)))
            here = min(here, self.percentile(setting))
            self._worst = score if self._worst is None else max(score, self._worst)
        self.best.append(here)
        return score

    @property
    def cost_of_failure(self) -> float:
        """The worst score so far; the table's worst while there is none."""
        return float(np.nanmax(self.table.scores)) if self._worst is None else self._worst

    def percentile(self, setting: Setting) -> float:
        return float(self.table.percentiles[self.table.place(setting)])


# ---------------------------------------------------------------- Optuna


def _auto(seed: int) -> Any:
    import optunahub

    registry = os.environ.get("OPTUNAHUB_REGISTRY")
    if registry is None:
        return optunahub.load_module("samplers/auto_sampler").AutoSampler(seed=seed)
    root = str(Path(registry) / "package")
    return optunahub.load_local_module("samplers/auto_sampler", registry_root=root).AutoSampler(seed=seed)


def _optuna_sampler(name: str, seed: int) -> Any:
    import optuna

    if name == "auto":
        return _auto(seed)
    classes = {"tpe": "TPESampler", "cmaes": "CmaEsSampler", "gp": "GPSampler"}
    return getattr(optuna.samplers, classes[name])(seed=seed)


def by_optuna(name: str, table: Table, seed: int, evaluations: int) -> Played:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = TableSearch(table, seed)
    spaces: dict[str, BaseDistribution] = {
        key: CategoricalDistribution(range(len(values))) if table.unordered else IntDistribution(0, len(values) - 1)
        for key, values in table.choices.items()
    }
    study = optuna.create_study(sampler=_optuna_sampler(name, seed))
    scores: dict[Setting, float] = {}
    for _ in range(evaluations):
        trial = study.ask(spaces)
        setting = tuple(int(trial.params[key]) for key in table.choices)
        score = search.evaluate(setting)
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, score)
        scores[setting] = min(score, scores.get(setting, np.inf))
    return Played(np.array(search.best), search.percentile(min(scores, key=scores.__getitem__)))


# ---------------------------------------------------------------- SMAC


def _space(table: Table, seed: int) -> Any:
    from ConfigSpace import Categorical, ConfigurationSpace, Integer

    space = ConfigurationSpace(seed=seed)
    for key, values in table.choices.items():
        last = len(values) - 1
        space.add(Categorical(key, list(range(last + 1))) if table.unordered else Integer(key, (0, last)))
    return space


def by_smac(name: str, table: Table, seed: int, evaluations: int) -> Played:
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue
    from smac.runhistory.enumerations import StatusType

    search = TableSearch(table, seed)
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(_space(table, seed), n_trials=evaluations, seed=seed, output_directory=Path(folder))
        smac = HyperparameterOptimizationFacade(scenario, lambda config, seed: 0.0, logging_level=logging.ERROR)
        while len(search.best) < evaluations:
            trial = smac.ask()
            score = search.evaluate(_setting(table, trial.config))
            status = StatusType.CRASHED if score is None else StatusType.SUCCESS
            smac.tell(trial, TrialValue(cost=search.cost_of_failure if score is None else score, status=status))
        incumbent = smac.intensifier.get_incumbent()
    return Played(np.array(search.best), search.percentile(_setting(table, incumbent)))


def _setting(table: Table, config: Any) -> Setting:
    return tuple(int(config[key]) for key in table.choices)


SAMPLERS: dict[str, Callable[[str, Table, int, int], Played]] = {
    **dict.fromkeys(("tpe", "cmaes", "gp", "auto"), by_optuna),
    "smac": by_smac,
}


def sampled(name: str, table: Table, seed: int, evaluations: int) -> Played:
    """One search by another's optimiser."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental classes, and starts that are no whole power of two
        return SAMPLERS[name](name, table, seed, evaluations)
