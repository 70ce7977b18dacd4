"""A search on a real terminal, small and large: whatever ends it, the terminal is left as it was found."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launching import command, environment

pytestmark = pytest.mark.xdist_group("terminal")

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
PATIENCE = 90.0

_STUBBORN = """\
import time
from stub_evaluator import StubEvaluator


class Stubborn(StubEvaluator):
    def evaluate(self, request, slot, cancelled, watch):
        time.sleep(300)
"""


class Terminal:
    """A process on a terminal of its own, and all that it has shown."""

    def __init__(self, folder: Path, columns: int, rows: int, *words: str, stub: bool = True, **variables: str) -> None:
        self.mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.mine)
        self.shown = ""
        self.process = subprocess.Popen(
            command(*words, stub=stub),
            cwd=folder,
            env=environment(TERM="xterm-256color", **variables),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def until(self, condition: Callable[[str], object]) -> None:
        """Read until what was shown meets the condition, or the process has closed its terminal."""
        deadline = time.monotonic() + PATIENCE
        while not condition(self.shown):
            assert time.monotonic() < deadline, self.shown
            if select.select([self.mine], [], [], 1.0)[0]:
                try:
                    more = os.read(self.mine, 65536)
                except OSError:  # how Linux says that the other side has closed
                    return
                self.shown += more.decode(errors="replace")

    def end(self) -> int:
        self.until(lambda shown: False)
        assert termios.tcgetattr(self.mine) == self.before
        os.close(self.mine)
        return self.process.wait(PATIENCE)


def left_behind(shown: str) -> str:
    """What was shown after the slots were taken away, free of escape sequences; the cursor has been given back."""
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[shown.rindex(SHOW) :])


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (120, 40)])
def test_ctrl_c_takes_the_slots_away(columns: int, rows: int, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, columns, rows, "evaluator.delay=0.5", "budget.evaluations=200")
    terminal.until(lambda shown: "an hour" in shown and "200 evaluations" in shown)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    rest = left_behind(terminal.shown)
    assert "Stopped. All finished" in rest
    assert "run=shakespeare-1" in rest.replace("\n", "").replace("\r", "")
    assert "searching" not in rest
    assert "idle" not in rest


@pytest.mark.slow
def test_a_second_ctrl_c_gives_the_cursor_back_too(tmp_path: Path) -> None:
    """The stub stops waiting at the first; a program that ignores it is what the second one is for."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "stubborn.py").write_text(_STUBBORN)
    conf = tmp_path / "conf" / "evaluator"
    conf.mkdir(parents=True)
    (conf / "stubborn.yaml").write_text("_target_: stubborn.Stubborn\n")
    words = ("--config-dir", str(tmp_path / "conf"), "evaluator=stubborn")
    paths = os.pathsep.join([str(hook), environment()["PYTHONPATH"]])
    terminal = Terminal(tmp_path, 80, 24, *words, stub=False, PYTHONPATH=paths)
    terminal.until(lambda shown: "searching" in shown)
    terminal.process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert terminal.process.poll() is None
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)
    assert "Ended at once" in terminal.shown


@pytest.mark.slow
def test_an_error_stands_alone(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, 80, 24, "evaluator.fail_every=1", "evaluator.delay=0.5")
    assert terminal.end() == 1
    rest = left_behind(terminal.shown)
    assert "error: the seed program did not get a score (crashed: the stub was told to fail)" in rest
    assert "searching" in terminal.shown
    assert "searching" not in rest


@pytest.mark.slow
def test_no_color_leaves_the_view_and_takes_the_colours(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, 80, 24, "budget.evaluations=4", "evaluator.delay=0.4", NO_COLOR="1")
    assert terminal.end() == 0
    assert "searching" in terminal.shown
    assert "leads" in terminal.shown
    assert not re.search(r"\x1b\[(?:[0-9]+;)*(3[0-8]|4[0-8]|9[0-7])[;m]", terminal.shown)
