"""Build the typed ``Config`` from a composition: apply the device's preset and budget-dependent defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prepare.compose import Composed
from prepare.config import Part, SettingsError
from prepare.renamed import with_new_names
from search.config import NO_SCORE_DEPENDS_ON, Config, completed
from search.words import words_of

Device = str | Callable[[Part], str]
"""A device name (``prepare.presets``), or a function that returns it for an executor and may raise SettingsError."""


def resolved(composition: Composed, device: Device, **sections: Any) -> Config:
    """Return the typed configuration, with the task's preset for the device of its executor.

    ``sections``: plain values that extend or replace the composed ones. Raises SettingsError.
    """
    values = plain_values(composition, device)
    return Config.of({**values, **sections})


def plain_values(composition: Composed, device: Device) -> dict[str, Any]:
    """Return the plain values from which ``resolved`` makes the configuration. Raises SettingsError."""
    values = completed(composition.values, composition.typed)
    try:
        executor = Part.of(values.get("executor"), "executor")
        name = device if isinstance(device, str) else device(executor)
        if isinstance(values.get("task"), Mapping):
            values["task"] = composition.task_for(name)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    values["chosen"] = {group: name for group, name in composition.choices.items() if "/" not in group}
    return values


def config_for(arguments: Sequence[str], device: Device, folder: str | Path | None = None, **sections: Any) -> Config:
    """Return the typed configuration for arguments of ``python -m search``. ``folder``: its ``--config-dir``.

    ``sections``: plain values that extend or replace the composed ones. Raises SettingsError.
    """
    words = words_of([*(["--config-dir", str(folder)] if folder is not None else []), *arguments])
    return resolved(words.composition(), device, **sections)


def whole_number(least: int, most: int = 1000) -> Callable[[str], int]:
    """Return a converter for argparse that accepts whole numbers from ``least`` to ``most``."""

    def convert(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text}")
        return int(text)

    return convert


def differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """List the differences of two nested configurations, one line per value: ``policy.score.c: 0.1 -> 0.2``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in sorted({*before, *after}):
            name = f"{prefix}.{key}" if prefix else str(key)
            lines += differences(before.get(key), after.get(key), name)
        return lines
    return [] if before == after else [f"{prefix}: {before!r} -> {after!r}"]


def changed_task(recorded: Any, chosen: Any, group: str = "") -> list[str]:
    """List the settings on which scores depend, and in which the user's task differs from a recorded one."""
    old, new = with_new_names(recorded), as_json(chosen)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        kept = ({key: value for key, value in each.items() if key not in NO_SCORE_DEPENDS_ON} for each in (old, new))
        old, new = kept
    return differences(old, new, group)


def as_json(value: Any) -> Any:
    """Return the value as JSON would decode it: tuples become lists, keys become strings."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value
