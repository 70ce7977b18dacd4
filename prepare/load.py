"""From a task's configuration (a mapping, as YAML or JSON gives it) to a ``Task``.

The same loader serves the search, the standalone run of a seed program and an exported branch, which carries its
configuration as ``task.json``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prepare.task import Limits, Metric, Task

HOUSE = Path(__file__).resolve().parent.parent
"""The folder that holds our packages; paths in a task's configuration are relative to it, if not found from here."""


class TaskError(Exception):
    """A task's configuration is not usable; the message says which key and what was expected."""


def locate(target: str) -> Any:
    """The object that a dotted ``_target_`` names. Raises TaskError."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TaskError(f"_target_ {target!r} cannot be imported ({error}); expected package.module.Class") from error


def task_from(config: Mapping[str, Any]) -> Task:
    """Build the task. Raises TaskError for a missing or unknown key, ValueError from the parts' own checks."""
    values = {key: value for key, value in config.items() if key != "_target_"}
    metric = values.get("metric") or {}
    if not isinstance(metric, Mapping) or not metric.get("direction"):
        raise TaskError(
            f"task {values.get('name', '?')!r} does not say whether its metric is to be minimised or maximised. "
            "Set task.metric.direction to 'minimise' or 'maximise'."
        )
    corpus = dict(values.get("corpus") or {})
    if "_target_" not in corpus:
        raise TaskError("task.corpus has no _target_; expected for example 'prepare.corpora.Plays'")
    try:
        values["metric"] = Metric(**metric)
        values["limits"] = Limits(**(values.get("limits") or {}))
        values["constants"] = dict(values.get("constants") or {})
        values["corpus"] = locate(corpus.pop("_target_"))(**corpus)
        if "editable" in values:
            values["editable"] = tuple(values["editable"])
        return Task(**values)
    except TypeError as error:
        raise TaskError(f"task {values.get('name', '?')!r}: {error}") from error


def find_file(path: str) -> Path:
    """A file that a task names: relative to the current directory, or to the folder of our packages."""
    for candidate in (Path(path).expanduser(), HOUSE / path):
        if candidate.is_file():
            return candidate
    places = " nor in ".join(dict.fromkeys((str(Path.cwd()), str(HOUSE))))
    raise TaskError(f"the task names the file {path!r}, which is not in {places}")


def task_beside(program: Path) -> Task:
    """The task of a program that runs alone: ``task.json`` beside it (an export), else ``conf/task/<stem>.yaml``."""
    exported = program.resolve().parent / "task.json"
    if exported.is_file():
        return task_from(json.loads(exported.read_text()))
    config = HOUSE / "conf" / "task" / f"{program.stem}.yaml"
    if config.is_file():
        from omegaconf import OmegaConf  # not at the top: an export runs without it

        values = OmegaConf.to_container(OmegaConf.load(config), resolve=True)
        assert isinstance(values, dict)
        values.pop("presets", None)
        return task_from({str(key): value for key, value in values.items()})
    raise TaskError(f"no task for {program}: expected {exported} or {config}")
