"""The application of the live report: its data, and one answer per address.

Every address contains a secret token made at the start, since the machine may have other users; a request that names
another host is refused, so that no other web page can reach it by DNS rebinding. Needs the extra ``[web]``.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from archive.errors import ArchiveError, QueryError
from archive.query.query import Reader
from archive.query.questions import which_run
from archive.query.steer import MOST_BYTES, Obey
from archive.query.tables import plain
from archive.report.details import details
from archive.report.facts import gather
from archive.report.page import live_page, policy
from archive.report.parts import Analysis, installed_analyses, part

HOST = "127.0.0.1"
"""The only address that is listened on."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": policy("'self'") + "; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NOWHERE = "There is nothing at this address. Use the one that was printed.\n"

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


def make_app(board: Board, token: str, port: int, obey: Obey) -> Starlette:
    """Return the application; anything but its addresses gets 404.

    ``/TOKEN/``, ``/TOKEN/facts``, ``/TOKEN/node/ID``, ``/TOKEN/part/NAME``, and ``/TOKEN/steer`` for commands, which
    ``obey`` passes on.
    """
    door = _Door(token, port)
    app = Starlette(
        routes=[*_readings(board, door), Route("/{token}/steer", _commands(obey, door), methods=["POST"])],
        exception_handlers={404: lambda request, error: _nothing(), 405: lambda request, error: _nothing()},
    )
    app.router.redirect_slashes = False  # a redirect would confirm the token and name the requested host
    return app


class _Door:
    """Lets the requests in that have the token and name this host."""

    def __init__(self, token: str, port: int) -> None:
        self._token = token.encode()
        self._hosts = {f"{name}:{port}" for name in (HOST, "localhost")}

    def admits(self, request: Request) -> bool:
        told = str(request.path_params["token"]).encode("utf-8", "replace")
        return request.headers.get("host", "").lower() in self._hosts and hmac.compare_digest(told, self._token)

    def guarded(self, answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """Return the endpoint of an answer, which is made in a thread of its own."""

        async def respond(request: Request) -> Response:
            if not self.admits(request):
                return _nothing()
            try:
                return await run_in_threadpool(answer, request)
            except QueryError as error:
                return PlainTextResponse(f"{error}\n", 404, _HEADERS)
            except ArchiveError as error:
                return PlainTextResponse(f"{error}\n", 503, _HEADERS)

        return respond


def _readings(board: Board, door: _Door) -> list[Route]:
    """Return the routes that read: the page, and its data."""
    page = live_page()

    def facts(request: Request) -> Response:
        found = board.facts(request.query_params.get("since"), request.query_params.get("run"))
        return Response(status_code=204, headers=_HEADERS) if found is None else _found(found)

    def node(request: Request) -> Response:
        return _found(board.node(str(request.path_params["node"])))

    def part_of(request: Request) -> Response:
        return _found(board.part(str(request.path_params["name"]), request.query_params.get("run")))

    return [
        Route("/{token}/", door.guarded(lambda request: HTMLResponse(page, 200, _HEADERS))),
        Route("/{token}/facts", door.guarded(facts)),
        Route("/{token}/node/{node}", door.guarded(node)),
        Route("/{token}/part/{name}", door.guarded(part_of)),
    ]


def _commands(obey: Obey, door: _Door) -> Callable[[Request], Any]:
    """Return the endpoint for commands to the running search."""

    async def order(request: Request) -> Response:
        if not door.admits(request):
            return _nothing()
        try:
            done = await run_in_threadpool(obey, await _order(request))
        except ArchiveError as error:
            return JSONResponse({"message": str(error)}, 409, _HEADERS)
        return JSONResponse({"done": done}, 200, _HEADERS)

    return order


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


def _nothing() -> Response:
    return PlainTextResponse(_NOWHERE, 404, _HEADERS)


def _found(value: Any) -> Response:
    return _nothing() if value is None else JSONResponse(_finite(value), 200, _HEADERS)


def _finite(value: Any) -> Any:
    """Replace infinities, which JSON lacks, by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return plain(value)
