"""From the command line to a resolved configuration: clear words for what Hydra would answer with a traceback.

``check`` composes the configuration once before Hydra's own main does, so that an unknown key or choice is answered
with the valid ones. ``resolve`` applies the task's preset for this machine's device.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

CONF = Path(__file__).resolve().parent.parent / "conf"
_WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"}


class SettingsError(Exception):
    """The configuration cannot be used; the message names the key, what came, and the valid choices."""


def check(arguments: Sequence[str]) -> None:
    """Raises SettingsError for overrides that name no key or no choice. A sweep is checked by its first values."""
    overrides, folder = _overrides(arguments)
    if folder is not None:
        overrides.append(f"hydra.searchpath=[file://{Path(folder).resolve()}]")
    compose_settings(overrides)


def compose_settings(overrides: Sequence[str]) -> DictConfig:
    """The composed configuration. Raises SettingsError."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=[_first(override) for override in parsed])
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(_explain(str(error), overrides)) from error


def _overrides(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The overrides among the arguments, and the folder given with --config-dir."""
    overrides, folder, skip = [], None, ""
    for argument in arguments:
        if skip:
            folder = argument if skip in ("--config-dir", "-cd") else folder
            skip = ""
        elif argument in _WITH_VALUE:
            skip = argument
        elif argument.startswith("--config-dir="):
            folder = argument.split("=", 1)[1]
        elif not argument.startswith("-"):
            overrides.append(argument)
    return overrides, folder


def _first(override: Override) -> str:
    """The override as text; of a sweep, its first value."""
    line = override.input_line or ""
    if not override.is_sweep_override():
        return line
    key = line.split("=", 1)[0]
    first = next(iter(override.sweep_string_iterator()), "")
    return f"{key}={first}"


def _explain(message: str, overrides: Sequence[str]) -> str:
    """What was wrong and what the valid choices are, from what Hydra said."""
    help_line = "See python -m search --help."
    if choice := re.search(r"Could not find '(\S+)/([^'/]+)'", message):
        group, name = choice.groups()
        known = re.findall(r"^\t(\w+)$", message, flags=re.MULTILINE)
        return f"there is no {group}={name}. Choices for {group}: {', '.join(known) or 'none'}. {help_line}"
    if "Could not override" in message or "is not in struct" in message:
        asked = next((o for o in overrides if f"'{_key(o)}'" in message), message.splitlines()[0])
        keys = valid_keys()
        near = difflib.get_close_matches(_key(asked), keys, n=2, cutoff=0.6)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        top = sorted({key.split(".")[0] for key in keys})
        return f"unknown override {_key(asked)!r}.{hint}\nValid keys begin with: {', '.join(top)}. {help_line}"
    lines = [line for line in message.strip().splitlines() if line.strip() and "hydra.cc" not in line]
    return f"an override cannot be read: {lines[0] if lines else message}\nExpected NAME=VALUE. {help_line}"


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def valid_keys() -> set[str]:
    """All keys of the default configuration, dotted, and the groups."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config")
    keys: set[str] = set()

    def walk(node: Any, prefix: str) -> None:
        for name in node:
            keys.add(f"{prefix}{name}")
            if (
                isinstance(node, DictConfig)
                and not OmegaConf.is_missing(node, name)
                and isinstance(node[name], DictConfig)
            ):
                walk(node[name], f"{prefix}{name}.")

    walk(config, "")
    return keys | {"experiment"}


def resolve(config: DictConfig, device: str) -> dict[str, Any]:
    """Plain values of the whole configuration, with the task's preset for ``device`` laid under the user's choices.

    A value that the user set on the command line differs from the task file's and so wins over the preset.
    """
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    plain: dict[str, Any] = {str(key): value for key, value in values.items()}
    task = dict(plain["task"])
    preset = (task.pop("presets", None) or {}).get(device) or {}
    own = _task_file(str(task.get("name", "")))
    plain["task"] = _with_preset(task, preset, own)
    return plain


def _task_file(name: str) -> Mapping[str, Any]:
    path = CONF / "task" / f"{name}.yaml"
    if not path.is_file():
        return {}
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _with_preset(task: Mapping[str, Any], preset: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(task)
    for key, value in preset.items():
        if isinstance(value, Mapping):
            below = merged.get(key) or {}
            merged[key] = _with_preset(below, value, own.get(key) or {})
        elif merged.get(key) == own.get(key):
            merged[key] = value
    return merged


def differences(before: Any, after: Any, prefix: str = "") -> list[str]:
    """What differs between two nested configurations, one line a value: ``policy.score.c: 0.1 -> 0.2``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        lines = []
        for key in sorted({*before, *after}):
            name = f"{prefix}.{key}" if prefix else str(key)
            lines += differences(before.get(key), after.get(key), name)
        return lines
    return [] if before == after else [f"{prefix}: {before!r} -> {after!r}"]
