"""The evaluations of ``peers.py``: a local service that scores programs for the peers, counts them and keeps a record.

All peers are scored by the same code in processes of this benchmark, so that what they use is their own. An evaluation
after the last that is allowed fails. Treewright scores in its own sandboxes instead.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from peers_tasks import peer_task

CPU_SECONDS = 30.0
"""Of one evaluation."""


@dataclass(frozen=True)
class Entry:
    """One evaluation: the program, its score (None: it failed) and when it ended."""

    program: str
    score: float | None
    at: float


def evaluated(name: str, seed: int, program: str, number: int) -> tuple[float | None, str]:
    """Return a program's score, or None with the reason. Runs in a process of its own, by its main thread."""

    def ended(*_: object) -> None:
        raise TimeoutError(f"more than {CPU_SECONDS:g} CPU seconds")

    signal.signal(signal.SIGPROF, ended)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return peer_task(name, seed).score(program, number), ""
    except Exception as error:  # noqa: BLE001 - whatever the program raises is its failure, and is said to the peer
        return None, f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def pool(slots: int) -> ProcessPoolExecutor:
    """Return the processes that evaluate, warm; they serve many searches."""
    processes = ProcessPoolExecutor(slots, mp_context=multiprocessing.get_context("spawn"))
    list(processes.map(warmed, range(slots)))
    return processes


def warmed(number: int) -> None:
    """Import what evaluations need, and hold the process until the others have begun."""
    evaluated("noisy", number, "", 0)
    time.sleep(0.2)


@dataclass
class Evaluations:
    """The service for one search: ``with Evaluations(...) as service``."""

    name: str
    seed: int
    allowed: int
    processes: ProcessPoolExecutor
    pause: float = 0.0
    """Seconds that each evaluation takes beside its computing."""
    entries: list[Entry] = field(default_factory=list)
    url: str = ""
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Evaluations:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                raw = json.dumps(service.evaluate(body["program"])).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def evaluate(self, program: str) -> dict[str, Any]:
        with self.lock:
            number, self.begun = self.begun, self.begun + 1
        if number >= self.allowed:
            return {"error": "no evaluation is left"}
        time.sleep(self.pause)
        score, reason = self.processes.submit(evaluated, self.name, self.seed, program, number).result()
        with self.lock:
            self.entries.append(Entry(program, score, time.time()))
        return {"error": reason} if score is None else {"score": score}
