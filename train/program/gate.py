"""Checks of a candidate's files before they cost budget: names, sizes, what may change, syntax."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from prepare.blocks import changed_outside
from prepare.globs import matches
from prepare.paths import is_below
from prepare.program import ProgramTask
from prepare.source import foreign_encoding
from prepare.syntax import first_error

MOST_FILES = 1000


def refuse(task: ProgramTask, seed: Mapping[str, str], files: Mapping[str, str]) -> str | None:
    """Return why a candidate's files are refused, or None. ``seed``: the task's own files.

    Raises prepare.blocks.BlockError for a task with ``evolve_blocks`` whose seed has markers that are no pairs.
    """
    return (
        _refuse_names(files)
        or _refuse_others(task, files)
        or _refuse_texts(task, files)
        or (changed_outside(seed, files) if task.evolve_blocks else None)
        or _refuse_syntax(seed, files)
    )


def _refuse_names(files: Mapping[str, str]) -> str | None:
    """Return why a file name is invalid, or why two names are the same file on some machines."""
    if not files or len(files) > MOST_FILES:
        return f"the program has {len(files)} files; expected 1 to {MOST_FILES}"
    if strange := next((path for path in files if not _is_plain(path)), None):
        return f"the file name {strange[:80]!r} is not allowed; expected a short relative path of printable characters"
    seen: dict[str, str] = {}
    for path in files:
        if (other := seen.setdefault(_folded(path), path)) != path:
            return f"{path} and {other} are one file where case does not matter; rename one"
    for path in files:
        if inside := next((folder for folder in _folders(_folded(path)) if folder in seen), None):
            return f"{seen[inside]} is a file, and a folder of {path}; rename one"
    return None


def _is_plain(path: str) -> bool:
    """Return whether a path is relative, stays inside its folder, and is valid on all machines."""
    return is_below(path) and path.isprintable() and "\\" not in path and all(p == p.strip() for p in path.split("/"))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _refuse_others(task: ProgramTask, files: Mapping[str, str]) -> str | None:
    """Return why a file may not be added or changed."""
    if strange := sorted(path for path in files if not matches(path, task.workspace.editable)):
        return f"{strange[0]!r} is not among the files that may change ({', '.join(task.workspace.editable)})"
    return None


def _refuse_texts(task: ProgramTask, files: Mapping[str, str]) -> str | None:
    """Return why the texts are refused: not UTF-8, or too long together."""
    size = 0
    for path, text in files.items():
        try:
            size += len(text.encode())
        except UnicodeEncodeError:
            return f"{path} has half of a character (a lone surrogate); expected UTF-8 text"
    if size > task.limits.source_kb * 1000:
        return f"the source has {size:,} bytes; {task.limits.source_kb * 1000:,} are allowed"
    return None


def _refuse_syntax(seed: Mapping[str, str], files: Mapping[str, str]) -> str | None:
    """Return why a changed file does not parse, or that it declares another encoding."""
    changed = {path: text for path, text in files.items() if text != seed.get(path)}
    for path, text in changed.items():
        if path.endswith(".py") and (reason := foreign_encoding(text)) is not None:
            return f"{path} {reason}"
    return first_error(changed, [seed])
