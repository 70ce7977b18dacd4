"""Checks of a candidate's files before they cost budget: names, sizes, what may change, syntax."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from prepare.blocks import changed_outside
from prepare.globs import matches
from prepare.program import ProgramTask
from prepare.source import foreign_encoding
from prepare.syntax import parse_error

MOST_FILES = 1000
_LONGEST_PART = 255
"""Bytes of one part of a path; file systems have no longer ones."""
_LONGEST_NAME = 1000


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
    """Return why a name is none of a file below a folder, or why two names are one on some machine."""
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
    parts = path.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:  # half of a character
        return False
    printable = path.isprintable() and "\\" not in path
    return printable and len(path) <= _LONGEST_NAME and all(map(_is_part, parts)) and max(sizes) <= _LONGEST_PART


def _is_part(part: str) -> bool:
    return part not in ("", ".", "..") and part == part.strip()


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(1, len(parts)))


def _refuse_others(task: ProgramTask, files: Mapping[str, str]) -> str | None:
    """Return that a file is none of those that may change."""
    if strange := sorted(path for path in files if not matches(path, task.workspace.editable)):
        return f"{strange[0]!r} is not among the files that may change ({', '.join(task.workspace.editable)})"
    return None


def _refuse_texts(task: ProgramTask, files: Mapping[str, str]) -> str | None:
    """Return that a text is not UTF-8, or that all are too long."""
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
    """Return why a file does not parse: a Python file, or a data file unless the seed's did not either."""
    for path, text in files.items():
        if text == seed.get(path):
            continue
        is_python = path.endswith(".py")
        if is_python and (reason := foreign_encoding(text)) is not None:
            return f"{path} {reason}"
        if (reason := parse_error(path, text)) is not None and (is_python or not _is_broken(seed, path)):
            return reason
    return None


def _is_broken(seed: Mapping[str, str], path: str) -> bool:
    """Return whether the seed's own file does not parse: JSON with comments, a template of YAML."""
    return path in seed and parse_error(path, seed[path]) is not None
