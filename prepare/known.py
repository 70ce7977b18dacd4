"""Classes that a configuration names with ``_target_``, and the list of those that data may name.

A configuration that a user typed or wrote in a conf folder may name any class (``locate``). One that was read from data
(the ``task.json`` of an export, the ``runs.config`` of an archive) is untrusted: ``known_task`` and ``known_evaluator``
match its classes against a list. A name from data is never imported, and options that decide what is downloaded or
where it is kept have their defaults.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class TaskError(Exception):
    """A task's configuration is not usable; the message says which key and what was expected."""


def locate(target: str) -> Any:
    """The object that a dotted ``_target_`` names, imported. Raises TaskError. Not for a name that comes from data."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TaskError(f"_target_ {target!r} cannot be imported ({error}); expected package.module.Class") from error


@dataclass(frozen=True)
class Known:
    """A class that data may name."""

    target: str
    free: frozenset[str] = frozenset()
    """Options that data may set; of all others they may only repeat the default."""


CORPORA = (
    Known("prepare.data.corpora.Plays"),
    Known("prepare.data.corpora.Folder", frozenset({"name", "path", "pattern", "forbidden_packages"})),
    Known("prepare.data.climbmix.ClimbMix", frozenset({"shards", "evaluation_mb"})),
    Known("prepare.data.python_sources.PythonSources", frozenset({"roots", "least_mb", "evaluation_mb"})),
)
EVALUATORS = (Known("train.language_model.evaluator.AuditedEvaluator", frozenset({"median_rule"})),)

_DEEPEST = 20
_CURE = (
    "Nothing was imported. If it is yours, take it from your own settings: python -m search evaluate PATH task=NAME "
    "--config-dir DIR (or: ablate ID, and evaluator=NAME for an evaluator)"
)


def known_task(config: object) -> dict[str, Any]:
    """A task's configuration that came from data, with a corpus from the list and plain values. Raises TaskError."""
    if not isinstance(config, Mapping):
        raise TaskError(f"the task is a {type(config).__name__}; expected an object, as task.json of an export has it")
    if "_target_" in config:
        raise TaskError(f"the task is made by the class {_shown(config['_target_'])}, which data cannot name. {_CURE}")
    rest = {key: value for key, value in config.items() if key != "corpus"}
    _refuse_classes(rest, "task")
    return {**rest, "corpus": _known(config.get("corpus"), CORPORA, "task.corpus")}


def known_evaluator(config: object) -> dict[str, Any]:
    """The same of an evaluator's configuration. Raises TaskError."""
    return _known(config, EVALUATORS, "evaluator")


def _known(section: object, known: tuple[Known, ...], where: str) -> dict[str, Any]:
    """The section with the class as our list spells it. Raises TaskError.

    Package and class name decide; the module between them is not compared, since it was another one in older versions.
    """
    if not isinstance(section, Mapping) or "_target_" not in section:
        raise TaskError(f"{where} has no _target_; expected one of {_listed(known)}")
    target = section["_target_"]
    found = [each for each in known if isinstance(target, str) and _ends(target) == _ends(each.target)]
    if not found:
        raise TaskError(
            f"{where} names the class {_shown(target)}; expected one of {_listed(known)}, since a configuration that "
            f"comes with an export or an archive may not name other code. {_CURE}"
        )
    options = {str(key): value for key, value in section.items() if key != "_target_"}
    _refuse_classes(options, where)
    _refuse_options(options, found[0], where)
    return {"_target_": found[0].target, **options}


def _ends(target: str) -> tuple[str, str]:
    return target.split(".")[0], target.split(".")[-1]


def _listed(known: tuple[Known, ...]) -> str:
    return ", ".join(each.target for each in known)


def _shown(value: object) -> str:
    return ascii(value)[:200]


def _refuse_classes(value: object, where: str, depth: int = 0) -> None:
    """Raises TaskError if a class is named anywhere inside, or if it is nested too deep."""
    if depth > _DEEPEST:
        raise TaskError(f"{where} is nested deeper than {_DEEPEST} levels; expected a task's plain values")
    if isinstance(value, Mapping):
        if named := [key for key in value if str(key).startswith("_")]:
            raise TaskError(f"{where} has the key {_shown(named[0])}; expected plain values there. {_CURE}")
        for key, item in value.items():
            _refuse_classes(item, f"{where}.{_shown(key)[1:-1]}"[:200], depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_classes(item, where, depth + 1)


def _refuse_options(options: Mapping[str, Any], known: Known, where: str) -> None:
    """Raises TaskError for an option that data may not set, and for a name that is no name of a folder."""
    defaults = inspect.signature(locate(known.target)).parameters
    for key, value in options.items():
        default = defaults[key].default if key in defaults else value  # of an unknown option the class complains itself
        if key not in known.free and not _same(value, default):
            raise TaskError(
                f"{where}.{key} is {_shown(value)}; expected {default!r}, since a configuration that comes with an "
                f"export or an archive may not change it. {_CURE}"
            )
    if "name" in options and not _is_plain_name(options["name"]):
        raise TaskError(
            f"{where}.name is {_shown(options['name'])}; expected up to 100 printable characters without '/' and "
            "without a dot at the beginning, since a folder of the cache is named after it"
        )


def _is_plain_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 100 and not re.search(r"^\.|/", value)


def _same(value: object, default: object) -> bool:
    """As JSON knows it: a list is a tuple."""
    return (tuple(value) if isinstance(value, list) else value) == default
