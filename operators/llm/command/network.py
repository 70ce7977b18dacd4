"""The network of a program in its sandbox: CONNECT to listed hosts, through a proxy of this process.

The sandbox has no network but its own loopback device. ``bridge.py`` listens there and passes connections to a socket
file, at whose other end ``Proxy`` opens connections to the listed hosts and to no other address. What is sent there is
encrypted between the program and its service.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

_LONGEST_HEAD = 16_384
_CONNECT_SECONDS = 20.0
_MOST_REFUSED = 20
DEFAULT_PORT = 443


class Proxy:
    """Listens at a socket file. Use as a context manager: on leaving, all connections are closed."""

    def __init__(self, path: Path, hosts: Sequence[str]) -> None:
        """``hosts``: ``name`` (port 443) or ``name:port``."""
        self._allowed = {_address(host) for host in hosts}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self.refused: list[str] = []
        """Addresses that were asked for and are not listed."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            connections = [self._listener, *self._open]
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            if self._keep(client):
                threading.Thread(target=self._serve, args=(client,), daemon=True, name="proxy").start()

    def _keep(self, connection: socket.socket) -> bool:
        """Close this connection with the others at the end; at once if that has been."""
        with self._lock:
            if not self._closed:
                self._open.add(connection)
                return True
        connection.close()
        return False

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                client.settimeout(_CONNECT_SECONDS)
                target = _target(_head(client))
                if target is None:
                    client.sendall(b"HTTP/1.1 405 Only CONNECT\r\nConnection: close\r\n\r\n")
                elif target not in self._allowed:
                    self._refuse(client, f"{target[0]}:{target[1]}")
                else:
                    self._tunnel(client, target)
        finally:
            self._drop(client)

    def _refuse(self, client: socket.socket, address: str) -> None:
        with self._lock:
            if address not in self.refused and len(self.refused) < _MOST_REFUSED:
                self.refused.append(address)
        client.sendall(b"HTTP/1.1 403 Not among llm.hosts\r\nConnection: close\r\n\r\n")

    def _tunnel(self, client: socket.socket, target: tuple[str, int]) -> None:
        try:
            server = socket.create_connection(target, _CONNECT_SECONDS)
        except OSError:
            client.sendall(b"HTTP/1.1 502 Unreachable\r\nConnection: close\r\n\r\n")
            return
        if not self._keep(server):
            return
        try:
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            for end in (client, server):
                end.settimeout(None)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True, name="proxy")
            back.start()
            _copy(client, server)
            back.join()
        finally:
            self._drop(server)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass on bytes until the source ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _head(client: socket.socket) -> bytes:
    """Return the head of a request; what is empty or too long is no request."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(4096)
        head += data
        if not data or len(head) > _LONGEST_HEAD:
            return b""
    return head


def _target(head: bytes) -> tuple[str, int] | None:
    """Return the address that a CONNECT request names; None for another request."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split()
    if len(words) != 3 or words[0] != "CONNECT":
        return None
    try:
        return _address(words[1])
    except ValueError:
        return None


def _address(text: str) -> tuple[str, int]:
    """Split ``name:port``. Raises ValueError if it is no address."""
    name, colon, port = text.rpartition(":")
    if not colon:
        name, port = text, str(DEFAULT_PORT)
    if not name or not port.isdigit() or "/" in name:
        raise ValueError(f"{text!r} is no host; expected a name such as api.example.com, or name:port")
    return name.strip("[]").lower(), int(port)


def check_hosts(hosts: Sequence[str]) -> Sequence[str]:
    """Return the hosts. Raises ValueError for what is none."""
    for host in hosts:
        try:
            _address(host)
        except ValueError as error:
            raise ValueError(f"llm.hosts: {error}") from None
    return hosts
