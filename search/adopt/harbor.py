"""Adapter for Harbor: ``instruction.md``, ``task.toml``, and ``tests/test.sh``, which writes a reward.

The reward is a file in ``/logs/verifier``. The program is ``solve.sh``, which runs in place of an agent, with the
files of ``environment/`` beside it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from search.adopt.base import Adopted, AdoptError, Asked, chosen, instructions, own_file, self_reported, text_of
from search.adopt.source import Source

_PLACE = re.compile(rb"(?<![\w./-])/(app|tests|logs/verifier)(?=[/\s\"'$);:]|$)", re.MULTILINE)
_SEED = b"#!/bin/sh\n# Commands that solve the task, in the folder that Harbor calls /app. The seed does nothing.\n"
_SECONDS = 600.0
_CONTRACT = (
    "`solve.sh` runs in the folder that the text calls /app, written here as `.`; then `tests/test.sh` gives the "
    "reward. There is no network."
)


def recognises(source: Source) -> bool:
    return "tests/test.sh" in source.files and "task.toml" in source.files


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task that runs solve.sh and then the tests, without Docker.

    Paths below /app, /tests and /logs/verifier become relative.
    """
    settings = _settings(source)
    setting = {_inside(path): data for path, data in source.files.items() if _is_setting(path)}
    tests = {path: _PLACE.sub(rb"./\1", data).replace(b"./app", b".") for path, data in _tests(source).items()}
    files = {"solve.sh": _SEED, **setting}
    editable = [path for path in chosen(source, asked, []) if path in files] or ["solve.sh"]
    seconds = sum(_seconds(settings, part) for part in ("agent", "verifier"))
    limits = _section(settings, "environment").get("memory_mb")
    places = {"editable": editable, "readonly": sorted({*files, *tests} - {*editable})}
    task = self_reported(places, {"name": asked.metric or "reward", "direction": "maximise"}, seconds)
    if isinstance(limits, int) and 64 <= limits <= 10**6:
        task["limits"] = {"memory_mb": limits}
    said = text_of(source, "instruction.md") if "instruction.md" in source.files else ""
    added = {
        **files,
        **tests,
        "score.py": own_file("harbor_score.py", METRIC=asked.metric or "reward"),
        "program.md": instructions(said, _CONTRACT),
    }
    return Adopted("Harbor", task, [], added, _notes(source))


def _notes(source: Source) -> list[str]:
    notes = [
        "no Docker: the tests run in the sandbox, with what is installed here; /app, /tests and /logs/verifier are ., "
        "./tests and ./logs/verifier"
    ]
    if any(path.startswith("solution/") for path in source.files):
        notes.append("solution/ was left out: no candidate and no model sees it")
    if "environment/Dockerfile" in source.files:
        notes.append("environment/Dockerfile was left out: what it installs or copies has to be here already")
    return notes


def _is_setting(path: str) -> bool:
    return path.startswith("environment/") and "Dockerfile" not in path and "compose" not in path


def _inside(path: str) -> str:
    return path.removeprefix("environment/")


def _tests(source: Source) -> Mapping[str, bytes]:
    return {path: data for path, data in source.files.items() if path.startswith("tests/")}


def _settings(source: Source) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text_of(source, "task.toml"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise AdoptError(f"{source.path / 'task.toml'} cannot be read: {error}") from None


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _seconds(settings: Mapping[str, Any], part: str) -> float:
    found = _section(settings, part).get("timeout_sec")
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else _SECONDS
