"""The socket through which a running search is steered, beside the one for read-only SQL.

    question  {"command": "pin", "node": "3fa9..."}
    answer    {"done": "..."} or {"error": "QueryRefused", "message": "..."}

The search makes the server and obeys in its own thread (``search/run/steering.py``); ``steer`` is the client. The
socket is accessible to its user only, and a connection of another user is refused where the system tells whose it is.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archive.errors import ArchiveError, QueryRefused
from archive.query.server import SocketServer
from archive.query.wire import WireError, connected, receive, send, socket_path
from prepare.command_line import command as command_line

MOST_BYTES = 4 * 2**20
"""Of a command: a candidate of the user's own travels in it."""

_SUFFIX = ".steer.sock"
_SECONDS = 60.0
"""For an answer: the search obeys between two landings of evaluations, and at least four times a second."""

Obey = Callable[[Mapping[str, Any]], str]
"""Follow a command. Return what was done in words. Raises ArchiveError with the reason for a refusal."""


class SteeringServer(SocketServer):
    """Passes the commands of its own user to a search, until ``close``."""

    purpose = "steering"
    most_bytes = MOST_BYTES

    def __init__(self, archive: Path, obey: Obey) -> None:
        """Start listening beside the file ``archive``. Raises ArchiveError if the socket cannot be made."""
        self._obey = obey
        super().__init__(socket_path(archive, _SUFFIX))

    def _admits(self, client: socket.socket) -> bool:
        return _user_of(client) in (None, os.geteuid())

    def _answer(self, question: Any) -> dict[str, Any]:
        try:
            if not isinstance(question, Mapping):
                raise QueryRefused("the command is not understood; do both sides run the same version?")
            return {"done": self._obey(question)}
        except ArchiveError as error:
            return {"error": type(error).__name__, "message": str(error)}


def steer(archive: Path, order: Mapping[str, Any]) -> str:
    """Send a command to the search that has ``archive`` open. Return what was done, in words.

    Raises QueryRefused if the search does not follow it, ArchiveError if none is running.
    """
    connection = connected(socket_path(archive, _SUFFIX), _SECONDS)
    if connection is None:
        raise ArchiveError(
            f"no search of this user is running on {archive}; start or resume one: {command_line('search')} run=NAME"
        )
    deadline = time.monotonic() + _SECONDS
    with connection:
        try:
            send(connection, order, deadline)
            answer = receive(connection, MOST_BYTES, deadline)
        except WireError as error:
            words = f"the search gave no answer ({error}); look at its events before you repeat the command"
            raise ArchiveError(words) from error
    match answer:
        case {"done": str(words)}:
            return words
        case {"message": str(message)}:
            raise QueryRefused(message)
        case _:
            raise ArchiveError("the search's answer is not understood; do both sides run the same version?")


def _user_of(client: socket.socket) -> int | None:
    """Return the user id of the process at the other end; None where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return int(user)
