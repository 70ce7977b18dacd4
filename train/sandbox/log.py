"""What a candidate printed: kept within a limit, and quoted with care. It is untrusted text."""

from __future__ import annotations


class TailBuffer:
    """Keeps the first quarter and the last three quarters of ``limit`` bytes of output; the middle is dropped."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 4
        self._tail_limit = limit - limit // 4
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if (excess := len(self._tail) - self._tail_limit) > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        if not self._dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return f"{head}\n... {self._dropped:,} bytes left out ...\n{tail}"


def last_line(log: str) -> str:
    """The last line with something in it: of a Python traceback, the error itself. Without control characters."""
    for line in reversed(log.splitlines()):
        if cleaned := "".join(c for c in line if c.isprintable()).strip():
            return cleaned[:300]
    return ""
