"""The prompt of ``python -m archive``: SQL over several lines up to a semicolon, short forms, and a history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_HELP = """\
SELECT ... ;        any read-only SQL, over as many lines as it takes
summary             and the other short forms: leaderboard, lineage ID, show ID, diff A B, compare RUN ..., runs, events
.tables             the tables and views
.schema NAME        the columns of one of them
.help  .quit"""

_MOST_HISTORY = 1000


def converse(
    ask: Callable[[str], str], answer: Callable[[str], None], say: Callable[[str], None], commands: set[str]
) -> None:
    """Read lines with ``ask(prompt)`` until the end of input or ``.quit``.

    ``answer`` is given each complete statement, without its semicolon, and lines that begin with one of ``commands``.
    """
    lines: list[str] = []
    while True:
        try:
            line = ask("    ...> " if lines else "archive> ")
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:  # forget what was typed, as shells do
            lines = []
            say("")
            continue
        word = line.strip().split(" ", 1)[0].rstrip(";")
        if not lines and word.startswith("."):
            if word in (".quit", ".exit"):
                return
            _dot(line.strip(), answer, say)
        elif not lines and word in commands:
            answer(line.strip().rstrip(";"))
        elif line.strip() or lines:
            lines.append(line)
            if line.rstrip().endswith(";"):
                answer("\n".join(lines).strip().rstrip("; \t"))
                lines = []


def _dot(line: str, answer: Callable[[str], None], say: Callable[[str], None]) -> None:
    command, _, name = line.partition(" ")
    if command == ".tables":
        answer("SHOW TABLES")
    elif command == ".schema":
        quoted = '"' + name.strip().replace('"', '""') + '"'
        answer(f"DESCRIBE {quoted}" if name.strip() else "SHOW TABLES")
    else:
        say(_HELP if command == ".help" else f"unknown: {command}\n{_HELP}")


@contextmanager
def history() -> Iterator[None]:
    """Line editing, with what was typed in earlier sessions, where the system has it. Only its user can read it."""
    try:
        import readline
    except ImportError:
        yield
        return
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "treewright"
    path = folder / "archive_history"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(_MOST_HISTORY)
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            readline.write_history_file(path)
