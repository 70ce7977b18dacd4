"""The protocol between a reader and a running search: JSON messages behind a length of four bytes.

    question  {"sql": ..., "parameters": [...], "seconds": ...}
    answer    {"columns": [...], "types": [...], "rows": [[...], ...], "truncated": false}
    or        {"error": "QueryError" | "QueryRefused" | ..., "message": ...}

JSON has fewer types than DuckDB: the others travel as {"$": type, "v": value}, so that a query has the same answer from
the socket as from the file. No message can run code (no pickle).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from archive.errors import ArchiveError

T = TypeVar("T")

_LENGTH_BYTES = 4
_MOST_PATH_BYTES = 107
_MOST_NAME_BYTES = 80


class WireError(ArchiveError):
    """The peer hung up, was too slow, or sent no valid message."""


# ---------------------------------------------------------------- where


def socket_path(archive: Path, suffix: str = ".sock") -> Path:
    """Return the socket beside an archive file: ``<file>.sock``, or a short name where that would be too long."""
    name = f"{archive.name}{suffix}"
    if len(os.fsencode(name)) > _MOST_NAME_BYTES:
        name = f".{sha256(os.fsencode(archive.name)).hexdigest()[:24]}{suffix}"
    return archive.with_name(name)


def connected(path: Path, seconds: float) -> socket.socket | None:
    """Connect to a socket of a search; None if none listens there, or not to this user. Raises ArchiveError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(seconds)
    try:
        with short_address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError, PermissionError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise ArchiveError(f"cannot reach the search at {path}: {error}") from error
    return connection


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield a name for ``path`` that fits into a socket address (107 bytes), valid inside the block.

    A longer one goes through the folder's entry in /proc, which Linux has. Raises ArchiveError elsewhere.
    """
    if len(os.fsencode(path)) <= _MOST_PATH_BYTES:
        yield str(path)
        return
    if not sys.platform.startswith("linux"):
        raise ArchiveError(f"the path of the socket is longer than this system allows: {path}; use a shorter one")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# ---------------------------------------------------------------- messages


def send(connection: socket.socket, message: object, deadline: float) -> None:
    """Send one message before ``deadline`` (of ``time.monotonic``). Raises WireError."""
    body = json.dumps(message).encode()
    view = memoryview(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
    while view:
        view = view[_in_time(connection, deadline, partial(connection.send, view)) :]


def receive(connection: socket.socket, most_bytes: int, deadline: float) -> Any:
    """Receive one message of at most ``most_bytes`` before ``deadline``. Raises WireError."""
    length = int.from_bytes(_exactly(connection, _LENGTH_BYTES, deadline), "big")
    if length > most_bytes:
        raise WireError(f"a message of {length:,} bytes came where at most {most_bytes:,} are taken")
    try:
        return json.loads(_exactly(connection, length, deadline))
    except (ValueError, RecursionError) as error:
        raise WireError("a message came that is no JSON") from error


def _exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        wanted = min(count - len(parts), 2**20)
        part = _in_time(connection, deadline, partial(connection.recv, wanted))
        if not part:
            raise WireError("the other side hung up")
        parts += part
    return bytes(parts)


def _in_time(connection: socket.socket, deadline: float, act: Callable[[], T]) -> T:
    left = deadline - time.monotonic()
    if left <= 0:
        raise WireError("the other side was too slow")
    connection.settimeout(left)
    try:
        return act()
    except TimeoutError as error:
        raise WireError("the other side was too slow") from error
    except OSError as error:
        raise WireError(f"the connection broke: {error}") from error


# ---------------------------------------------------------------- values

_TO_TEXT: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    clock_time: ("time", clock_time.isoformat),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("decimal", str),
    uuid.UUID: ("uuid", str),
    bytes: ("bytes", bytes.hex),
}
_FROM_TEXT: dict[str, Callable[[Any], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": clock_time.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "decimal": Decimal,
    "uuid": uuid.UUID,
    "bytes": bytes.fromhex,
    "tuple": lambda value: tuple(decoded(item) for item in value),
    "dict": lambda value: {decoded(key): decoded(item) for key, item in value},
}


def encoded(value: Any) -> Any:
    """Encode a value of a row for JSON. Unknown types become their text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, tuple):
        return {"$": "tuple", "v": [encoded(item) for item in value]}
    if isinstance(value, dict):
        return {"$": "dict", "v": [[encoded(key), encoded(item)] for key, item in value.items()]}
    name, write = _TO_TEXT.get(type(value), ("", str))
    return {"$": name, "v": write(value)} if name else write(value)


def decoded(value: Any) -> Any:
    """Decode a value of ``encoded``. Raises WireError for anything else."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        return _FROM_TEXT[value["$"]](value["v"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise WireError("an answer came that cannot be read; do both sides run the same version?") from error
