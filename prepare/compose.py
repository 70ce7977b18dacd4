"""Compose the configuration of ``conf/`` and overrides with Hydra; no other module calls Hydra's composition.

Groups are folders, choices are files in them; a user's own folder is searched besides ``conf/``. Hydra is imported
inside functions, since an exported branch runs without it.
"""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prepare.command_line import command
from prepare.config import SettingsError, did_you_mean
from prepare.overrides import key_of, opened, parsed_or_none, quoted, readable, written
from prepare.presets import chosen, with_preset
from prepare.program import SETTINGS
from prepare.renamed import removed_setting
from prepare.task_folders import with_task_folder

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_PATHS = ("seed_file", "program", "corpus.path")
"""Keys of a task that name files and folders."""
CONF = Path(__file__).resolve().parent.parent / "conf"


@dataclass(frozen=True)
class Composed:
    """A composed configuration."""

    overrides: tuple[str, ...]
    folder: Path | None
    """The user's own conf folder."""
    values: Mapping[str, Any]
    """Plain values with interpolations resolved; the task's presets are not applied yet."""
    choices: Mapping[str, str | None]
    """Group -> the chosen file, without its suffix."""

    @cached_property
    def typed(self) -> frozenset[str]:
        """The keys of all overrides (``task.seconds``)."""
        return frozenset(key_of(override) for override in self.overrides)

    def task_for(self, device: str) -> dict[str, Any]:
        """Return the task with the preset for a device; overrides and an experiment take precedence over the preset.

        Raises ValueError for a preset whose name is not a device name.
        """
        task = dict(self.values.get("task") or {})
        presets = task.pop("presets", None) or {}
        if (name := chosen(presets, device)) is None:
            return task
        typed = {key.removeprefix("task.") for key in self.typed if key.startswith("task.")}
        return with_preset(task, presets[name] or {}, self._own_task(), typed)

    def _own_task(self) -> Mapping[str, Any]:
        """Return the task without the values set by an experiment."""
        if self.choices.get("experiment") is None:
            return self.values["task"]  # type: ignore[no-any-return]
        plain = [override for override in self.overrides if key_of(override) != "experiment"]
        return compose(plain, self.folder).values["task"]  # type: ignore[no-any-return]


def compose(overrides: Sequence[str], folder: Path | None = None) -> Composed:
    """Compose the configuration. Raises SettingsError.

    The Python files in ``folder`` can be imported from then on, after all others, so that its YAML files can name their
    classes. Files and folders that its tasks name are looked for beside the YAML file first.
    """
    if folder is not None:
        if not folder.is_dir():
            raise SettingsError(f"--config-dir {folder} is not a folder; expected one that contains task/, policy/ ...")
        _make_importable(folder)
    with with_task_folder(overrides, _roots(folder)) as chosen_task:
        _refuse_unfit(chosen_task.overrides, folder)
        read = tuple(opened(readable(each)) for each in chosen_task.overrides)
        beside = (*([] if folder is None else [folder]), *chosen_task.folders)
        if beside or any("hydra" in override or "$" in override for override in read):
            made = _composition(read, beside)
        else:
            made = _of_conf(read)
    values = deepcopy(dict(made.values))
    if folder is not None:
        typed = {key_of(override) for override in overrides}
        _set_own_paths(values.get("task"), folder / "task" / f"{made.choices.get('task')}.yaml", folder, typed)
    return replace(made, overrides=tuple(overrides), folder=folder, values=values)


def _make_importable(folder: Path) -> None:
    if (place := str(folder.resolve())) not in sys.path:
        sys.path.append(place)


def _set_own_paths(task: Any, file: Path, folder: Path, typed: AbstractSet[str]) -> None:
    """Set the relative paths of a task to what is beside its YAML ``file``, or in ``folder``, where something is.

    ``typed``: the keys that were set on the command line, whose paths are relative to the current folder.
    """
    if not file.is_file() or not isinstance(task, dict):
        return
    for key in _PATHS:
        *above, name = key.split(".")
        section = task.get(above[0]) if above else task
        path = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict) or not isinstance(path, str) or f"task.{key}" in typed:
            continue
        found = (base / path for base in (file.parent, folder) if (base / path).exists())
        if not Path(path).expanduser().is_absolute() and (own := next(found, None)) is not None:
            section[name] = str(own.resolve())


@cache
def _of_conf(overrides: tuple[str, ...]) -> Composed:
    """Compose from ``conf/`` alone, which does not change: once a process, since it takes 0.2 s."""
    return _composition(overrides, ())


