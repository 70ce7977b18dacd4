"""``python -m archive serve``: the report, live, in a browser on this machine (extra ``[web]``).

It reads the archive like any reader, also while a search writes, and the page updates itself. Its buttons steer the
running search through that search's socket. It listens on 127.0.0.1
only. Every address contains a secret token made at the start, since the machine may have other users; a request that
names another host is refused, so that no other web page can reach it by DNS rebinding.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from archive.errors import ArchiveError, QueryError
from archive.query.query import ArchiveReader, Reader
from archive.query.questions import which_run
from archive.query.steer import MOST_BYTES, Obey, steer
from archive.query.tables import plain
from archive.report.details import details
from archive.report.facts import gather
from archive.report.page import live_page, policy
from archive.report.parts import Analysis, installed_analyses, part

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_VERSION = """
SELECT concat_ws('/', (SELECT count(*) FROM nodes WHERE run = $1), (SELECT count(*) FROM evaluations WHERE run = $1),
                 (SELECT count(*) FROM decisions WHERE run = $1), (SELECT count(*) FROM llm_calls WHERE run = $1),
                 (SELECT count(*) FROM moves WHERE run = $1))"""


class Board:
    """The served data: the facts of a run, gathered once for each state of the archive."""

    def __init__(self, reader: Reader, run: str | None, analyses: Mapping[str, Analysis] | None = None) -> None:
        """``analyses``: further parts of the page by name (default: those that are installed)."""
        self._reader = reader
        self._analyses = installed_analyses() if analyses is None else analyses
        self._run = run
        self._lock = threading.Lock()
        self._held: tuple[str, dict[str, Any]] | None = None

    def facts(self, since: str | None, run: str | None = None) -> dict[str, Any] | None:
        """Return the facts with their ``version``; None if it still equals ``since``. Raises ArchiveError.

        ``run``: one that was chosen on the page.
        """
        with self._lock:
            run = which_run(self._reader, run or self._run)
            version = f"{run}/{self._reader.query(_VERSION, [run]).rows[0][0]}"
            if version == since:
                return None
            if self._held is None or self._held[0] != version:
                self._held = (version, {**gather(self._reader, run), "version": version})
            return self._held[1]

    def node(self, node_id: str) -> dict[str, Any] | None:
        """Return the details of a node; None if there is no such node. Raises ArchiveError."""
        if not self._reader.query("SELECT 1 FROM nodes WHERE node_id = ?", [node_id]).rows:
            return None
        sql = "SELECT parent_id FROM parents WHERE node_id = ? AND place = 0"
        above = [str(row[0]) for row in self._reader.query(sql, [node_id]).rows]
        return next(details(self._reader, [node_id, *above], [[1] if above else [], *([] for _ in above)]))

    def part(self, name: str, run: str | None) -> Any:
        """Return a part of the page; None if there is no such part. Raises ArchiveError."""
        return part(self._reader, which_run(self._reader, run or self._run), name, self._analyses)


async def _order(request: Request) -> Mapping[str, Any]:
    """Read a command of at most ``MOST_BYTES`` bytes. Raises QueryError for what is no JSON object of this page."""
    if request.headers.get("content-type") != "application/json":  # what other pages cannot send without asking first
        raise QueryError("expected a command as application/json")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise QueryError(f"the command is larger than {MOST_BYTES:,} bytes")
    try:
        order = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryError("the command is no JSON") from error
    if not isinstance(order, dict):
        raise QueryError("the command is no JSON object")
    return order


def make_app(board: Board, token: str, port: int, obey: Obey) -> Starlette:
    """Return the application; anything but its addresses gets 404.

    ``/TOKEN/``, ``/TOKEN/facts``, ``/TOKEN/node/ID``, ``/TOKEN/part/NAME``, and ``/TOKEN/steer`` for commands, which
    ``obey`` passes on.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
    from starlette.responses import Response as Plain
    from starlette.routing import Route

    hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}
    headers = {**_HEADERS, "Content-Security-Policy": f"{policy(chr(39) + 'self' + chr(39))}; frame-ancestors 'none'"}
    nothing = PlainTextResponse("There is nothing at this address. Use the one that was printed.\n", 404, headers)

    def is_ours(request: Request) -> bool:
        told = str(request.path_params["token"]).encode("utf-8", "replace")
        return request.headers.get("host", "").lower() in hosts and hmac.compare_digest(told, token.encode())

    def guarded(answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            if not is_ours(request):
                return nothing
            try:
                return await run_in_threadpool(answer, request)
            except QueryError as error:
                return PlainTextResponse(f"{error}\n", 404, headers)
            except ArchiveError as error:
                return PlainTextResponse(f"{error}\n", 503, headers)

        return respond

    def facts(request: Request) -> Response:
        found = board.facts(request.query_params.get("since"), request.query_params.get("run"))
        return Plain(status_code=204, headers=headers) if found is None else JSONResponse(_finite(found), 200, headers)

    def found_or_nothing(found: Any) -> Response:
        return nothing if found is None else JSONResponse(_finite(found), 200, headers)

    def node(request: Request) -> Response:
        return found_or_nothing(board.node(str(request.path_params["node"])))

    def part_of(request: Request) -> Response:
        return found_or_nothing(board.part(str(request.path_params["name"]), request.query_params.get("run")))

    async def order(request: Request) -> Response:
        if not is_ours(request):
            return nothing
        try:
            done = await run_in_threadpool(obey, await _order(request))
        except ArchiveError as error:
            return JSONResponse({"message": str(error)}, 409, headers)
        return JSONResponse({"done": done}, 200, headers)

    page = live_page()
    app = Starlette(
        routes=[
            Route("/{token}/", guarded(lambda request: HTMLResponse(page, 200, headers))),
            Route("/{token}/facts", guarded(facts)),
            Route("/{token}/node/{node}", guarded(node)),
            Route("/{token}/part/{name}", guarded(part_of)),
            Route("/{token}/steer", order, methods=["POST"]),
        ],
        exception_handlers={404: lambda request, error: nothing, 405: lambda request, error: nothing},
    )
    app.router.redirect_slashes = False  # a redirect would confirm the token and name the requested host
    return app


def _finite(value: Any) -> Any:
    """Replace infinities, which JSON lacks, by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return plain(value)


def serve(reader: ArchiveReader, run: str | None, port: int) -> None:
    """Print the address and serve until Ctrl-C. ``port`` 0: any that is free. Raises ArchiveError."""
    try:
        import uvicorn
    except ImportError as error:
        raise ArchiveError(f"serve needs two packages more ({error}): pip install 'treewright[web]'") from error
    door = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((_HOST, port))
            door.listen(64)  # from here on the printed address accepts connections
        except OSError as error:
            raise ArchiveError(
                f"port {port} of {_HOST} cannot be used: {error.strerror}; try another --port"
            ) from error
        token, bound = secrets.token_urlsafe(24), int(door.getsockname()[1])
        app = make_app(Board(reader, run), token, bound, partial(steer, reader.path))
        print(f"http://{_HOST}:{bound}/{token}/", flush=True)
        print(
            "Keep the address secret: who has it can read the archive and steer the search. Ctrl-C ends the server.",
            flush=True,
        )
        config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[door])
