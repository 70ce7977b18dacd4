"""Adapter for METRIC lines: ``measure.sh`` and ``checks.sh`` (also in ``.auto/``), or a command with a metric."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from search.adopt.base import Adopted, AdoptError, Asked, chosen, everything, instructions, text_of, workspace
from search.adopt.source import Source

_PLACES = ("", ".auto/")
_CODE = (".py", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".rs", ".go", ".java", ".js", ".ts", ".jl", ".f90", ".zig")
_TEXTS = (".sh", ".sql", ".md", ".txt", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".html", ".css")
_MOST_EDITABLE = 30
_PRINTED = re.compile(r"METRIC\s+([^\s=:]+)=")


def recognises(source: Source) -> bool:
    return _script(source, "measure.sh") is not None


def convert(source: Source, asked: Asked) -> Adopted:
    """Make a task that runs the measuring script or the command; the checks must exit with status 0."""
    measure = None if asked.command else _script(source, "measure.sh")
    checks = None if asked.command else _script(source, "checks.sh")
    if asked.command is None and measure is None:
        raise AdoptError(f"{source.path} has no measure.sh; expected one, or --command COMMAND")
    scripts = {path: PurePosixPath(path).name for path in (measure, checks) if path is not None}
    files = workspace(source, chosen(source, asked, _editable(source, scripts)), [*source.matching([".auto/**"])])
    settings = {
        "metric": _metric(source, asked, measure),
        "workspace": {**files, "readonly": sorted({*files["readonly"], *scripts.values()})},
        "command": asked.command or f"bash {scripts[measure or '']}",
        **({"checks": f"bash {scripts[checks]}"} if checks is not None else {}),
        "seconds": 600.0,
        "clock": "wall",
    }
    moved = {name: source.files[path] for path, name in scripts.items() if path != name}
    kept = [path for path in everything(files) if path not in moved]
    said = next((text_of(source, path) for path in (".auto/prompt.md", "program.md") if path in source.files), "")
    notes = [f"{path} is now {name}, and runs in the task's folder" for path, name in scripts.items() if path != name]
    notes.append(f"{len(files['editable'])} files may change: workspace.editable in task.yaml")
    return Adopted(
        "METRIC lines", settings, kept, {**moved, "program.md": instructions(said or _goal(settings))}, notes
    )


def _script(source: Source, name: str) -> str | None:
    return next((place + name for place in _PLACES if place + name in source.files), None)


def _editable(source: Source, scripts: dict[str, str]) -> list[str]:
    """Return the text files of known kinds, except the measuring scripts. Raises AdoptError for too many."""
    found = [
        path
        for path in source.files
        if path not in scripts
        and path.endswith(_CODE + _TEXTS)
        and not path.startswith(".auto/")
        and path != "program.md"
    ]
    if not 0 < len(found) <= _MOST_EDITABLE:
        raise AdoptError(
            f"{source.path} has {len(found)} source files; name those that may change with --files PATTERN (at most "
            f"{_MOST_EDITABLE} are taken without). It has {source.listed()}"
        )
    return found


def _metric(source: Source, asked: Asked, measure: str | None) -> dict[str, str]:
    """Return the metric. Raises AdoptError if the user has not named it with its direction."""
    if asked.metric is None or asked.direction is None:
        printed = dict.fromkeys(_PRINTED.findall(text_of(source, measure))) if measure is not None else {}
        named = f" ({', '.join(printed)} in {measure})" if printed else ""
        raise AdoptError(f"the metric has to be named{named}: add --metric NAME --direction minimise|maximise")
    return {"name": asked.metric, "direction": asked.direction}


def _goal(settings: dict[str, object]) -> str:
    return f"`{settings['command']}` measures the program; its output has the metric. The program has to stay correct."
