"""Unix sockets of a running search: read-only SQL, while it has the archive open and locks out other processes.

    with Archive.open(path) as archive, SqlServer(archive):
        ...                                     # python -m archive "SELECT ..." works meanwhile

The socket lies beside the file and is accessible to its user only. Each query gets a thread, a cursor on the same
database and a deadline; a slow, silent or malformed client costs its own time only. The writer never waits for readers.
Continuous queries get a quarter of the time, all clients together: the cores are for the search. The socket's
neighbour, through which the search is steered, is ``archive/query/steer.py``.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from archive.errors import ArchiveError, QueryError
from archive.query.select import MOST_ROWS, SECONDS, run_select
from archive.query.wire import WireError, decoded, encoded, receive, send, short_address, socket_path
from archive.storage.store import Archive

_MOST_CLIENTS = 8
_MOST_QUESTION_BYTES = 2**20
_PATIENCE = 5.0
"""Seconds for a client to send its question."""

_SENDING = 30.0
"""Seconds for a client to take its answer."""

_MOST_SECONDS = 60.0
"""For one query, whatever the client asks for."""

_REST = 3.0
"""After a query, the search has its cores to itself this many times as long before the next one begins."""

_LONGEST_REST = 5.0


class SocketServer(ABC):
    """Answers one message a connection on a socket of its user's own, until ``close``."""

    purpose: str
    """What the socket is for, in error messages."""
    most_bytes = _MOST_QUESTION_BYTES
    """Of a question."""

    def __init__(self, path: Path, patience: float = _PATIENCE) -> None:
        """Start listening on ``path``. Raises ArchiveError if the socket cannot be made."""
        self.path = path
        self._patience = patience
        self._lock = threading.Lock()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._closed = False
        self._closing = threading.Event()
        self._listener, self._inode = self._listen()
        self._thread = threading.Thread(target=self._accept, name=f"archive-{self.purpose}", daemon=True)
        self._thread.start()

    def _admits(self, client: socket.socket) -> bool:
        """Return whether this client may ask: all that the socket's permissions let connect."""
        return True

    @abstractmethod
    def _answer(self, question: Any) -> dict[str, Any]:
        """Return the answer to a message, which may be any JSON."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, close all connections, and remove the socket. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._closing.set()
            clients = dict(self._clients)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(FileNotFoundError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        for client in clients:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._thread.join(self._patience)

    def _listen(self) -> tuple[socket.socket, int]:
        """Create a socket that other users cannot use at any moment: its permissions are set before it listens."""
        self._remove_stale()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_address(self.path) as address:
                listener.bind(address)
            os.chmod(self.path, 0o600)
            listener.listen(_MOST_CLIENTS)
            return listener, self.path.lstat().st_ino
        except OSError as error:
            listener.close()
            raise ArchiveError(f"cannot serve {self.purpose} on {self.path}: {error}") from error

    def _remove_stale(self) -> None:
        """Remove an existing socket: a dead process left it, since this one holds the archive's lock."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise ArchiveError(f"{self.path} is in the way of the archive's socket; move it away")
            self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(0.1)  # out of file descriptors, say: that passes
                continue
            name = f"archive-{self.purpose}-client"
            thread = threading.Thread(target=self._serve, args=(client,), name=name, daemon=True)
            with self._lock:
                admitted = not self._closed and len(self._clients) < _MOST_CLIENTS
                if admitted:
                    self._clients[client] = thread
            if admitted:
                thread.start()
            else:
                self._send_off(client)

    def _send_off(self, client: socket.socket) -> None:
        busy = {"error": "QueryError", "message": f"the search answers {_MOST_CLIENTS} queries already; try again"}
        with client, suppress(WireError):
            deadline = time.monotonic() + 0.1
            receive(client, self.most_bytes, deadline)  # an unread question would take the answer with it
            send(client, busy, deadline)

    def _serve(self, client: socket.socket) -> None:
        try:
            if not self._admits(client):
                return
            question = receive(client, self.most_bytes, time.monotonic() + self._patience)
            answer = self._answer(question)
            send(client, answer, time.monotonic() + _SENDING)
        except WireError:
            return  # the client is gone or sent no valid request: no answer is possible
        finally:
            with self._lock:
                self._clients.pop(client, None)
            client.close()


class SqlServer(SocketServer):
    """Serves an open archive until ``close``, which comes before closing the archive."""

    purpose = "SQL"

    def __init__(self, archive: Archive, *, most_rows: int = MOST_ROWS, patience: float = _PATIENCE) -> None:
        """Start listening. Raises ArchiveError if the socket cannot be made."""
        self._archive = archive
        self._most_rows = most_rows
        self._free_at = 0.0  # time.monotonic() from which the next query may begin
        super().__init__(socket_path(archive.path), patience)

    def _answer(self, question: Any) -> dict[str, Any]:
        try:
            sql, parameters, seconds = _understood(question)
            with self._paced(), self._archive.reading() as cursor:
                result = run_select(cursor, sql, parameters, seconds=seconds, most_rows=self._most_rows)
        except ArchiveError as error:
            return {"error": type(error).__name__, "message": str(error)}
        rows = [[encoded(value) for value in row] for row in result.rows]
        return {
            "columns": list(result.columns), "types": list(result.types), "rows": rows, "truncated": result.truncated,
        }  # fmt: skip

    @contextmanager
    def _paced(self) -> Iterator[None]:
        """Wait for the pause after earlier queries; the time spent inside sets the next pause."""
        while (rest := self._free_at - time.monotonic()) > 0 and not self._closing.wait(rest):
            pass
        began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                now = time.monotonic()
                rested = max(now, self._free_at) + _REST * (now - began)
                self._free_at = min(rested, now + _LONGEST_REST)


def _understood(question: Any) -> tuple[str, list[Any], float]:
    """Return (sql, parameters, seconds) of a request. Raises QueryError."""
    match question:
        case {"sql": str(sql), "parameters": list(parameters), "seconds": int() | float() as seconds}:
            limit = min(float(seconds), _MOST_SECONDS) if seconds > 0 else SECONDS
            return sql, [decoded(value) for value in parameters], limit
        case _:
            raise QueryError("the question is not understood; do both sides run the same version?")
