"""The prompt: statements over several lines, short forms, words with a dot, and a history that is private."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

from archive_sample import HOUSE, a_family

from archive.cli.shell import converse
from archive.storage.store import Archive


def conversation(*lines: str | type[BaseException]) -> tuple[list[str], list[str], list[str]]:
    """What was answered, what was said, and the prompts, for these lines typed."""
    typed, answered, said, prompts = iter(lines), [], [], []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        line = next(typed, EOFError)
        if isinstance(line, str):
            return line
        raise line

    converse(ask, answered.append, said.append, {"lineage", "runs"})
    return answered, said, prompts


def test_a_statement_ends_with_a_semicolon_however_many_lines_it_has() -> None:
    answered, _, prompts = conversation("SELECT 1,", "", "  2 ; ", "", "SELECT 3;")
    assert answered == ["SELECT 1,\n\n  2", "SELECT 3"]
    assert prompts == ["archive> ", "    ...> ", "    ...> ", "archive> ", "archive> ", "archive> "]


def test_short_forms_need_no_semicolon_and_are_only_such_at_the_start() -> None:
    assert conversation("lineage 3fa9", "runs;", "SELECT *", "FROM", "runs;")[0] == [
        "lineage 3fa9", "runs", "SELECT *\nFROM\nruns",
    ]  # fmt: skip


def test_words_with_a_dot() -> None:
    answered, said, _ = conversation(".help", ".schema nodes", '.schema a"b', ".tables", ".what", ".quit", "SELECT 1;")
    assert answered == ['DESCRIBE "nodes"', 'DESCRIBE "a""b"', "SHOW TABLES"]
    assert ".schema NAME" in said[0]
    assert said[1].startswith("unknown: .what")


def test_an_interrupt_forgets_what_was_typed() -> None:
    assert conversation("SELECT 1", KeyboardInterrupt, "SELECT 2;")[0] == ["SELECT 2"]


def test_the_prompt_on_a_terminal(tmp_path: Path) -> None:
    """In a real terminal: answers, an error that does not end it, a short form, and the history of the session."""
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, nodes = a_family(archive)
    main, side = pty.openpty()
    termios.tcsetwinsize(side, (50, 200))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "TERM": "dumb", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "archive", "--archive", str(tmp_path / "a.duckdb")],
        stdin=side, stdout=side, stderr=side, cwd=HOUSE, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    shown = ""

    def until(seen: Callable[[str], bool]) -> None:
        nonlocal shown
        deadline = time.monotonic() + 60
        while not seen(shown) and time.monotonic() < deadline:
            if select.select([main], [], [], 0.2)[0]:
                shown += os.read(main, 65536).decode(errors="replace")
        assert seen(shown), shown

    try:
        until(lambda text: text.count("archive> ") == 1)
        for count, line in enumerate((b"SELECT nothing;", b"SELECT 6 * 7 AS answer;", b"leaderboard", b"lineage"), 2):
            os.write(main, line + b"\n")
            until(lambda text, count=count: text.count("archive> ") == count)  # type: ignore[misc]
        os.write(main, b".quit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert "error: " in shown
    assert "42" in shown
    assert nodes[4].node_id[:4] in shown  # a dumb terminal has 80 columns
    assert "lineage takes the start of a node's id" in shown
    history = tmp_path / "state" / "treewright" / "archive_history"
    assert "SELECT 6 * 7 AS answer;" in history.read_text()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
