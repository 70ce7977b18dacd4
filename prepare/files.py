"""Files that a task names: where they are looked for, and their text."""

from __future__ import annotations

from pathlib import Path

from prepare.known import TaskError
from prepare.source import SourceError, decode
from prepare.syntax import PARSE_ERRORS

ROOT = Path(__file__).resolve().parent.parent
"""Folder of this project's packages. A task's paths are relative to the current folder or, failing that, to this."""


def find_file(path: str) -> Path:
    """Return a file that a task names: relative to the current folder, or to ``ROOT``. Raises TaskError."""
    for candidate in (Path(path).expanduser(), ROOT / path):
        if candidate.is_file():
            return candidate
    places = " nor in ".join(dict.fromkeys((str(Path.cwd()), str(ROOT))))
    raise TaskError(f"the task names the file {path!r}, which is not in {places}")


def read_source(path: Path) -> str:
    """Return the text of a seed program. Raises TaskError if it is not UTF-8, and for Python that does not parse."""
    try:
        text = decode(path.read_bytes())
    except SourceError as error:
        raise TaskError(f"the seed program {path} {error}") from None
    require_python(str(path), text)
    return text


def require_python(path: str, text: str) -> None:
    """Raise TaskError for a file of the seed program in Python that does not compile; other files are not looked at."""
    try:
        if path.endswith(".py"):
            compile(text, path, "exec")
    except PARSE_ERRORS as error:
        raise TaskError(f"the seed program {path} does not parse: {error}. Fix it and start a new run.") from None


def read_instructions(path: Path) -> str:
    """Return the text of ``program.md``. Raises TaskError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"the instructions {path} are not UTF-8 text: {error}. Save the file as UTF-8") from None
