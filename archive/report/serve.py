"""``python -m archive serve``: the report, live, in a browser on this machine (extra ``[web]``).

It reads the archive like any reader, also while a search writes, and the page updates itself. Its buttons steer the
running search through that search's socket. It listens on 127.0.0.1 only, behind a secret (``app.py``).
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from functools import partial

from archive.errors import ArchiveError
from archive.query.query import ArchiveReader
from archive.query.steer import steer


def serve(reader: ArchiveReader, run: str | None, port: int, announce: Callable[[str], None]) -> None:
    """Announce the address and serve until Ctrl-C. ``port`` 0: any that is free. Raises ArchiveError."""
    try:
        import uvicorn

        from archive.report.app import HOST, Board, make_app
    except ImportError as error:
        raise ArchiveError(f"serve needs two packages more ({error}): pip install 'treewright[web]'") from error
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        bound = _listen(door, HOST, port)
        token = secrets.token_urlsafe(24)
        app = make_app(Board(reader, run), token, bound, partial(steer, reader.path))
        announce(f"http://{HOST}:{bound}/{token}/")
        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[door])


def announce(address: str) -> None:
    """Print the address, and who may know it."""
    print(address, flush=True)
    print(
        "Keep the address secret: who has it can read the archive and steer the search. Ctrl-C ends the server.",
        flush=True,
    )


def _listen(door: socket.socket, host: str, port: int) -> int:
    """Accept connections from here on; return the port. Raises ArchiveError."""
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        door.bind((host, port))
        door.listen(64)
    except OSError as error:
        raise ArchiveError(f"port {port} of {host} cannot be used: {error.strerror}; try another --port") from error
    return int(door.getsockname()[1])
