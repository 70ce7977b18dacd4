"""Tasks that are folders, among the choices of Hydra's group ``task``: ``task=./packing``, or a folder of conf/task."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prepare.config import SettingsError
from prepare.known import TaskError
from prepare.overrides import key_of, value_of
from prepare.program import SETTINGS, folder_settings

_EVALUATOR = "evaluator=scorer"
_NO_TEXT = ("null", "true", "false", "nan", "inf")


@dataclass(frozen=True)
class Chosen:
    """Overrides in which the folder's task is a choice by name, and a folder of configuration that has it."""

    overrides: tuple[str, ...]
    folders: tuple[Path, ...] = ()


@contextmanager
def with_task_folder(overrides: Sequence[str], roots: Sequence[Path]) -> Iterator[Chosen]:
    """Make a task's folder that an override names a choice of the group ``task`` while inside.

    ``roots``: folders of configuration. Raises SettingsError for a folder without settings, or with unusable ones.
    """
    found = [(place, task_folder(value_of(each), roots)) for place, each in enumerate(overrides) if _names_task(each)]
    if not found or (folder := found[-1][1]) is None:
        yield Chosen(tuple(overrides))
        return
    place, name = found[-1][0], _choice_name(folder.resolve().name)
    with tempfile.TemporaryDirectory(prefix="treewright-task-") as made:
        _write(Path(made), name, folder)
        named = [each if i != place else f"{_sign(each)}task={name}" for i, each in enumerate(overrides)]
        judged = any(key_of(each) == "evaluator" for each in overrides)
        yield Chosen((*named, *([] if judged else [_EVALUATOR])), (Path(made),))


def task_folder(value: str, roots: Sequence[Path]) -> Path | None:
    """Return the folder of a task that a value names, by its path or as a choice; None for another choice.

    A choice of a later root hides one of the same name. Raises SettingsError for a path without a task.
    """
    path = Path(value).expanduser()
    named = not value.startswith((".", "/", "~")) and ".." not in path.parts
    for root in reversed(roots if named else ()):
        if (root / "task" / f"{value}.yaml").is_file():
            return None
        if (root / "task" / value / SETTINGS).is_file():
            return root / "task" / value
    if (path / SETTINGS).is_file():
        return path
    if path.name == SETTINGS and path.is_file():
        return path.parent
    if "/" in value or value.startswith((".", "~")):
        raise SettingsError(
            f"task={value} is a path, and there is no {path / SETTINGS}; expected a task's folder, which `python -m "
            f"search new {path}` makes, or the name of a task"
        )
    return None


def _names_task(override: str) -> bool:
    return key_of(override) == "task" and "=" in override and not override.startswith("~")


def _choice_name(name: str) -> str:
    """Return a folder's name as a choice of a group. Hydra reads ``null``, ``1e3`` and the like as no text."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return plain if re.match(r"[A-Za-z]", plain) and plain.lower() not in _NO_TEXT else f"task_{plain}"


def _sign(override: str) -> str:
    return override[: len(override) - len(override.lstrip("+"))]


def _write(made: Path, name: str, folder: Path) -> None:
    import yaml  # type: ignore[import-untyped]

    class Quoted(yaml.SafeDumper):  # type: ignore[misc]
        """A YAML writer that quotes texts: Hydra reads ``1e3`` as a number, PyYAML as a text."""

    Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    try:
        settings = folder_settings(folder)
    except TaskError as error:
        raise SettingsError(str(error)) from None
    (made / "task").mkdir()
    text = yaml.dump(settings, Dumper=Quoted, allow_unicode=True, sort_keys=False)
    (made / "task" / f"{name}.yaml").write_text(text, encoding="utf-8")
