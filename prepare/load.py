"""Build a ``Task`` from its configuration (a mapping, as read from YAML or JSON).

Used by the search, by the standalone run of a seed program and by an exported branch, which carries its configuration
as ``task.json``. A configuration that a user typed or wrote under conf/ may name any class; one that was read from data
is checked by ``prepare.known`` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prepare.known import TaskError, known_task, locate
from prepare.presets import chosen, merged, this_machine
from prepare.task import Limits, Metric, Task

__all__ = ["ROOT", "TaskError", "find_file", "is_exported", "locate", "task_beside", "task_from", "task_named"]

ROOT = Path(__file__).resolve().parent.parent
"""Folder of this project's packages. A task's paths are relative to the current folder or, failing that, to this."""


def task_from(config: Mapping[str, Any]) -> Task:
    """Build the task. Raises TaskError for a missing or unknown key, ValueError for an invalid value."""
    values = {key: value for key, value in config.items() if key != "_target_"}
    metric = values.get("metric") or {}
    if not isinstance(metric, Mapping) or not metric.get("direction"):
        raise TaskError(
            f"task {values.get('name', '?')!r} does not say whether its metric is minimised or maximised. "
            "Set task.metric.direction to 'minimise' or 'maximise'."
        )
    corpus = dict(values.get("corpus") or {})
    if "_target_" not in corpus:
        raise TaskError("task.corpus has no _target_; expected for example 'prepare.data.corpora.Plays'")
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
    """Return a file that a task names: relative to the current folder, or to ``ROOT``. Raises TaskError."""
    for candidate in (Path(path).expanduser(), ROOT / path):
        if candidate.is_file():
            return candidate
    places = " nor in ".join(dict.fromkeys((str(Path.cwd()), str(ROOT))))
    raise TaskError(f"the task names the file {path!r}, which is not in {places}")


def is_exported(program: Path) -> bool:
    """Return whether a program lies in an exported branch, next to a ``task.json``."""
    return (program.resolve().parent / "task.json").is_file()


def task_beside(program: Path, device: str | None = None, settings: Sequence[str] = ()) -> Task:
    """Load the task of a program that runs alone: ``task.json`` next to it (an export), else ``conf/task/<stem>.yaml``.

    For the latter, ``device`` selects the preset (see ``prepare.presets``; None: this machine's device), and
    ``settings`` are overrides as for the search. Raises TaskError, or ValueError for an invalid value.
    """
    exported = program.resolve().parent / "task.json"
    if exported.is_file():
        if settings:
            raise TaskError(f"{settings[0]!r} cannot be set here: the task of an exported branch is {exported}")
        return task_from(known_task(_exported(exported)))
    config = ROOT / "conf" / "task" / f"{program.stem}.yaml"
    if config.is_file():
        return task_named(program.stem, settings, device or this_machine())
    raise TaskError(f"no task for {program}: expected {exported} or {config}")


def _exported(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} cannot be read: {error}. Export the node again.") from None


def task_named(name: str, overrides: Sequence[str], device: str) -> Task:
    """The task of ``conf/task/<name>.yaml`` with the preset of a device. ``overrides``: as for the search.

    What is overridden wins over the preset. Raises TaskError, or ValueError from the parts' own checks.
    """
    values = _composed(name, overrides)
    presets = values.pop("presets", None) or {}
    if (fitting := chosen(presets, device)) is not None:
        keys = [word.partition("=")[0].lstrip("+") for word in overrides]
        typed = [key.removeprefix("task.") for key in keys if key.startswith("task.")]
        values = merged(values, presets[fitting] or {}, typed)
    return task_from(values)


def _composed(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the configuration of a task with Hydra, as the search does. Raises TaskError."""
    from hydra import compose, initialize_config_dir  # here, since an export runs without it
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    held = GlobalHydra.instance().hydra  # another part of this process may have initialised Hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("config", overrides=[f"task={name}", *overrides])
            values = OmegaConf.to_container(config.task, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        words = " ".join(line.strip() for line in str(error).splitlines() if line.strip() and "hydra.cc" not in line)
        given = " ".join([f"task={name}", *overrides])
        raise TaskError(f"{given} is no task: {words[:600]}") from error
    finally:
        GlobalHydra.instance().hydra = held
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
