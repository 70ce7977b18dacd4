"""Build a ``Task`` from its configuration (a mapping, as read from YAML or JSON).

Used by the search, by the standalone run of a seed program and by an exported branch, which carries its configuration
as ``task.json``. A configuration that a user typed or wrote under conf/ may name any class; one that was read from data
is checked by ``prepare.known`` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from prepare.command_line import command
from prepare.compose import compose
from prepare.config import Part, Plain, SettingsError, typed
from prepare.files import ROOT, find_file
from prepare.known import TaskError, known_task, locate
from prepare.language_model import LanguageModelTask
from prepare.presets import this_machine
from prepare.program import ProgramTask

__all__ = ["ROOT", "TaskError", "find_file", "is_exported", "locate", "task_beside", "task_from", "task_named"]


def task_from(config: Plain) -> LanguageModelTask | ProgramTask:
    """Build the task of plain values: of a language model if it has a corpus, else of any program.

    Raises TaskError with the key, the value and what was expected.
    """
    values = {key: value for key, value in config.items() if key != "_target_"}
    metric = values.get("metric") or {}
    if not isinstance(metric, Mapping) or not metric.get("direction"):
        raise TaskError(
            f"task {values.get('name', '?')!r} does not say whether its metric is minimised or maximised. "
            "Set task.metric.direction to 'minimise' or 'maximise'."
        )
    try:
        return typed(ProgramTask, values, "task") if "folder" in values else language_model_task(values)
    except ValueError as error:
        raise TaskError(str(error)) from error


def language_model_task(config: Plain) -> LanguageModelTask:
    """Build the task of a language model. Raises TaskError or ValueError."""
    corpus = config.get("corpus")
    if not isinstance(corpus, Mapping) or "_target_" not in corpus:
        raise TaskError(
            "task.corpus has no _target_; expected for example 'prepare.data.corpora.Plays'. A task that trains no "
            f"language model is a folder: task=./FOLDER, which `{command('search')} new FOLDER` makes"
        )
    values = {**config, "limits": config.get("limits") or {}, "constants": config.get("constants") or {}}
    if "editable" in values:
        values["editable"] = tuple(values["editable"])
    try:
        return typed(LanguageModelTask, {**values, "corpus": Part.of(corpus, "task.corpus").make()}, "task")
    except TypeError as error:  # of an option that the corpus has not
        raise TaskError(f"task.corpus: {error}") from error


def is_exported(program: Path) -> bool:
    """Return whether a program lies in an exported branch, next to a ``task.json``."""
    return (program.resolve().parent / "task.json").is_file()


def task_beside(program: Path, device: str | None = None, settings: Sequence[str] = ()) -> LanguageModelTask:
    """Load the task of a program that runs alone: ``task.json`` next to it (an export), else ``conf/task/<stem>.yaml``.

    For the latter, ``device`` selects the preset (see ``prepare.presets``; None: this machine's device), and
    ``settings`` are overrides as for the search. Raises TaskError, or ValueError for an invalid value.
    """
    exported = program.resolve().parent / "task.json"
    if exported.is_file():
        if settings:
            raise TaskError(f"{settings[0]!r} cannot be set here: the task of an exported branch is {exported}")
        return _language_model(task_from(known_task(_exported(exported))))
    config = ROOT / "conf" / "task" / f"{program.stem}.yaml"
    if config.is_file():
        return task_named(program.stem, settings, device or this_machine())
    raise TaskError(f"no task for {program}: expected {exported} or {config}")


def _exported(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{path} cannot be read: {error}. Export the node again.") from None


def task_named(name: str, overrides: Sequence[str], device: str) -> LanguageModelTask:
    """The task of ``conf/task/<name>.yaml`` with the preset of a device. ``overrides``: as for the search.

    Overrides take precedence over the preset. Raises TaskError.
    """
    try:
        return _language_model(task_from(compose([f"task={name}", *overrides]).task_for(device)))
    except (SettingsError, ValueError) as error:
        raise TaskError(str(error)) from error


def _language_model(task: LanguageModelTask | ProgramTask) -> LanguageModelTask:
    if isinstance(task, ProgramTask):
        raise TaskError(f"task {task.name!r} is judged by a scorer; expected a task that trains a language model")
    return task
