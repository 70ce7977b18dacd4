"""From the command line to a resolved configuration: clear words for what Hydra would answer with a traceback.

``check`` composes the configuration once before Hydra's own main does, so that an unknown key or choice is answered
with the valid ones. ``resolve`` applies the task's preset for this machine's device.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prepare import presets as presets_for

CONF = Path(__file__).resolve().parent.parent / "conf"
_WITH_VALUE = {"--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p", "--cfg", "-c"}


class SettingsError(Exception):
    """The configuration cannot be used; the message names the key, what came, and the valid choices."""


@dataclass(frozen=True)
class Words:
    """What stands behind ``python -m search``: Hydra's options with their values, and the overrides."""

    options: tuple[str, ...]
    overrides: tuple[str, ...]

    @property
    def folder(self) -> str | None:
        """The folder given with --config-dir."""
        found = None
        for name, following in pairwise((*self.options, "")):
            if name in ("--config-dir", "-cd"):
                found = following
            elif name.startswith("--config-dir="):
                found = name.split("=", 1)[1]
        return found

    @property
    def sweeps(self) -> bool:
        """Whether several runs were asked for."""
        return "-m" in self.options or "--multirun" in self.options

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys that have several values, in the order in which they were typed."""
        return tuple(map(_key, _several(self.overrides))) if self.sweeps else ()

    @property
    def lasting(self) -> tuple[str, ...]:
        """The options that a resume of one run needs, too."""
        return tuple(option for option in self.options if option not in ("-m", "--multirun"))


def parted(arguments: Sequence[str]) -> Words:
    """Options and overrides, in whatever order they came."""
    options: list[str] = []
    overrides: list[str] = []
    value_follows = False
    for argument in arguments:
        (options if value_follows or argument.startswith("-") else overrides).append(argument)
        value_follows = not value_follows and argument in _WITH_VALUE
    return Words(tuple(options), tuple(overrides))


def check(arguments: Sequence[str]) -> DictConfig:
    """The composed configuration; of a sweep, with its first values. Raises SettingsError.

    That is for overrides that name no key or no choice.
    """
    words = parted(arguments)
    overrides = list(words.overrides)
    if not words.sweeps and (several := _several(overrides)):
        raise SettingsError(
            f'{several[0]!r} has several values. Add -m for a run of each, or quote it if it is one: "{several[0]}"'
        )
    if words.folder is not None:
        if not Path(words.folder).is_dir():
            raise SettingsError(f"--config-dir {words.folder} is no folder; expected one with task/, policy/ ... in it")
        overrides.append(f"hydra.searchpath=[file://{Path(words.folder).resolve()}]")
    return compose_settings(overrides)


def values_for(
    folder: str | None, overrides: Sequence[str], device_for: Callable[[Mapping[str, Any]], str]
) -> dict[str, Any]:
    """Plain values of the configuration for a command beside the search, which has options of its own.

    ``folder``: its --config-dir. ``device_for``: which device candidates will run on, by the configuration. Raises
    SettingsError, and what ``device_for`` raises.
    """
    words = [*(["--config-dir", folder] if folder else []), *overrides]
    composed = check(words)
    return resolve(composed, device_for(composed), parted(words))


def whole_number(least: int, most: int = 1000) -> Callable[[str], int]:
    """A converter for argparse."""

    def convert(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} to {most}, got {text}")
        return int(text)

    return convert


def compose_settings(overrides: Sequence[str]) -> DictConfig:
    """The composed configuration. Raises SettingsError."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        with _beside_hydra(), initialize_config_dir(str(CONF), version_base="1.3"):
            return compose(
                "config", overrides=[first for override in parsed if (first := _first(override)) is not None]
            )
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(_explain(str(error), overrides)) from error


@contextmanager
def _beside_hydra() -> Iterator[None]:
    """Set aside the Hydra whose application may be running: it allows one at a time."""
    held = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = held


def _several(overrides: Sequence[str]) -> list[str]:
    """Those that have several values. What cannot be read has none; it is told later what is wrong with it."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return []
    return [override.input_line or "" for override in parsed if override.is_sweep_override()]


def _first(override: Override) -> str | None:
    """The override as text; of a sweep, its first value; None for ``glob(...)``, which Hydra alone can look up."""
    line = override.input_line or ""
    if not override.is_sweep_override():
        return line
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return None
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
    with _beside_hydra(), initialize_config_dir(str(CONF), version_base="1.3"):
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


def resolve(config: DictConfig, device: str, words: Words | None = None) -> dict[str, Any]:
    """Plain values of the whole configuration, with the task's preset for ``device`` laid under the user's choices.

    What was typed wins over the preset, and so does a value that differs from the task file's own, since an experiment
    chose it. ``words``: what was typed, with the user's conf folder, where that task file may lie. What follows from
    the budget is filled in, too: see ``search.run.budget.completed``.
    """
    from search.run.budget import completed  # not at the top: ``--help`` does without numpy

    words = words or Words((), ())
    folders = [str(Path(words.folder).resolve())] if words.folder is not None else []
    keys = {_key(override) for override in words.overrides}
    typed = {key.removeprefix("task.") for key in keys if key.startswith("task.")}
    plain = completed(_plain(config), keys)
    task = dict(plain["task"])
    presets = task.pop("presets", None) or {}
    preset = presets.get(presets_for.chosen(presets, device)) or {}
    own = _plain(_untouched(config, folders))["task"] if preset else {}
    plain["task"] = _with_preset(task, preset, own, typed)
    return plain


def _plain(config: DictConfig) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _untouched(config: DictConfig, folders: Sequence[str]) -> DictConfig:
    """The configuration with the same task and nothing else chosen."""
    search_path = ",".join(f"file://{folder}" for folder in folders)
    overrides = [f"hydra.searchpath=[{search_path}]"] if folders else []
    return compose_settings([f"task={config.task.name}", *overrides])


def _with_preset(
    task: Mapping[str, Any], preset: Mapping[str, Any], own: Mapping[str, Any], typed: set[str], prefix: str = ""
) -> dict[str, Any]:
    merged = dict(task)
    for key, value in preset.items():
        if isinstance(value, Mapping):
            merged[key] = _with_preset(merged.get(key) or {}, value, own.get(key) or {}, typed, f"{prefix}{key}.")
        elif merged.get(key) == own.get(key) and f"{prefix}{key}" not in typed:
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


def as_json(value: Any) -> Any:
    """As JSON gives it back: tuples are lists, keys are strings."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value
