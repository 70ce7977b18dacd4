"""A local server that speaks the Messages API: for whole searches whose model costs nothing.

Its answers are edits that apply to any program with a line ``import math``, no two alike, and are billed as usual.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

TOKENS_IN, TOKENS_OUT = 3_000, 700
MODEL = "claude-sonnet-5-5"


Quality = Literal["edit", "unusable", "refusal"]
"""Of an answer: an edit that applies; one that does not, nor does its repair; the model declines."""


@dataclass
class MessagesApi:
    """A context manager. ``status`` other than 200 is the answer to everything."""

    status: int = 200
    latency: float | Callable[[int], float] = 0.0
    """Seconds before an answer, or before the one of that number."""
    quality: Callable[[int], Quality] = lambda number: "edit"
    """How the answer of that number turns out."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the requests for a message."""
    url: str = ""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def message(self, number: int) -> dict[str, Any]:
        quality = self.quality(number)
        searched = "import math" if quality == "edit" else "this line is not there"
        text = (
            f"IDEA: remember the number {number}\n\n"
            f"<<<<<<< SEARCH\n{searched}\n=======\nimport math\n\nTRIED_{number} = {number}\n>>>>>>> REPLACE\n"
        )
        usage = {"input_tokens": TOKENS_IN, "output_tokens": TOKENS_OUT}
        content = [{"type": "text", "text": text}]
        about = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": MODEL}
        stop = "refusal" if quality == "refusal" else "end_turn"
        return {**about, "stop_reason": stop, "content": content, "usage": usage}


def _handler(api: MessagesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {"id": MODEL, "type": "model", "display_name": "x", "created_at": "2026-09-28T00:00:00Z"}
            self._say(found)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.asked.append(body)
            number = len(api.asked)
            time.sleep(api.latency if isinstance(api.latency, (int, float)) else api.latency(number))
            self._say(api.message(number))

        def _say(self, said: dict[str, Any]) -> None:
            if api.status != 200:
                said = {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
            raw = json.dumps(said).encode()
            self.send_response(api.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: object) -> None: ...

    return Handler
