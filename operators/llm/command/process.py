"""One run of a program: input, bounded output, a deadline, and the end of all of its processes."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from operators.llm.wire import LONGEST_ANSWER, Deadline

_TICK = 0.2
"""Seconds between two looks at the deadline and at the folder."""
_LAST_WORDS = 2.0
"""Seconds in which the output of a program that has ended may still come from processes that it has left."""
_KEPT_ERRORS = 8_000
"""Bytes of standard error that are kept, the last ones."""


@dataclass(frozen=True)
class Finished:
    """What a program wrote. ``status``: its exit status; None if it was ended, for the reason ``ended``."""

    status: int | None
    output: str
    errors: str
    ended: str | None = None

    @property
    def words(self) -> str:
        """What the program wrote last, for a message."""
        return self.errors.strip() or self.output.strip()[-_KEPT_ERRORS:]


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    text: str,
    deadline: Deadline,
    tick: Callable[[], str | None],
) -> Finished:
    """Run a program with ``text`` as its input until it ends, the deadline passes or ``tick`` returns a reason.

    When this returns, no process of the program is left. Raises OSError if the program cannot be started.
    """
    with tempfile.TemporaryFile() as given:  # not a pipe, which a program that does not read would block
        given.write(text.encode())
        given.seek(0)
        process = subprocess.Popen(
            [*_dying_with_us(), *command],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,  # a Ctrl-C in the terminal is the search's alone
        )
        deadline.mark_sent(None)
        try:
            return _Reader(process, deadline, tick).read()
        finally:
            _end(process)


class _Reader:
    """Reads a running program's output."""

    def __init__(self, process: subprocess.Popen[bytes], deadline: Deadline, tick: Callable[[], str | None]) -> None:
        self._process = process
        self._deadline = deadline
        self._tick = tick
        self._output = bytearray()
        self._errors = bytearray()
        self._selector = selectors.DefaultSelector()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            self._selector.register(stream, selectors.EVENT_READ)

    def read(self) -> Finished:
        gone: float | None = None
        with self._selector:
            while self._selector.get_map():
                for key, _ in self._selector.select(_TICK):
                    self._take(key.fileobj)  # type: ignore[arg-type]
                if (reason := self._reason_to_end()) is not None:
                    return self._finished(None, reason)
                if self._process.poll() is not None:
                    gone = gone or time.monotonic()
                    if time.monotonic() - gone > _LAST_WORDS:
                        break
        while self._process.poll() is None:  # it has closed its output, and runs on
            if (reason := self._reason_to_end()) is not None:
                return self._finished(None, reason)
            time.sleep(_TICK)
        return self._finished(self._process.returncode, None)

    def _take(self, stream: IO[bytes]) -> None:
        data = os.read(stream.fileno(), 65_536)
        if not data:
            self._selector.unregister(stream)
        elif stream is self._process.stdout:
            self._deadline.mark_heard()
            self._output += data
        else:
            self._errors += data
            del self._errors[:-_KEPT_ERRORS]

    def _reason_to_end(self) -> str | None:
        if len(self._output) > LONGEST_ANSWER:
            return f"it wrote more than {LONGEST_ANSWER:,} bytes"
        if self._deadline.over:
            return "it did not answer in time"
        return self._tick()

    def _finished(self, status: int | None, ended: str | None) -> Finished:
        output, errors = (bytes(part).decode(errors="replace") for part in (self._output, self._errors))
        return Finished(status, output[:LONGEST_ANSWER], errors, ended)


def _dying_with_us() -> tuple[str, ...]:
    """Return the command that has the kernel end the program when this process is killed; bubblewrap does the same."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program with its group and all of its descendants, and wait for it."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in descendants:
        with contextlib.suppress(psutil.Error):
            each.kill()
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
