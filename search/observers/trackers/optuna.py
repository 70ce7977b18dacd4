"""Optuna: a study in a journal file, with a trial for each screening; ``optuna-dashboard FILE`` opens it."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from archive.records import Run
from search.observers.trackers.base import Ending, Screening


class OptunaTracker:
    """Writes a study named as the run into the journal ``file``."""

    def __init__(self, file: str) -> None:
        self._optuna: Any = import_module("optuna")
        journal: Any = import_module("optuna.storages.journal")
        self._storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(file))
        self._study: Any = None
        self._known: set[str] = set()

    def start(self, run: Run, resumed: bool) -> None:
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        name = f"{run.run} ({run.run_id[:8]})"  # run names repeat between archives
        self._study = self._optuna.create_study(
            storage=self._storage,
            study_name=name,
            direction=f"{run.direction.removesuffix('ise')}ize",
            load_if_exists=True,
        )
        self._known = {str(trial.user_attrs.get("key")) for trial in self._study.get_trials(deepcopy=False)}
        for key in ("task", "metric", "policy", "seed"):
            self._study.set_user_attr(key, getattr(run, key))

    def screened(self, screening: Screening) -> None:
        if screening.key in self._known:
            return
        optuna = self._optuna
        low_high = optuna.distributions.FloatDistribution
        spaces = {name: low_high(min(value, 0.0), max(value, 0.0)) for name, value in screening.parameters.items()}
        scored = screening.score is not None
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if scored else optuna.trial.TrialState.FAIL,
            value=screening.score,
            params=dict(screening.parameters),
            distributions=spaces,
            user_attrs={
                "key": screening.key, "node": screening.node, "parents": list(screening.parents),
                "operator": screening.operator, "idea": screening.idea, "outcome": screening.outcome,
                **{name: value for name, value in screening.figures.items() if name != "score"}, **screening.metrics,
            },
            intermediate_values={point.step: point.loss for point in screening.curve},
        )  # fmt: skip
        trial.datetime_start = datetime.fromtimestamp(screening.started_at, UTC).replace(tzinfo=None)
        trial.datetime_complete = datetime.fromtimestamp(screening.finished_at, UTC).replace(tzinfo=None)
        self._study.add_trial(trial)

    def end(self, ending: Ending) -> None:
        self._study.set_user_attr("champion", ending.champion or "none")
        for name, value in ending.figures.items():
            self._study.set_user_attr(f"claim {name}", value)
