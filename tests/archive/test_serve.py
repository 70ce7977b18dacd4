"""The live board's server: who may ask, and what it answers. The page itself: ``test_report_browser.py``."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from archive_sample import Diary, a_family

from archive.query.query import open_reader
from archive.storage.store import Archive

TestClient = pytest.importorskip("starlette.testclient").TestClient
application = pytest.importorskip("archive.report.app")
Board, make_app = application.Board, application.make_app
HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
    return tmp_path / "a.duckdb"


@pytest.fixture
def client(path: Path):
    app = make_app(Board(open_reader(path), None), "word", 8000, lambda order: "")
    return TestClient(app, base_url="http://127.0.0.1:8000")


@pytest.mark.slow
def test_page_facts_and_nodes(client) -> None:
    page = client.get("/word/")
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    facts = client.get("/word/facts").json()
    assert len(facts["nodes"]["id"]) == 5
    detail = client.get(f"/word/node/{facts['nodes']['id'][1]}").json()
    assert "+NODE = 1" in detail["diff"]


@pytest.mark.slow
def test_nothing_new_is_answered_in_a_word(path: Path) -> None:
    with Archive.open(path) as archive:
        run = archive.run("night")
        assert run is not None
    client = TestClient(
        make_app(Board(open_reader(path), None), "word", 8000, lambda order: ""), base_url="http://127.0.0.1:8000"
    )
    version = client.get("/word/facts").json()["version"]
    assert client.get("/word/facts", params={"since": version}).status_code == 204
    with Archive.open(path) as archive:
        diary = Diary(archive, run.__class__(**{**vars(run), "run": "later", "run_id": "id-later"}))
        diary.screened(diary.child(operator="seed", text="Y = 1\n"), 2.0)
    later = client.get("/word/facts", params={"since": version}).json()
    assert later["version"] != version
    assert later["run"]["run"] == "later"


@pytest.mark.slow
def test_another_run_is_answered_when_it_is_named(path: Path) -> None:
    with Archive.open(path) as archive:
        a_family(archive, name="other")
    app = make_app(Board(open_reader(path), None), "word", 8000, lambda order: "")
    client = TestClient(app, base_url="http://127.0.0.1:8000")
    shown = client.get("/word/facts").json()
    other = next(each["run"] for each in shown["runs"] if each["run"] != shown["run"]["run"])
    found = client.get("/word/facts", params={"run": other, "since": shown["version"]}).json()
    assert found["run"]["run"] == other
    assert client.get("/word/facts", params={"run": other, "since": found["version"]}).status_code == 204
    nowhere = client.get("/word/facts", params={"run": "none"})
    assert (nowhere.status_code, "no run 'none'" in nowhere.text) == (404, True)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("/wrong/", "127.0.0.1:8000"),
        ("/wrong/facts", "127.0.0.1:8000"),
        ("/", "127.0.0.1:8000"),
        ("/word", "127.0.0.1:8000"),
        ("/word/../word/", "127.0.0.1:8000"),
        ("/word/", "evil.example:8000"),
        ("/word/facts", "evil.example"),
        ("/word/facts", "127.0.0.1:9000"),
        ("/word/facts", ""),
        ("/word/node/nowhere", "127.0.0.1:8000"),
        ("/word/node/..%2f..%2fetc%2fpasswd", "127.0.0.1:8000"),
        ("/w%C3%B6rd/", "127.0.0.1:8000"),
    ],
)
def test_all_else_is_not_there(client, address: str, host: str) -> None:
    answer = client.get(address, headers={"host": host}, follow_redirects=False)
    assert answer.status_code == 404 or (address == "/word/../word/" and answer.status_code == 200)
    if answer.status_code == 404:
        assert "nothing at this address" in answer.text


def test_only_reading(client) -> None:
    for method in ("post", "put", "delete", "patch"):
        assert getattr(client, method)("/word/facts").status_code == 404


def test_an_archive_that_vanishes_is_said(client, path: Path) -> None:
    path.unlink()
    answer = client.get("/word/facts")
    assert (answer.status_code, "archive" in answer.text) == (503, True)


@pytest.mark.slow
def test_served_from_the_command_line(path: Path) -> None:
    command = [sys.executable, "-m", "archive", "serve", "--archive", str(path), "--port", "0"]
    process = subprocess.Popen(
        command,
        cwd=HOUSE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a script is deaf to Ctrl-C, and so would be what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", address), address
        with urllib.request.urlopen(f"{address}facts", timeout=250) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address[:-3] + "/", timeout=250)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=250)
        assert (process.returncode, said) == (130, "")
    finally:
        process.kill()
        process.communicate()
