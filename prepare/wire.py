"""Frames on the socket between the evaluator and a sandboxed process: a JSON message and a binary payload.

Everything that leaves a sandbox comes through this one door, so there are no result files that could be links,
pipes or devices. Both sides bound what they accept before they read it.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any

_HEADER = struct.Struct("<4sIQ")
_MAGIC = b"TW01"
MAX_MESSAGE = 64 * 1024


class MalformedFrame(Exception):
    """The other side does not speak this protocol."""


class OversizedFrame(MalformedFrame):
    """It tries to send more than it may."""


@dataclass(frozen=True)
class Frame:
    """One message with its payload."""

    message: dict[str, Any]
    payload: bytes = b""

    @property
    def kind(self) -> str:
        return str(self.message.get("type", ""))


def encode(message: dict[str, Any], payload: bytes | memoryview = b"") -> bytes:
    """The bytes of one frame."""
    text = json.dumps(message).encode()
    return _HEADER.pack(_MAGIC, len(text), len(payload)) + text + bytes(payload)


class Decoder:
    """Turns received bytes into frames. Raises MalformedFrame before it would wait for more than ``max_payload``.

    ``feed`` takes what it is given: a reader that does not trust the other side leaves the bytes in the socket while
    ``full``, so that a flood stops its sender instead of filling our memory.
    """

    def __init__(self, max_payload: int) -> None:
        self.max_payload = max_payload
        self._buffer = bytearray()

    @property
    def full(self) -> bool:
        """There is enough in here for a whole frame (or for an error): call ``next`` before feeding more."""
        return len(self._buffer) >= _HEADER.size + MAX_MESSAGE + self.max_payload

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> Frame | None:
        """The next whole frame, or None if more bytes are needed."""
        if len(self._buffer) < _HEADER.size:
            return None
        magic, text_size, payload_size = _HEADER.unpack_from(self._buffer)
        if magic != _MAGIC or text_size > MAX_MESSAGE:
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
            message = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise MalformedFrame("it sent a message that is not JSON") from error
        if not isinstance(message, dict):
            raise MalformedFrame("it sent a message that is not a JSON object")
        return Frame(message, payload)


class Channel:
    """The blocking end of the socket, used inside a sandbox. Received file descriptors wait in ``fds``."""

    def __init__(self, sock: socket.socket, max_payload: int = 1 << 34) -> None:
        self._sock = sock
        self._decoder = Decoder(max_payload)
        self.fds: list[int] = []

    def send(self, message: dict[str, Any], payload: bytes | memoryview = b"") -> None:
        self._sock.sendall(encode(message, payload))

    def receive(self) -> Frame:
        """Waits for one frame. Raises EOFError when the other side is gone."""
        while (frame := self._decoder.next()) is None:
            data, fds, _, _ = socket.recv_fds(self._sock, 1 << 20, 4)
            if not data:
                raise EOFError("the evaluator closed the session")
            self.fds += fds
            self._decoder.feed(data)
        return frame
