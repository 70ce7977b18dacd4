"""Framed messages over the socket of a sandboxed process. Non-blocking: the caller polls.

Memory is bounded on this side: bytes that are not read yet stay in the socket, so a flood blocks its sender.
"""

from __future__ import annotations

import array
import select
import socket
from collections.abc import Sequence

from prepare.wire import MAX_UNTRUSTED, Decoder, Frame

_CHUNK = 1 << 20


class PolledChannel:
    """This side of the socket. ``closed``: the other side has closed it, or no further message is expected."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._decoder = Decoder(0, MAX_UNTRUSTED)
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def readable(self) -> bool:
        """True while more bytes can be taken."""
        return not self.closed and not self._decoder.full

    def events(self, writing: bool) -> int:
        """Return the poll events to wait for; 0 for none."""
        return (select.POLLIN if self.readable else 0) | (select.POLLOUT if writing else 0)

    def next_frame(self, max_payload: int) -> Frame | None:
        """Return the next complete frame among the bytes read, or None. Raises MalformedFrame."""
        self._decoder.max_payload = max_payload
        return self._decoder.next()

    def read(self) -> None:
        """Read what has arrived. File descriptors that are sent along are dropped by the kernel (plain ``recv``)."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if data:
            self._decoder.feed(data)
        else:
            self.closed = True

    def write(self, data: memoryview, fds: Sequence[int] = ()) -> int:
        """Send a first part of ``data``, with file descriptors if given; return how many bytes.

        Raises BlockingIOError if nothing can be sent now, BrokenPipeError or ConnectionResetError if the other side is
        gone.
        """
        if not fds:
            return self._socket.send(data[:_CHUNK])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        return self._socket.sendmsg([data], rights)

    def discard(self) -> None:
        """Drop the bytes read so far."""
        self._decoder = Decoder(0, MAX_UNTRUSTED)

    def close(self) -> None:
        self._socket.close()
