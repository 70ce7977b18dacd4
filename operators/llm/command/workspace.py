"""The folders of a coding agent at work: the program that it changes, what it may read, and the command ``check``.

    /work      the program and the task's read-only files; what is left here in the editable files is the candidate
    /context   other programs of the tree, their changes, failures and history, read-only
    check      checks the program as a proposal is checked, and runs it for a moment; no evaluation data is in reach

``check`` is a shell script inside: it asks the search, through a file, for the static checks, and then runs
``smoke.py``. Everything in the folders is untrusted as soon as the agent runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from operators.languages.files import Files
from operators.llm.command.output import Reply
from operators.llm.command.process import Finished
from operators.llm.command.sandbox import PYTHON
from prepare.globs import matches

MOST_FILES = 1000
_HOUSE = Path(__file__).resolve().parents[3]
_OVER_BUDGET = frozenset({"error_max_turns", "error_max_budget_usd"})
_SKIPPED = frozenset({".git", "__pycache__", "node_modules", ".venv"})
_CHECK = """\
#!/bin/sh
rm -f /check/answer
: > /check/ask
while [ ! -e /check/answer ]; do sleep 0.1; done
cat /check/answer
grep -q '^accepted' /check/answer || exit 1
cd /work && exec python /check/smoke.py '{settings}'
"""
_PYTHON = """\
#!/bin/sh
export PYTHONPATH={path} PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH={python}/lib
exec {python}/bin/{name} -s "$@"
"""


class UnreadableFiles(ValueError):
    """What an agent has left is no program; the message says why."""


@dataclass(frozen=True)
class AgentBudget:
    """Limits of one run of an agent. ``tokens``: what the caps count if it reports none."""

    turns: int
    seconds: float
    dollars: float
    tokens: int


@dataclass(frozen=True)
class WorkingCopy:
    """What an agent is given."""

    files: Files
    patterns: Sequence[str]
    """Of the files that it may change."""
    budget: AgentBudget
    check: Callable[[Files], str | None]
    """Returns why files would be refused, or None."""
    source_bytes: int
    """Limit of the editable files together."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    context: Files = field(default_factory=dict)
    rehearsal: Mapping[str, Any] | None = None
    """Settings of ``smoke.py`` for a program that trains a language model."""

    def lay_out(self, folder: Path) -> None:
        """Write everything below the folder of a call."""
        for path, data in {**self.beside, **{name: text.encode() for name, text in self.files.items()}}.items():
            _write(folder / "work" / path, data)
        for path, text in self.context.items():
            _write(folder / "context" / path, text.encode())
        (folder / "context").mkdir(exist_ok=True)
        check = folder / "check"
        check.mkdir(mode=0o700)
        shutil.copy(Path(__file__).with_name("smoke.py"), check)
        python = [path for path in self.files if path.endswith(".py") and "/" not in path]
        settings = json.dumps({"files": python, "rehearsal": self.rehearsal}).replace("'", "'\\''")
        _write(check / "check", _CHECK.format(settings=settings).encode(), 0o755)
        library = [*map(str, libraries()), "/run/house"]
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        text = _PYTHON.format(path=os.pathsep.join(library), python=PYTHON, name=name)
        for alias in ("python", "python3"):
            _write(check / alias, text.encode(), 0o755)

    def answer_check(self, folder: Path) -> None:
        """Answer a request of ``check``, if there is one; an agent that spoils its folder gets no answer."""
        ask = folder / "check" / "ask"
        if not os.path.lexists(ask):
            return
        try:
            refusal = self.check(self.left(folder))
        except UnreadableFiles as error:
            refusal = str(error)
        text = "accepted by the static checks\n" if refusal is None else f"refused: {refusal}\n"
        with contextlib.suppress(OSError):
            ask.unlink()
            (folder / "answer").write_text(text)
            os.replace(folder / "answer", folder / "check" / "answer")  # whatever the agent has put there

    def left(self, folder: Path) -> dict[str, str]:
        """Return the editable files as they are now. Raises UnreadableFiles."""
        try:
            read = list(_regular_files(folder / "work", self.patterns, self.source_bytes))
        except OSError as error:
            raise UnreadableFiles(f"the folder cannot be read: {error.strerror}") from None
        return self._texts(read)

    def _texts(self, read: Sequence[tuple[str, bytes]]) -> dict[str, str]:
        found: dict[str, str] = {}
        size = 0
        for path, data in read:
            size += len(data)
            if size > self.source_bytes or len(found) >= MOST_FILES:
                raise UnreadableFiles(f"the editable files have more than {self.source_bytes:,} bytes")
            try:
                found[path] = data.decode()
            except UnicodeDecodeError:
                raise UnreadableFiles(f"{path[:80]!r} is not UTF-8 text") from None
        return found

    def mounts(self, folder: Path) -> tuple[tuple[str, str], ...]:
        """Return the read-only mounts of the agent: (path here, path inside).

        A program that trains a language model imports ``prepare`` in its own sandbox, too.
        """
        found = [(str(folder / "context"), "/context"), (sys.base_prefix, PYTHON)]
        found += [(str(each), str(each)) for each in libraries()]
        return tuple(found if self.rehearsal is None else [*found, (str(_HOUSE / "prepare"), "/run/house/prepare")])

    def collected(self, folder: Path, finished: Finished, reply: Reply) -> tuple[Finished, Reply]:
        """Return the run with what the agent has left as its answer.

        An agent that was ended at the limit of its budget has left a candidate if it has changed something.
        """
        spent = finished.ended is not None or not _OVER_BUDGET.isdisjoint(reply.kinds)
        try:
            files = self.left(folder)
        except UnreadableFiles as error:
            return finished, replace(reply, text=json.dumps({"said": reply.text, "unreadable": str(error)}))
        if spent and files != dict(self.files):
            finished, reply = replace(finished, status=0, ended=None), replace(reply, error=None)
        return finished, replace(reply, text=json.dumps({"said": reply.text, "files": files}))


def _regular_files(root: Path, patterns: Sequence[str], most: int) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of the regular files that match, up to more than ``most`` bytes together.

    Links are not followed, also if they are made meanwhile. Raises OSError for a root that cannot be read.
    """
    for place, folders, names, descriptor in os.fwalk(root, follow_symlinks=False):
        folders[:] = sorted(set(folders) - _SKIPPED)
        for name in sorted(names):
            path = os.path.relpath(os.path.join(place, name), root)
            if most < 0 or not matches(path, patterns):
                continue
            try:
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
            except OSError:  # a link, or gone
                continue
            with os.fdopen(opened, "rb") as stream:
                if stat.S_ISREG(os.fstat(opened).st_mode):
                    data = stream.read(most + 1)
                    most -= len(data)
                    yield path, data


def _write(path: Path, data: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


# ---------------------------------------------------------------- what is mounted


def libraries() -> tuple[Path, ...]:
    """Return the folders of installed packages."""
    paths = sysconfig.get_paths()
    found = dict.fromkeys(Path(paths[name]).resolve() for name in ("platlib", "purelib"))
    return tuple(folder for folder in found if folder.is_dir())
