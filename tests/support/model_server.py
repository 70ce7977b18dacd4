"""A local server that takes the part of a language model's service: what it says to each request is up to the test.

``messages_api.py`` speaks Anthropic's Messages API with it, ``openai_api.py`` OpenAI's chat completions. Unless told
otherwise its answers are edits that apply to any program with a line ``import math``, no two alike.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

TOKENS_IN, TOKENS_OUT = 3_000, 700

Quality = Literal["edit", "unusable", "refusal"]
"""Of an answer: an edit that applies; one that does not, nor does its repair; the model declines."""


@dataclass(frozen=True)
class Say:
    """An answer. ``text`` None: an edit that applies, another one each time."""

    text: str | None = None
    stop: Literal["end", "refusal", "length"] = "end"
    counted: bool = True
    """Whether the tokens are named."""
    cut: bool = False
    """The connection breaks in the middle."""
    trickle: float = 0.0
    """Seconds between the pieces of a streamed answer."""


@dataclass(frozen=True)
class Fail:
    """An error in the words of the API. Inside a stream that has begun if ``status`` is 200."""

    status: int
    kind: str = "api_error"
    message: str = "as it is"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """These bytes. None: the connection is closed without a word."""

    body: bytes | None
    status: int = 200
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Nothing, until the client has gone or the server is closed."""


Act = Say | Fail | Raw | Hang


@dataclass
class ModelServer(ABC):
    """A context manager. Threads of it answer at the same time."""

    act: Callable[[int], Act] = lambda number: Say()
    """What to do with the request of that number, counted from 1."""
    latency: float | Callable[[int], float] = 0.0
    """Seconds before an answer, or before the one of that number."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the requests for an answer."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of all requests, names in lower case."""
    listing: Act | None = None
    """What to say when the client asks for models; None for that they are there."""
    url: str = ""

    def __enter__(self) -> Self:
        self._closing, self._lock = threading.Event(), threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    @abstractmethod
    def whole(self, say: Say, text: str, number: int) -> dict[str, Any]:
        """The answer as one JSON object."""

    @abstractmethod
    def pieces(self, say: Say, text: str, number: int) -> list[bytes]:
        """The answer as server-sent events."""

    @abstractmethod
    def failure(self, fail: Fail) -> dict[str, Any]:
        """The body of an error."""

    @abstractmethod
    def begun(self, fail: Fail, number: int) -> list[bytes]:
        """An error in the middle of a stream."""

    @abstractmethod
    def models(self) -> dict[str, Any]:
        """What is said when the client asks for models."""

    def took(self, body: dict[str, Any]) -> int:
        with self._lock:
            self.asked.append(body)
            return len(self.asked)

    def text(self, say: Say, number: int) -> str:
        return an_edit(number) if say.text is None else say.text

    def wait(self, seconds: float) -> None:
        self._closing.wait(seconds)


def an_edit(number: int, searched: str = "import math") -> str:
    """An answer that makes another program of any that has a line ``import math``."""
    return (
        f"IDEA: remember the number {number}\n\n"
        f"<<<<<<< SEARCH\n{searched}\n=======\nimport math\n\nTRIED_{number} = {number}\n>>>>>>> REPLACE\n"
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, model: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is nothing to print."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def model(self) -> ModelServer:
        return self.server.model

    def do_GET(self) -> None:
        self.model.headers.append({name.lower(): value for name, value in self.headers.items()})
        self._act(self.model.listing or Raw(json.dumps(self.model.models()).encode()), 0, stream=False)

    def do_POST(self) -> None:
        self.model.headers.append({name.lower(): value for name, value in self.headers.items()})
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = self.model.took(body)
        latency = self.model.latency
        time.sleep(latency if isinstance(latency, (int, float)) else latency(number))
        self._act(self.model.act(number), number, stream=bool(body.get("stream")))

    def _act(self, act: Act, number: int, stream: bool) -> None:
        match act:
            case Hang():
                self.model.wait(30)
                self.close_connection = True
            case Raw(body=None):
                self.close_connection = True
            case Raw(body=bytes(body)):
                self._say([body], act.status, act.kind, act.headers, len(body))
            case Fail(status=200):
                self._say(self.model.begun(act, number), 200, "text/event-stream", {}, None)
            case Fail():
                raw = json.dumps(self.model.failure(act)).encode()
                self._say([raw], act.status, "application/json", act.headers, len(raw))
            case Say():
                self._answer(act, number, stream)

    def _answer(self, say: Say, number: int, stream: bool) -> None:
        text = self.model.text(say, number)
        if stream:
            pieces = self.model.pieces(say, text, number)
            self._say(pieces[: len(pieces) // 2] if say.cut else pieces, 200, "text/event-stream", {}, None, say)
        else:
            raw = json.dumps(self.model.whole(say, text, number)).encode()
            self._say([raw[: len(raw) // 2] if say.cut else raw], 200, "application/json", {}, len(raw))

    def _say(
        self,
        pieces: list[bytes],
        status: int,
        kind: str,
        headers: Mapping[str, str],
        length: int | None,
        say: Say | None = None,
    ) -> None:
        """``length``: None for chunks, which end with a mark unless they are cut off."""
        self.send_response(status)
        self.send_header("content-type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        chunked = length is None
        self.send_header(*(("transfer-encoding", "chunked") if chunked else ("content-length", str(length))))
        try:
            self.end_headers()
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
                self.wfile.flush()
                self.model.wait(say.trickle if say else 0.0)
            if chunked and not (say and say.cut):
                self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client has gone
            self.close_connection = True
        if (say and say.cut) or (length is not None and length > sum(map(len, pieces))):
            self.close_connection = True

    def log_message(self, *args: object) -> None: ...
