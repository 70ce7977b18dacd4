"""Import of classes that a configuration names with ``_target_``, and the allow-list for untrusted configurations.

A configuration that a user typed or wrote in a conf folder may name any class (``locate``). A configuration that was
read from data (the ``task.json`` of an export, the ``runs.config`` of an archive) is untrusted: ``known_task`` and
``known_evaluator`` match its classes against a list. A class name from data is never imported, and options that control
what is downloaded, or where it is stored, must have their defaults.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prepare.command_line import command
from prepare.renamed import REMOVED_OPTIONS, renamed


class TaskError(Exception):
    """A task's configuration is invalid; the message names the key and the expected value."""


def locate(target: str) -> Any:
    """Import and return the object with a dotted name. Raises TaskError. Not for names that come from data."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        unknown = f"_target_ {target!r} cannot be imported ({error}); expected package.module.Class"
        raise TaskError(renamed(target) or unknown) from error


@dataclass(frozen=True)
class Known:
    """A class that an untrusted configuration may name."""

    target: str
    options: frozenset[str] = frozenset()
    """Options that the configuration may set; all others must equal their default."""


CORPORA = (
    Known("prepare.data.corpora.Plays"),
    Known("prepare.data.corpora.Folder", frozenset({"name", "path", "pattern", "forbidden_packages"})),
    Known("prepare.data.climbmix.ClimbMix", frozenset({"shards", "evaluation_mb"})),
    Known("prepare.data.python_sources.PythonSources", frozenset({"roots", "least_mb", "evaluation_mb"})),
)
EVALUATORS = (
    Known("train.language_model.evaluator.AuditedEvaluator"),
    Known("train.program.evaluator.ProgramEvaluator"),
)

_DEEPEST = 20


def known_task(config: object) -> dict[str, Any]:
    """Check a task's untrusted configuration: a corpus from the list, plain values otherwise. Raises TaskError."""
    if not isinstance(config, Mapping):
        raise TaskError(f"the task is a {type(config).__name__}; expected an object, as task.json of an export has it")
    if "_target_" in config:
        raise TaskError(
            f"the task is built by the class {_shown(config['_target_'])}, which data cannot name. {_help()}"
        )
    if "workspace" in config:
        raise TaskError(
            f"the task is a folder ({_shown(config.get('folder'))}) whose scorer is code, and data cannot name code. "
            "Name a folder that you trust, with the same task.yaml: task=./FOLDER, or task=NAME if it came along"
        )
    rest = {key: value for key, value in config.items() if key != "corpus"}
    _refuse_classes(rest, "task")
    return {**rest, "corpus": _known(config.get("corpus"), CORPORA, "task.corpus")}


def known_evaluator(config: object) -> dict[str, Any]:
    """Check an evaluator's untrusted configuration: a class from the list, plain values. Raises TaskError."""
    return _known(config, EVALUATORS, "evaluator")


def _known(section: object, known: tuple[Known, ...], where: str) -> dict[str, Any]:
    """Return the section with the class's name as it is in the list. Raises TaskError.

    Compares package and class name only, not the module between them, which was different in older versions. Options
    that were removed since are left out.
    """
    if not isinstance(section, Mapping) or "_target_" not in section:
        raise TaskError(f"{where} has no _target_; expected one of {_listed(known)}")
    target = section["_target_"]
    found = [each for each in known if isinstance(target, str) and _ends(target) == _ends(each.target)]
    if not found:
        raise TaskError(
            f"{where} names the class {_shown(target)}; expected one of {_listed(known)}, since a configuration that "
            f"comes with an export or an archive may not name other code. {_help()}"
        )
    options = {str(key): value for key, value in section.items() if key != "_target_"}
    _refuse_classes(options, where)
    options = {key: value for key, value in options.items() if (found[0].target, key) not in REMOVED_OPTIONS}
    _refuse_options(options, found[0], where)
    return {"_target_": found[0].target, **options}


def _ends(target: str) -> tuple[str, str]:
    """Return the first and the last part of a dotted name."""
    return target.split(".")[0], target.split(".")[-1]


def _listed(known: tuple[Known, ...]) -> str:
    return ", ".join(each.target for each in known)


def _shown(value: object) -> str:
    return ascii(value)[:200]


def _refuse_classes(value: object, where: str, depth: int = 0) -> None:
    """Raise TaskError if a class is named anywhere inside a value, or if it is nested too deep."""
    if depth > _DEEPEST:
        raise TaskError(f"{where} is nested deeper than {_DEEPEST} levels; expected a task's plain values")
    if isinstance(value, Mapping):
        if named := [key for key in value if str(key).startswith("_")]:
            raise TaskError(f"{where} has the key {_shown(named[0])}; expected plain values there. {_help()}")
        for key, item in value.items():
            _refuse_classes(item, f"{where}.{_shown(key)[1:-1]}"[:200], depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_classes(item, where, depth + 1)


def _refuse_options(options: Mapping[str, Any], known: Known, where: str) -> None:
    """Raise TaskError for an option that data may not set, and for a name that cannot be a folder's."""
    defaults = inspect.signature(locate(known.target)).parameters
    for key, value in options.items():
        default = defaults[key].default if key in defaults else value  # an unknown option is refused by the class
        if key not in known.options and not _same(value, default):
            raise TaskError(
                f"{where}.{key} is {_shown(value)}; expected {default!r}, since a configuration that comes with an "
                f"export or an archive may not change it. {_help()}"
            )
    if "name" in options and not _is_plain_name(options["name"]):
        raise TaskError(
            f"{where}.name is {_shown(options['name'])}; expected up to 100 printable characters without '/' and "
            "without a leading dot, since a folder in the cache is named after it"
        )


def _is_plain_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 100 and not re.search(r"^\.|/", value)


def _same(value: object, default: object) -> bool:
    """Compare with a default; a list, as JSON has it, equals the same tuple."""
    return (tuple(value) if isinstance(value, list) else value) == default


def _help() -> str:
    return (
        f"Nothing was imported. If the class is your own, name it in your settings: {command('search')} evaluate PATH "
        "task=NAME --config-dir DIR (or: ablate ID, and evaluator=NAME for an evaluator)"
    )
