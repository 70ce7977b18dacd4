"""MLflow: a run with a nested run for each screening, which has the node's parameters, score and learning curve."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from archive.records import Run
from search.observers.trackers.base import Ending, Screening

_TAG = "treewright.run_id"
_LONGEST = 500
"""Characters of an idea in a tag."""


class MlflowTracker:
    """Records into an experiment of MLflow. ``uri``: a server or file; None: MLflow's own default."""

    def __init__(self, experiment: str, uri: str | None = None) -> None:
        module: Any = import_module("mlflow")
        self._client = module.MlflowClient(tracking_uri=uri)
        self._entities = import_module("mlflow.entities")
        self._experiment = experiment
        self._id = self._run = ""

    def start(self, run: Run, resumed: bool) -> None:
        client = self._client
        found = client.get_experiment_by_name(self._experiment)
        self._id = client.create_experiment(self._experiment) if found is None else found.experiment_id
        known = client.search_runs([self._id], f"tags.`{_TAG}` = '{run.run_id}'") if resumed else []
        if known:
            self._run = known[0].info.run_id
            client.update_run(self._run, "RUNNING")
            return
        self._run = client.create_run(self._id, tags={_TAG: run.run_id}, run_name=run.run).info.run_id
        for name in ("task", "metric", "direction", "policy", "seed"):
            client.log_param(self._run, name, getattr(run, name))

    def screened(self, screening: Screening) -> None:
        client, metric, params = self._client, self._entities.Metric, self._entities.Param
        at, step = int(1000 * screening.finished_at), screening.evaluations
        client.log_batch(self._run, [metric(k, v, at, step) for k, v in screening.figures.items()])
        tags = {"mlflow.parentRunId": self._run, "node": screening.node, "operator": screening.operator,
                "outcome": screening.outcome, "idea": screening.idea[:_LONGEST]}  # fmt: skip
        began = int(1000 * screening.started_at)
        child = client.create_run(
            self._id, began, tags, run_name=f"{screening.operator} {screening.node[:8]}"
        ).info.run_id
        curve = [
            metric("loss", p.loss, int(1000 * (screening.started_at + p.elapsed)), p.step) for p in screening.curve
        ]
        own = {} if screening.score is None else {"score": screening.score}
        figures = [metric(k, v, at, 0) for k, v in {**screening.metrics, **own}.items()]
        constants = [params(name, str(value)) for name, value in screening.parameters.items()]
        client.log_batch(child, [*figures, *curve][:1000], constants[:100])
        client.set_terminated(child, "FINISHED" if screening.score is not None else "FAILED", at)

    def end(self, ending: Ending) -> None:
        for name, value in ending.figures.items():
            self._client.log_metric(self._run, f"claim_{name}", value)
        self._client.set_tag(self._run, "champion", ending.champion or "none")
        self._client.set_terminated(self._run, "FINISHED" if ending.finished else "KILLED")
