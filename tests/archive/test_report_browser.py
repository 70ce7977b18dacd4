"""The report and the live board in a real browser: they show, they answer a click, and foreign text stays text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archive_sample import Diary, a_family, failed, request_for
from browser import chromium

from archive.query.query import open_reader
from archive.query.server import SqlServer
from archive.query.steer import Obey
from archive.records import Node
from archive.report.command import write_report
from archive.storage.store import Archive

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]

SCRIPT = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def write(archive: Archive) -> tuple[Diary, Node]:
    diary, (_, good, *_) = a_family(archive)
    odd = diary.child(good, idea=SCRIPT, operator="improve", text=f"X = {SCRIPT!r}\n")
    diary.record(failed(request_for(odd, 0), log=f"\x1b[31m{SCRIPT}\n", reason=SCRIPT))
    return diary, odd


def open_page(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=60_000)


def show(page: Any, words: str) -> None:
    page.fill("#find", words)
    page.wait_for_selector("#node[data-shown]", timeout=30_000)


def test_a_report_in_a_browser(tmp_path: Path) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive:
        _, odd = write(archive)
    write_report(open_reader(tmp_path / "a.duckdb"), None, tmp_path / "r.html")
    with chromium() as page:
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        open_page(page, f"file://{tmp_path}/r.html")
        assert "Run night" in page.inner_text("#title")
        assert "2 of 6 candidates have no score" in page.inner_text("#lessons")
        page.click("#views >> text=Tree")

        show(page, "img src")  # the candidate whose idea is a script
        assert SCRIPT in page.inner_text("#node")
        assert page.locator("#main img, #main script").count() == 0
        assert page.get_attribute("#node", "data-shown") == odd.node_id

        page.locator("#tree .frame").click(position={"x": 5, "y": 5})  # beside all nodes: nothing changes
        page.press("#tree .frame", "ArrowLeft")  # its parent
        page.locator(f"#node[data-shown]:not([data-shown='{odd.node_id}'])").wait_for()
        assert "wider" in page.inner_text("#node")
        assert "+NODE = 1" in page.inner_text("#node")
        assert "owned" not in page.title()
        assert page.said == []
        assert [url for url in requests if not url.startswith("file://")] == []


def test_a_page_that_was_tampered_with_runs_nothing(tmp_path: Path) -> None:
    """The content policy holds in the browser: a script put into the file is refused."""
    with Archive.open(tmp_path / "a.duckdb") as archive:
        write(archive)
    write_report(open_reader(tmp_path / "a.duckdb"), None, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    (tmp_path / "bad.html").write_text(text.replace("<main id", f"{SCRIPT.removeprefix('</script>')}<main id"))
    with chromium() as page:
        open_page(page, f"file://{tmp_path}/bad.html")
        assert "owned" not in page.title()
        assert any("Content Security Policy" in said for said in page.said)


@contextmanager
def served(path: Path, obey: Obey = lambda order: "") -> Iterator[str]:
    """The board on a free port, in a thread; gives its address. ``obey``: follows the commands of its buttons."""
    import socket

    uvicorn, application = pytest.importorskip("uvicorn"), pytest.importorskip("archive.report.app")
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    door.listen()  # a page that comes before the server waits
    port = door.getsockname()[1]
    app = application.make_app(application.Board(open_reader(path), None), "secret", port, obey)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/secret/"
    finally:
        server.should_exit = True
        thread.join()
        door.close()


def test_the_board_follows_a_search_that_is_writing(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive, SqlServer(archive):
        diary, odd = write(archive)
        with served(path) as address, chromium() as page:
            open_page(page, f"{address}#view=tree")
            assert "6 candidates" in page.inner_text("#summary")
            show(page, odd.node_id[:10])
            assert SCRIPT in page.inner_text("#node")
            diary.screened(diary.child(diary.tree.nodes[1], idea="landed while you watched"), 2.9)
            page.locator("#summary", has_text="7 candidates").wait_for(timeout=60_000)
            show(page, "landed while")
            page.locator("#node", has_text="landed while you watched").wait_for()
            assert page.said == []


def test_the_panel_of_a_narrow_board_stays_when_news_come(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive, SqlServer(archive):
        diary, odd = write(archive)
        diary.child(diary.tree.nodes[0], idea="in a slot")
        with served(path) as address, chromium(400) as page:
            open_page(page, f"{address}#view=overview")
            page.locator("#now", has_text="in a slot").wait_for()
            page.click(f"#lessons a >> text={odd.node_id[:8]}")
            page.locator(f"#node[data-shown='{odd.node_id}']").wait_for()
            diary.screened(diary.child(diary.tree.nodes[1]), 2.9)
            page.locator("#summary", has_text="8 candidates").wait_for(timeout=60_000)
            page.locator(f"#node[data-shown='{odd.node_id}']").wait_for()
            above = page.locator("#node").evaluate("(panel) => panel.previousSibling.querySelector('h2').textContent")
            assert above == "Lessons"
            assert page.said == []


def test_the_board_shows_the_other_runs_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        a_family(archive, name="older")
        write(archive)
    with served(path) as address, chromium() as page:
        open_page(page, address)
        other = page.locator("#runs a").inner_text()
        page.click("#runs a")
        page.locator("#title", has_text=f"Run {other}").wait_for()
        page.go_back()
        page.locator("#title", has_text=f"Run {other}").wait_for(state="detached")
        assert page.said == []


@pytest.mark.parametrize("width", [400, pytest.param(1400, marks=pytest.mark.nightly)])
def test_the_boards_buttons_steer(tmp_path: Path, width: int) -> None:
    path, orders = tmp_path / "a.duckdb", list[Any]()

    def obey(order: Any) -> str:
        orders.append(order)
        return "<b>done</b>"

    with Archive.open(path) as archive:
        _, odd = write(archive)
    (tmp_path / "mine.py").write_text("A = 1\n")
    with served(path, obey) as address, chromium(width) as page:
        open_page(page, f"{address}#view=tree")
        show(page, odd.node_id[:10])
        page.locator("#node", has_text=odd.node_id[:8]).wait_for()
        if width < 900:
            page.click("#steer summary")
        page.get_by_placeholder("try ...").fill("try less")
        for command in ("instruct", "pin", "pause", "budget"):
            with page.expect_response("**/steer"):
                page.click(f"#steer [data-order={command}]")
            page.locator("#steer [role=status]", has_text="<b>done</b>").wait_for()
        with page.expect_response("**/steer"):
            page.set_input_files("#steer input[type=file]", str(tmp_path / "mine.py"))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.said == []
    assert orders == [
        {"command": "instruct", "words": "try less"},
        {"command": "pin", "node": odd.node_id},
        {"command": "pause"},
        {"command": "budget", "limit": "evaluations", "added": 10},
        {"command": "propose", "files": {"mine.py": "A = 1\n"}, "parent": odd.node_id},
    ]
