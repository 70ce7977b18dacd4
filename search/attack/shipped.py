"""A task's own cheats: files or folders in ``cheats/`` that replace files of the seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from operators.languages.files import Files
from prepare.files import read_source
from prepare.program import CHEATS, ProgramTask
from search.attack.base import Cheat


def shipped_cheats(task: ProgramTask, seed: Files) -> list[Cheat]:
    """Return the cheats of a task's folder: ``cheats/NAME.py`` replaces the main file, ``cheats/NAME/`` any files.

    None of them deserves a score as good as the seed's. Raises TaskError for a file that is no text.
    """
    folder = task.root / CHEATS
    entries = sorted(path for path in folder.iterdir() if path.name[0] not in "._") if folder.is_dir() else []
    return [_cheat(path, {**seed, **_replaced(path, next(iter(seed)))}) for path in entries]


def _cheat(path: Path, files: Files) -> Cheat:
    return Cheat(f"{CHEATS}/{path.name}", "of the task's own folder", "idle", lambda _: [files])


def _replaced(path: Path, main: str) -> Mapping[str, str]:
    if path.is_file():
        return {main: read_source(path)}
    inside = sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
    return {each.relative_to(path).as_posix(): read_source(each) for each in inside}