def _composition(overrides: tuple[str, ...], beside: tuple[Path, ...]) -> Composed:
    """Compose ``conf/`` and the folders ``beside`` it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        config = _composed(overrides, beside)
    except _errors() as error:
        raise SettingsError(_explained(error, overrides, beside)) from error
    except (UnicodeDecodeError, OSError) as error:  # of a file that is no text, or no mapping
        unfit = _unfit_file(_files_chosen(overrides, beside)) or _unfit_file(_files(beside))
        raise SettingsError(unfit or f"a YAML file cannot be read: {error}") from error
    choices = dict(config.hydra.runtime.choices)
    del config["hydra"]
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key or error.key
        raise SettingsError(f"{key} has no value yet; expected {key}=VALUE. {_help()}") from error
    except OmegaConfBaseException as error:
        unfit = _unfit_file(_files_chosen(overrides, beside))
        raise SettingsError(unfit or f"{error.full_key}: {_first_line(error)}") from error
    assert isinstance(values, dict)
    plain = {str(key): value for key, value in values.items()}
    return Composed(overrides, None, plain, choices)


def sweep(overrides: Sequence[str], folder: Path | None = None) -> list[tuple[str, ...]]:
    """Return the overrides of each run of a sweep: every combination of the values, the last key varying fastest.

    Raises SettingsError for invalid overrides, and for an interval, which has no list of values.
    """
    return list(itertools.product(*(tuple(_each(override, folder)) for override in parsed(overrides))))


def swept(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that have several values. Raises SettingsError for invalid overrides."""
    return tuple(override.input_line or "" for override in parsed(overrides) if override.is_sweep_override())


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Parse the overrides. Raises SettingsError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_overrides([readable(each) for each in overrides])
    except HydraException as error:
        faulty = next((each for each in overrides if parsed_or_none(readable(each)) is None), "")
        raise SettingsError(_unreadable(faulty)) from error


def groups(folder: Path | None = None) -> list[str]:
    """Return the names of all groups."""
    return sorted({path.name for root in _roots(folder) for path in root.iterdir() if any(path.glob("*.yaml"))})


def choices_of(group: str, *folders: Path) -> list[str]:
    """Return the choices of a group: its files, without their suffix, and of ``task`` the folders of tasks."""
    found = [path for root in (CONF, *folders) for path in (root / group).glob("*.yaml")]
    places = [root / group for root in (CONF, *folders)]
    deep = [f"{above}/{SETTINGS}" for above in ("*", "*/*")]
    tasks = {path.parent.relative_to(root).as_posix() for root in places for each in deep for path in root.glob(each)}
    return sorted({path.stem for path in found} | tasks)


def _roots(folder: Path | None) -> tuple[Path, ...]:
    return (CONF,) if folder is None else (CONF, folder)


def _each(override: Override, folder: Path | None) -> Iterator[str]:
    """Yield one override for each of its values."""
    from hydra.core.override_parser.types import Glob

    if not override.is_sweep_override():
        yield override.input_line or ""
        return
    value = override.value()
    if isinstance(value, Glob):
        found: Iterable[str] = value.filter(choices_of(override.key_or_group, *_roots(folder)[1:]))
    elif override.is_discrete_sweep():
        found = override.sweep_string_iterator()
    else:
        raise SettingsError(f"{override.input_line!r} has no list of values; expected for example NAME=1,2,3")
    yield from (f"{override.get_key_element()}={each}" for each in found)


def _refuse_unfit(overrides: Sequence[str], folder: Path | None) -> None:
    """Raise SettingsError for several values, a group set to a list, null or a number, and Hydra's own settings."""
    known = groups(folder)
    for line, override in zip(overrides, parsed(overrides), strict=True):
        group = override.key_or_group
        if override.is_sweep_override():
            single = shlex.quote(written(*line.split("=", 1)))
            raise SettingsError(
                f"{line!r} has several values. Add -m for a run of each, or quote it if it is a single value: {single}"
            )
        if "=" in line and not group:
            raise SettingsError(f"{line!r} names no setting; expected NAME=VALUE. {_help()}")
        if group.startswith(("hydra/", "hydra.")) and group != "hydra.searchpath":
            raise SettingsError(f"{line!r} would have no effect: Hydra composes the configuration and runs nothing")
        if group in known and not override.is_delete() and not isinstance(override.value(), str):
            name, beside = override.get_value_element_as_str(), () if folder is None else (folder,)
            if isinstance(override.value(), list):
                raise SettingsError(_no_list(line, group, beside))
            raise SettingsError(_no_choice(group, name, beside))


# ---------------------------------------------------------------- Hydra


