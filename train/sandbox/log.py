"""Output of a candidate, which is untrusted text: read without blocking, kept within a limit, quoted with care."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Sequence
from typing import IO

_HEADER = re.compile(r"(  \+ Exception Group )?Traceback \(most recent call last\):$")
_BYTES_PER_CHECK = 1 << 20  # read between two resource checks; a program that prints more is held up


class TailBuffer:
    """Keeps the first quarter and the last three quarters of ``limit`` bytes of output; the middle is dropped."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 4
        self._tail_limit = limit - limit // 4
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Append output."""
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if (excess := len(self._tail) - self._tail_limit) > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        """Return the kept output, with a note of how many bytes are left out between."""
        if not self._dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return f"{head}\n... {self._dropped:,} bytes left out ...\n{tail}"


class OutputReader:
    """Reads a process's output pipe into a TailBuffer. Bounded per check, so a flood blocks the process that prints."""

    def __init__(self, pipe: IO[bytes], limit: int) -> None:
        self._pipe = pipe
        self._buffer = TailBuffer(limit)
        self._open = True
        self._left = _BYTES_PER_CHECK
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        return self._pipe.fileno()

    @property
    def text(self) -> str:
        """The output, cut in the middle."""
        return self._buffer.text()

    @property
    def readable(self) -> bool:
        """True while more output may be read before the next check."""
        return self._open and self._left > 0

    def allow_more(self) -> None:
        """Renew the number of bytes that may be read until the next check."""
        self._left = _BYTES_PER_CHECK

    def read(self) -> None:
        """Read once what is in the pipe."""
        try:
            data = os.read(self.fileno(), 1 << 16)
        except BlockingIOError:
            return
        self._left -= len(data)
        if data:
            self._buffer.feed(data)
        else:
            self._open = False

    def drain(self, reads: int, timeout: float = 0.0) -> None:
        """Read at most ``reads`` times: processes left behind may print forever. Waits ``timeout`` s for output."""
        for _ in range(reads):
            if not self._open:
                time.sleep(timeout)
                return
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            if not poll.poll(1000 * timeout):
                return
            self.read()

    def close(self) -> None:
        self._open = False
        self._pipe.close()


def error_line(log: str) -> str:
    """Return the first line of the last exception in a log, else its last line that is not empty.

    Without control characters, at most 300 long. A message may go on in further lines, as those of torch do, and a
    program may print after its exception: from a thread, or when it exits.
    """
    lines = log.splitlines()
    return cleaned(_exception(lines)) or next(filter(None, map(cleaned, reversed(lines))), "")


def _exception(lines: Sequence[str]) -> str:
    """Return the line below the last traceback that names its exception; empty without one."""
    headers = [i for i, line in enumerate(lines) if _HEADER.match(line)]
    if not headers:
        return ""
    start = headers[-1]
    prefix = "  | " if lines[start].startswith("  + ") else ""
    below = [line.removeprefix(prefix) for line in lines[start + 1 :]]
    places = (i for i, line in enumerate(below) if line.strip() and not line.startswith(" "))
    if (place := next(places, None)) is None:
        return ""
    line = below[place]
    if line.rstrip().endswith(":"):  # the message begins with an empty line
        line = line.rstrip() + " " + next((more for more in below[place + 1 :] if more.strip()), "").strip()
    return line


def cleaned(line: str) -> str:
    """Return untrusted text as one line: without control characters, at most 300 long."""
    return "".join(c for c in line if c.isprintable()).strip()[:300]
