"""Frames on the socket between the evaluator and a sandboxed process: a JSON message and a binary payload.

All results leave a sandbox through this socket, so there are no result files that could be links, pipes or devices.
Both sides bound the size of a frame before they read it.
"""

from __future__ import annotations

import struct

from prepare.json_text import from_json, to_json

TYPE_CHECKING = False  # as typing has it: a worker that needs no more starts without importing typing and socket
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

_HEADER = struct.Struct("<4sIQ")
_MAGIC = b"TW01"
_DESCRIPTOR = struct.Struct("i")
_DESCRIPTORS = 4  # taken with one piece of a frame
MAX_MESSAGE = 64 * 1024
"""Largest message in bytes (without its payload)."""
MAX_UNTRUSTED = 4096
"""Largest message that is parsed if a candidate may have written it; honest ones have fewer than 200 bytes."""


class MalformedFrame(Exception):
    """The received bytes violate the protocol."""


class OversizedFrame(MalformedFrame):
    """The announced payload is larger than allowed."""


class Frame:
    """One message with its payload."""

    def __init__(self, message: dict[str, Any], payload: bytes = b"") -> None:
        self.message = message
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and (self.message, self.payload) == (other.message, other.payload)

    __hash__ = None  # type: ignore[assignment]

    @property
    def kind(self) -> str:
        kind = self.message.get("type", "")
        return kind if isinstance(kind, str) else ""


def encode(message: dict[str, Any], payload: bytes | memoryview = b"") -> bytes:
    """Return the bytes of one frame."""
    text = to_json(message).encode()
    return _HEADER.pack(_MAGIC, len(text), len(payload)) + text + bytes(payload)


class Decoder:
    """Incremental decoder of received bytes. Rejects a frame by its header if a part of it is larger than allowed.

    ``feed`` accepts any amount. A reader that does not trust the sender leaves bytes in the socket while ``full`` is
    true, so that the sender blocks instead of filling the reader's memory.
    """

    def __init__(self, max_payload: int, max_message: int = MAX_MESSAGE) -> None:
        self.max_payload = max_payload
        self._max_message = max_message
        self._buffer = bytearray()

    @property
    def full(self) -> bool:
        """True if the buffer certainly holds a whole frame or an error: call ``next`` before feeding more."""
        return len(self._buffer) >= _HEADER.size + self._max_message + self.max_payload

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """Return the next whole frame, or None if more bytes are needed. Raises MalformedFrame."""
        if len(self._buffer) < _HEADER.size:
            return None
        magic, text_size, payload_size = _HEADER.unpack_from(self._buffer)
        if magic != _MAGIC or text_size > self._max_message:
            raise MalformedFrame("it sent bytes that are no message of the session protocol")
        if payload_size > self.max_payload:
            raise OversizedFrame(f"it sent {payload_size:,} bytes where at most {self.max_payload:,} are taken")
        end = _HEADER.size + text_size + payload_size
        if len(self._buffer) < end:
            return None
        text = bytes(self._buffer[_HEADER.size : _HEADER.size + text_size])
        payload = bytes(self._buffer[_HEADER.size + text_size : end])
        del self._buffer[:end]
        try:
            message = from_json(text.decode())
        except (ValueError, RecursionError) as error:
            raise MalformedFrame("it sent a message that is not JSON") from error
        if not isinstance(message, dict):
            raise MalformedFrame("it sent a message that is not a JSON object")
        return Frame(message, payload)


class Channel:
    """Blocking end of the socket, used inside a sandbox. Received file descriptors are collected in ``fds``."""

    def __init__(self, sock: socket, max_payload: int = 1 << 34) -> None:
        self._sock = sock
        self._decoder = Decoder(max_payload)
        self.fds: list[int] = []

    def send(self, message: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        self._sock.sendall(encode(message, payload))

    def receive(self) -> Frame:
        """Wait for one frame. Raises EOFError if the other side has closed the socket."""
        while (frame := self._decoder.next()) is None:
            data, fds = _received(self._sock)
            if not data:
                raise EOFError("the evaluator closed the session")
            self.fds += fds
            self._decoder.feed(data)
        return frame


def _received(sock: socket) -> tuple[bytes, list[int]]:
    """Wait for bytes; return them with the descriptors that came along, as ``socket.recv_fds`` does."""
    from _socket import CMSG_LEN, SCM_RIGHTS, SOL_SOCKET

    data, parts, _, _ = sock.recvmsg(1 << 20, CMSG_LEN(_DESCRIPTORS * _DESCRIPTOR.size))
    rights = b"".join(part for level, kind, part in parts if (level, kind) == (SOL_SOCKET, SCM_RIGHTS))
    whole = len(rights) // _DESCRIPTOR.size * _DESCRIPTOR.size
    return data, [descriptor for (descriptor,) in _DESCRIPTOR.iter_unpack(rights[:whole])]
