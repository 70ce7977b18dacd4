"""A small HTTP server for files, which can be told to behave badly: for tests of downloads."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Behaviour:
    """How one request is answered."""

    status: int | None = None
    """Answered instead of the file."""
    send: int | None = None
    """Bytes after which the connection is dropped."""
    claim: int | None = None
    """A length that is said instead of the true one."""
    ignore_range: bool = False
    """The whole file, with 200, whatever was asked for."""
    wrong_range: bool = False
    """206, and a Content-Range that is not what was asked for."""
    etag: str | None = None
    """Said instead of the true one; empty: none at all."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Files:
    """What is served: path -> bytes, and what was asked so far."""

    contents: dict[str, bytes]
    behave: Callable[[int], Behaviour] = lambda number: Behaviour()
    """The behaviour for each request, counted from 0."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range) of each request."""
    url: str = ""
    store: bool = False
    """Send requests on to a store of large files, as Hugging Face does: the redirect states the SHA-256, and the store
    has an ETag that is another hash."""


@contextmanager
def serving(files: Files) -> Iterator[Files]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour = files.behave(len(files.asked))
            files.asked.append((self.path, self.headers.get("Range")))
            answer(self, files, behaviour)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    files.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, files: Files, behaviour: Behaviour) -> None:
    stored = request.path.startswith("/store/")
    content = files.contents.get(request.path.removeprefix("/store").lstrip("/"))
    if behaviour.status is not None or content is None:
        request.send_response(behaviour.status or 404)
        for name, value in behaviour.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    sha = f'"{hashlib.sha256(content).hexdigest()}"'
    if files.store and not stored:
        request.send_response(302)
        request.send_header("Location", f"/store{request.path}")
        request.send_header("X-Linked-ETag", sha)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    own = f'"{hashlib.sha256(b"of the store" + content).hexdigest()}"' if stored else sha
    etag = own if behaviour.etag is None else behaviour.etag
    asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
    fits = request.headers.get("If-Range") in (None, etag)
    begin = int(asked[1]) if asked and fits and not behaviour.ignore_range else 0
    if begin >= len(content):
        request.send_response(416)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    rest = content[begin:]
    request.send_response(206 if begin else 200)
    if begin:
        stated = 0 if behaviour.wrong_range else begin
        request.send_header("Content-Range", f"bytes {stated}-{len(content) - 1}/{len(content)}")
    request.send_header("Content-Length", str(len(rest) if behaviour.claim is None else behaviour.claim))
    if etag:
        request.send_header("ETag", etag)
    if etag == sha:
        request.send_header("X-Linked-ETag", sha)
    request.end_headers()
    request.wfile.write(rest if behaviour.send is None else rest[: behaviour.send])
    request.close_connection = True