@contextmanager
def _hydra() -> Iterator[None]:
    """Initialise Hydra with ``conf/``. Hydra allows one instance per process, so an existing one is restored after."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    held = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = held


def _composed(overrides: Sequence[str], beside: Sequence[Path]) -> Any:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    paths = ",".join(quoted(f"file://{folder.resolve()}") for folder in beside)
    searched = [f"hydra.searchpath=[{paths}]"] if beside else []
    with _hydra():
        config = hydra_compose("config", overrides=[*overrides, *searched], return_hydra_config=True)
    OmegaConf.set_struct(config, False)
    return config


def _errors() -> tuple[type[Exception], ...]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    return (HydraException, OmegaConfBaseException, YAMLError)


# ---------------------------------------------------------------- error messages


def _explained(error: Exception, overrides: Sequence[str], beside: Sequence[Path]) -> str:
    """Return a message with the invalid override or file, and the valid choices."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from yaml import YAMLError

    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if isinstance(error, YAMLError):
        return f"a YAML file cannot be read: {' '.join(str(error).split())}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return _no_choice(group, name, beside)
    if (key := getattr(error.__cause__, "full_key", None)) is not None:
        return _unknown(str(key), overrides, beside)
    return f"an override cannot be used: {_first_line(error)}\nExpected NAME=VALUE. {_help()}"


def _files(beside: Sequence[Path]) -> list[Path]:
    return sorted(path for folder in beside for path in folder.rglob("*.yaml"))


def _files_chosen(overrides: Sequence[str], beside: Sequence[Path]) -> list[Path]:
    """Return the files of the user's folders that the overrides name."""
    chosen = {(key_of(each), each.partition("=")[2].strip("'\"")) for each in overrides}
    return [path for path in _files(beside) if (path.parent.name, path.stem) in chosen]


def _unfit_file(paths: Iterable[Path]) -> str | None:
    """Return what is wrong with the first file that is no text or no mapping; None if all are."""
    import yaml

    for path in paths:
        try:
            held = yaml.safe_load(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            return f"{path} is not UTF-8 text: {error}. Save it as UTF-8"
        except (OSError, yaml.YAMLError):
            continue  # not the file that was composed, whose syntax error has a message of its own
        if not isinstance(held, Mapping | None):
            return f"{path} holds a {type(held).__name__}; expected lines of KEY: VALUE"
    return None


def _no_choice(group: str, name: str, beside: Sequence[Path]) -> str:
    return f"there is no {group}={name}. {_choices(group, beside)}"


def _no_list(line: str, group: str, beside: Sequence[Path]) -> str:
    return (
        f"{line!r} is a list, whose files would be merged into one; expected {group}=NAME, or {group}=NAME,NAME with "
        f"-m for a run of each. {_choices(group, beside)}"
    )


def _choices(group: str, beside: Sequence[Path]) -> str:
    known = ", ".join(choices_of(group, *beside)) or "none"
    return f"Choices for {group}: {known}. {_help()}"


def _unknown(key: str, overrides: Sequence[str], beside: Sequence[Path]) -> str:
    """Return the message for an unknown key. ``key``: the override's key up to the first part that does not exist."""
    asked = next((name for name in map(key_of, overrides) if f"{name}.".startswith(f"{key}.")), key)
    if removed := removed_setting(asked):
        return removed
    keys = _valid_keys([word for word in overrides if not f"{key_of(word)}.".startswith(f"{key}.")], beside)
    if asked in keys:  # a mapping in place of a value, or the reverse
        given = next(word for word in overrides if key_of(word) == asked).lstrip("+")
        below = min((name for name in keys if name.startswith(f"{asked}.")), default=None)
        mapping = f"{asked}={{KEY: VALUE}}" if below is None else f"a mapping, as {below}=VALUE"
        expects = "no mapping" if given.partition("=")[2].startswith("{") else mapping
        return f"{given!r} cannot be used; expected {expects}. {_help()}"
    top = ", ".join(sorted({name.split(".")[0] for name in keys}))
    hint = did_you_mean(asked, keys).strip(" ()")
    words = f" {hint[0].upper()}{hint[1:]}" if hint else ""
    return f"unknown override {asked!r}.{words}\nValid keys begin with: {top}. {_help()}"


def _valid_keys(overrides: Sequence[str], beside: Sequence[Path]) -> set[str]:
    """Return all dotted keys of the configuration with these overrides, or without any if they are invalid too."""
    try:
        config = _composed(overrides, beside)
    except _errors():
        config = _composed([], ())
    del config["hydra"]
    return {*_keys(config, ""), "experiment"}


def _keys(node: Any, prefix: str) -> Iterator[str]:
    from omegaconf import DictConfig, OmegaConf

    for name in node:
        yield f"{prefix}{name}"
        if not OmegaConf.is_missing(node, name) and isinstance(node[name], DictConfig):
            yield from _keys(node[name], f"{prefix}{name}.")


def _unreadable(override: str) -> str:
    return f"the override {override!r} cannot be read.\nExpected NAME=VALUE, as in task.seconds=3. {_help()}"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _help() -> str:
    return f"See {command('search')} --help."
