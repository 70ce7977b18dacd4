"""Commands of this project as they work when typed here: with this interpreter, or the console script that was run."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

_SCRIPTS = {"search": "treewright", "archive": "treewright-archive"}
"""Package -> its console script."""


def command(package: str, arguments: str = "") -> str:
    """Return a command of a package, such as ``.venv/bin/python -m search``. ``arguments`` are quoted already."""
    return f"{_program(package)} {arguments}".rstrip()


def archive_flag(name: str | None) -> str:
    """Return `` --archive NAME`` for commands of ``archive``; empty for the default file (None)."""
    if name is None:
        return ""
    return f" --archive{'=' if name.startswith('-') else ' '}{shlex.quote(name)}"  # a dash begins an option otherwise


def _program(package: str) -> str:
    typed = Path(sys.argv[0] if sys.argv else "").absolute()
    if package in _SCRIPTS and typed.name in _SCRIPTS.values():
        return _shown(typed.with_name(_SCRIPTS[package]))
    return f"{_shown(Path(sys.executable).absolute(), 'python')} -m {package}"


def _shown(path: Path, name: str | None = None) -> str:
    """Return the name of a program if the shell finds this one by it, else its path, relative if below the cwd."""
    found = shutil.which(name or path.name)
    if found is not None and Path(found).absolute() == path:
        return name or path.name
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
