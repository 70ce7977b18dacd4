"""The socket through which a search is steered, its command line and its address on the live page."""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from archive_sample import a_family

from archive.__main__ import main
from archive.errors import ArchiveError, QueryRefused
from archive.query import steer as module
from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.query.steer import SteeringServer, steer
from archive.query.wire import receive, send, socket_path
from archive.storage.store import Archive


class Search:
    """Keeps the commands that arrive."""

    def __init__(self) -> None:
        self.orders: list[Mapping[str, Any]] = []

    def obey(self, order: Mapping[str, Any]) -> str:
        if order["command"] == "ban":
            raise QueryRefused("not that one")
        self.orders.append(order)
        return f"did {order['command']}\x1b[31m"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
    return tmp_path / "a.duckdb"


@pytest.fixture
def running(path: Path) -> Iterator[Search]:
    search = Search()
    with Archive.open(path) as archive, SqlServer(archive), SteeringServer(archive.path, search.obey):
        yield search


def test_a_command_has_its_answer(path: Path, running: Search) -> None:
    assert steer(path, {"command": "pause"}).startswith("did pause")
    with pytest.raises(QueryRefused, match="not that one"):
        steer(path, {"command": "ban"})
    assert running.orders == [{"command": "pause"}]


def test_the_socket_is_its_users_own(path: Path, running: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    own = socket_path(path, ".steer.sock")
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    monkeypatch.setattr(module, "_user_of", lambda client: os.geteuid() + 1)
    with pytest.raises(ArchiveError, match="no answer"):
        steer(path, {"command": "pause"})
    assert running.orders == []


def test_the_system_tells_whose_a_connection_is() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        assert module._user_of(here) in (None, os.geteuid())


def test_sql_stays_read_only_and_takes_no_command(path: Path, running: Search) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(socket_path(path)))
        send(client, {"command": "pause"}, time.monotonic() + 200)
        assert "not understood" in receive(client, 2**20, time.monotonic() + 200)["message"]
    assert running.orders == []


@pytest.mark.parametrize("question", [[], "pause", None, 3])
def test_what_is_no_command_is_refused(path: Path, running: Search, question: Any) -> None:
    with pytest.raises(QueryRefused, match="not understood"):
        steer(path, question)


def test_without_a_search_there_is_nothing_to_steer(path: Path) -> None:
    with pytest.raises(ArchiveError, match="no search of this user is running"):
        steer(path, {"command": "pause"})


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("words", "order"),
    [
        (["pause"], {"command": "pause"}),
        (["stop"], {"command": "stop"}),
        (["stop", "after", "this"], {"command": "stop"}),
        (["instruct", "try it"], {"command": "instruct", "words": "try it"}),
        (["budget", "+50"], {"command": "budget", "limit": "evaluations", "added": 50}),
        (["budget", "+1.5h"], {"command": "budget", "limit": "hours", "added": 1.5}),
    ],
)
def test_the_words_of_a_command(
    path: Path, running: Search, words: list[str], order: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["steer", *words, "--archive", str(path)]) == 0
    assert running.orders == [order]
    assert "\x1b" not in capsys.readouterr().out


def test_a_node_is_named_by_the_start_of_its_id_and_files_are_read_here(
    path: Path, running: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ((node,),) = open_reader(path).query("SELECT node_id FROM nodes WHERE number = 1").rows
    (tmp_path / "mine" / "sub").mkdir(parents=True)
    (tmp_path / "mine" / "sub" / "b.py").write_text("B = 1\n")
    (tmp_path / "mine" / "a.py").write_text("A = 1\n")
    assert main(["steer", "pin", node[:6], "--archive", str(path)]) == 0
    assert main(["steer", "propose", str(tmp_path / "mine"), "--parent", node[:6], "--archive", str(path)]) == 0
    files = {"a.py": "A = 1\n", "sub/b.py": "B = 1\n"}
    assert running.orders == [
        {"command": "pin", "node": node},
        {"command": "propose", "files": files, "parent": node},
    ]
    assert main(["steer", "pin", "zzzz", "--archive", str(path)]) == 1
    (tmp_path / "mine" / "a.py").write_bytes(b"\xff")
    assert main(["steer", "propose", str(tmp_path / "mine" / "a.py"), "--archive", str(path)]) == 1
    assert "is not UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["budget", "50"], ["budget", "+x"], ["budget", "+-5"], ["stop", "now"], ["jump"]])
def test_senseless_words_are_refused(path: Path, words: list[str]) -> None:
    try:
        status = main(["steer", *words, "--archive", str(path)])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2


# ---------------------------------------------------------------- the live page


def client_of(path: Path, search: Search) -> Any:
    TestClient = pytest.importorskip("starlette.testclient").TestClient
    application = pytest.importorskip("archive.report.app")
    app = application.make_app(application.Board(open_reader(path), None), "word", 8000, search.obey)
    return TestClient(app, base_url="http://127.0.0.1:8000")


def test_the_pages_buttons_steer(path: Path) -> None:
    search = Search()
    client = client_of(path, search)
    assert client.post("/word/steer", json={"command": "pause"}).json()["done"].startswith("did pause")
    refused = client.post("/word/steer", json={"command": "ban"})
    assert (refused.status_code, refused.json()) == (409, {"message": "not that one"})
    assert search.orders == [{"command": "pause"}]
    assert "steer" in client.get("/word/").text


@pytest.mark.parametrize(
    ("address", "headers", "body", "status"),
    [
        ("/wrong/steer", {"content-type": "application/json"}, "{}", 404),
        ("/word/steer", {"content-type": "application/json", "host": "evil.example"}, "{}", 404),
        ("/word/steer", {"content-type": "text/plain"}, '{"command": "pause"}', 409),
        ("/word/steer", {"content-type": "application/json"}, "[]", 409),
        ("/word/steer", {"content-type": "application/json"}, "{", 409),
        ("/word/steer", {"content-type": "application/json"}, "[" * 100_000, 409),
        ("/word/steer", {"content-type": "application/json"}, json.dumps("x" * 5 * 2**20), 409),
    ],
)
def test_no_other_page_can_steer(path: Path, address: str, headers: Any, body: str, status: int) -> None:
    search = Search()
    assert client_of(path, search).post(address, headers=headers, content=body).status_code == status
    assert search.orders == []


def test_a_command_is_no_address_to_get(path: Path) -> None:
    assert client_of(path, Search()).get("/word/steer").status_code == 404
