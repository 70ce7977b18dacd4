"""Weights & Biases, and Trackio, whose functions have the same names.

A run is a run of theirs: score, best, cost and failures over evaluations, and each node's last loss. A node's learning
curve is recorded where it becomes the leader.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from archive.records import Run
from search.observers.trackers.base import Ending, Screening


class WandbTracker:
    """Records into a project of W&B (``module=wandb``) or Trackio."""

    def __init__(self, module: str, project: str, **options: Any) -> None:
        """``options``: further arguments of the library's ``init``, such as ``mode: offline``."""
        self._module = import_module(module)
        self._name = module
        self._options = {"project": project, **options}
        self._best: float | None = None

    def start(self, run: Run, resumed: bool) -> None:
        known = {"id": run.run_id} if self._name == "wandb" else {}
        config = {"task": run.task, "metric": run.metric, "direction": run.direction, "policy": run.policy,
                  "seed": run.seed, "settings": dict(run.config)}  # fmt: skip
        self._module.init(name=run.run, resume="allow", config=config, **known, **self._options)

    def screened(self, screening: Screening) -> None:
        figures = screening.figures | {f"metric/{name}": value for name, value in screening.metrics.items()}
        if screening.curve:
            figures["loss"] = screening.curve[-1].loss
        if screening.best is not None and screening.best == screening.score != self._best:
            self._best = screening.best
            self._module.log({f"curve/{screening.node[:8]}": [[p.elapsed, p.loss] for p in screening.curve]})
        self._module.log({"evaluations": screening.evaluations, "node": screening.node, **figures})

    def end(self, ending: Ending) -> None:
        self._module.log({f"claim/{name}": value for name, value in ending.figures.items()} | {
            "finished": float(ending.finished), "champion": ending.champion or "none",
        })  # fmt: skip
        self._module.finish()
