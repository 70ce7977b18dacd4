"""TensorBoard: a folder for the run and one below it for each node, whose learning curves lie over one another."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from archive.records import Run
from search.observers.trackers.base import Ending, Screening


class TensorboardTracker:
    """Writes event files below ``folder``; ``tensorboard --logdir FOLDER`` shows them."""

    def __init__(self, folder: str) -> None:
        import_module("tensorboard")  # torch's writer needs it
        self._writer: Any = import_module("torch.utils.tensorboard").SummaryWriter
        self._folder = Path(folder).expanduser()
        self._run: Any = None

    def start(self, run: Run, resumed: bool) -> None:
        self._folder /= run.run.replace("/", "_")
        self._run = self._writer(str(self._folder))
        if not resumed:
            self._run.add_text(
                "run", f"{run.task}, {run.metric} ({run.direction}), policy {run.policy}, seed {run.seed}"
            )

    def screened(self, screening: Screening) -> None:
        for name, value in {**screening.figures, **screening.metrics}.items():
            self._run.add_scalar(name, value, screening.evaluations, screening.finished_at)
        if screening.curve:
            own = self._writer(str(self._folder / screening.key.replace("/", "-")))
            for point in screening.curve:
                own.add_scalar("loss", point.loss, point.step, screening.started_at + point.elapsed)
            own.close()

    def end(self, ending: Ending) -> None:
        for name, value in ending.figures.items():
            self._run.add_scalar(f"claim/{name}", value)
        self._run.add_text("end", f"{ending.reason} champion: {ending.champion or 'none'}")
        self._run.close()
