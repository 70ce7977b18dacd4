"""An online index of literature, played by a local server: what it says counts, its silence decides nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from archive.paper.literature import Publication
from archive.paper.novelty import available
from archive.research_ideas import ResearchIdea
from prepare.config import SettingsError
from search.cli.ideas import LiteratureStore
from search.study.online import found_online, index_of

OPENALEX = {
    "results": [
        {"title": "Cosine decay of learning rates", "abstract_inverted_index": {"rates": [1], "Learning": [0]}},
        {"title": None, "abstract_inverted_index": None},
    ]
}
SCHOLAR = {"total": 1, "data": [{"title": "Cosine decay of learning rates", "abstract": None}]}
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server on a free port, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def saying(body: bytes, status: int = 200) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(("name", "body"), [("openalex", OPENALEX), ("semanticscholar", SCHOLAR)])
def test_titles_and_abstracts_are_asked_for_once(tmp_path: Path, name: str, body: Any) -> None:
    with serving(saying(json.dumps(body).encode())) as (url, asked):
        first, second = (found_online(index_of(f"{name}={url}"), "Cosine & decay", 60, tmp_path) for _ in range(2))
    assert first is not None
    assert first == second
    assert [each.place for each in first] == [f"{name}: Cosine decay of learning rates"]
    assert ("Learning rates" in first[0].text) == (name == "openalex")
    (path,) = asked
    assert "Cosine & decay" in [values[0] for values in parse_qs(urlparse(path).query).values()]


def test_no_results_are_an_answer(tmp_path: Path) -> None:
    for name, body in (("openalex", {"results": []}), ("semanticscholar", {"total": 0})):
        with serving(saying(json.dumps(body).encode())) as (url, _):
            assert found_online(index_of(f"{name}={url}"), "x", 60, tmp_path) == ()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b'{"results": []}'), (503, b""), (404, b"{}"), (200, b"<html>"), (200, b"[]"), (200, b'{"results": 3}'),
        (200, b'{"results": ["x"]}'), (200, b"\xff"), (200, b"[" * 100_000), (200, b" " * 5_000_000),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_silence_and_is_not_kept(tmp_path: Path, status: int, body: bytes) -> None:
    with serving(saying(body, status)) as (url, asked):
        for _ in range(2):
            assert found_online(index_of(f"openalex={url}"), "x", 60, tmp_path) is None
    assert len(asked) == 2


def test_a_server_that_hangs_is_silent_after_the_deadline(tmp_path: Path) -> None:
    over = threading.Event()
    with serving(lambda handler: over.wait(60)) as (url, asked):
        assert found_online(index_of(f"openalex={url}"), "x", 0.5, tmp_path) is None
        over.set()
    assert len(asked) <= 1


def test_an_index_that_stays_silent_is_not_asked_for_every_idea(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path))
    with serving(saying(b"", 503)) as (url, asked):
        store = LiteratureStore((), index_of(f"openalex={url}"), 60)
        found = {
            store.judged(ResearchIdea(f"n{n}", f"Title {n}", "h", "e", "x", "r", 5, 5, "undecided", "m"), ()).novelty
            for n in range(9)
        }
    assert found == {"undecided"}
    assert len(asked) == len(store.silences) == 3


def test_nobody_at_the_address_is_silence(tmp_path: Path) -> None:
    with serving(saying(b"")) as (url, _):
        pass
    assert found_online(index_of(f"openalex={url}"), "x", 60, tmp_path) is None


@pytest.mark.parametrize("text", ["google", "openalex=ftp://x", "=http://x", ""])
def test_an_unknown_index_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected one of openalex, semanticscholar"):
        index_of(text)


@pytest.mark.skipif(not available(), reason="no bm25s here")
@pytest.mark.parametrize(
    ("status", "body", "novelty"),
    [
        (200, OPENALEX, "known"),
        (200, {"results": [{"title": "Bread and butter", "abstract_inverted_index": None}]}, "novel"),
        (429, {}, "undecided"),
    ],
)
def test_silence_is_never_novel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, novelty: str
) -> None:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path))
    idea = ResearchIdea(
        "n", "Cosine decay of learning rates", "Cosine decay of learning rates helps.", "e", "x", "r", 5, 5,
        "undecided", "archive",
    )  # fmt: skip
    local = (Publication("a", "Something else entirely about bread"),)
    with serving(saying(json.dumps(body).encode(), status)) as (url, _):
        store = LiteratureStore(local, index_of(f"openalex={url}"), 60)
        assert store.judged(idea, ()).novelty == novelty
