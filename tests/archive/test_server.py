"""SQL while a search has the archive open: the same answers as from the file, and clients that cannot do harm."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import duckdb
import pytest
from archive_sample import HERE, a_family, request_for, scored

from archive.errors import ArchiveError, ArchiveLocked, QueryError, QueryRefused
from archive.query import query
from archive.query.query import ArchiveReader, open_reader
from archive.query.select import Result, run_select
from archive.query.server import SqlServer
from archive.query.wire import decoded, encoded, receive, send, socket_path
from archive.report.facts import gather
from archive.storage.database import connect
from archive.storage.store import Archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.open(tmp_path / "a.duckdb") as opened:
        yield opened


@pytest.fixture
def reader(archive: Archive) -> Iterator[ArchiveReader]:
    """Reads through the socket, since this process holds the file."""
    with SqlServer(archive, patience=0.5):
        yield open_reader(archive.path, seconds=5)


def call(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    return client


VALUES = """
    SELECT 1, 1.5, 'inf'::DOUBLE, NULL, 'text', true, 1.25::DECIMAL(9,2), DATE '2020-01-02', TIME '10:00:01',
           TIMESTAMP '2020-01-02 03:04:05.678', TIMESTAMPTZ '2020-01-02 03:04:05+01', 'ab'::BLOB, INTERVAL 3 HOUR,
           [1, 2], {'a': [NULL, 1.5]}, MAP {1: 'x'}, 170141183460469231731687303715884105727::HUGEINT,
           '3a2f1d20-0000-4000-8000-000000000000'::UUID, '{"a": 1}'::JSON, [DATE '2020-01-02'],
           [TIMESTAMPTZ '2020-01-02']
"""

READS = [
    VALUES,
    "SELECT * FROM leaderboard",
    "SELECT * FROM nodes ORDER BY number",
    "FROM evaluations ORDER BY arrival",
    "SELECT * FROM lineage((SELECT node_id FROM leaderboard WHERE place = 1))",
    "WITH best AS (SELECT * FROM leaderboard LIMIT 1) SELECT node_id FROM best;",
    "VALUES (1), (2)",
    "DESCRIBE nodes",
    "SHOW TABLES",
    "SUMMARIZE nodes",
    "EXPLAIN SELECT 1",
    "SELECT range FROM range(10100)",
    "-- a comment; with a semicolon\nSELECT 1 -- and another",
    "SELECT now()::VARCHAR IS NOT NULL, current_database(), count(*) FROM duckdb_views() WHERE NOT internal",
]

REFUSED = [
    "INSERT INTO meta VALUES (1, now())",
    "WITH x AS (INSERT INTO events (run, kind, message, happened_at) VALUES ('a', 'b', 'c', now()) RETURNING run) "
    "SELECT * FROM x",
    "EXPLAIN ANALYZE INSERT INTO events (run, kind, message, happened_at) VALUES ('a', 'b', 'c', now()::TIMESTAMP)",
    "DELETE FROM nodes",
    "DROP TABLE nodes",
    "CREATE TABLE t (a INTEGER)",
    "SET threads = 4",
    "PRAGMA threads = 4",
    "COPY nodes TO '/tmp/treewright-never.csv'",
    "EXPORT DATABASE '/tmp/treewright-never'",
    "ATTACH '/tmp/treewright-never.duckdb' AS x",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_parquet('https://example.org/x.parquet')",
    "SELECT * FROM glob('/*')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SELECT * FROM sql_auto_complete('SEL')",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM checkpoint('archive')",
    "CHECKPOINT",
    "BEGIN",
    "USE memory",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE nodes",
    "",
    "   -- nothing",
]


def ask(reader: ArchiveReader, sql: str) -> Result | tuple[type, str]:
    try:
        return reader.query(sql)
    except ArchiveError as error:
        return type(error), str(error)


@pytest.mark.slow
def test_the_file_and_the_search_give_the_same_answers(tmp_path: Path) -> None:
    wrong = ["SELEKT 1", "SELECT * FROM nowhere", "SELECT error('mine')", "SELECT ?", "SELECT 'x'::INTEGER"]
    questions = [*READS, *REFUSED, *wrong]
    with Archive.open(tmp_path / "a.duckdb") as archive:
        a_family(archive)
        reader = open_reader(archive.path)
        with SqlServer(archive):
            from_search = [ask(reader, sql) for sql in questions]
    from_file = [ask(reader, sql) for sql in questions]
    for sql, one, other in zip(questions, from_file, from_search, strict=True):
        assert one == other, sql
        expected = Result if sql in READS else tuple
        assert isinstance(one, expected), (sql, one)
    types = [type(value) for value in from_file[0].rows[0]]  # type: ignore[union-attr]
    assert types == [type(decoded(json.loads(json.dumps(encoded(v))))) for v in from_file[0].rows[0]]  # type: ignore[union-attr]
    assert from_file[11].truncated  # type: ignore[union-attr]
    assert len(from_file[11].rows) == 10_000  # type: ignore[union-attr]


def test_writes_files_settings_and_extensions_are_refused_in_one_line(reader: ArchiveReader, archive: Archive) -> None:
    counts = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM meta), (SELECT count(*) FROM nodes)"
    before = archive.query(counts)
    for sql in REFUSED:
        with pytest.raises(QueryRefused) as caught:
            reader.query(sql)
        assert "\n" not in str(caught.value), sql
        assert archive.query(counts) == before, sql


def test_python_variables_are_out_of_reach(reader: ArchiveReader) -> None:
    secret = {"a": [1]}
    for name in ("secret", "REFUSED", "os"):
        with pytest.raises(QueryError, match="does not exist"):
            reader.query(f"SELECT * FROM {name}")
    assert secret


def test_parameters_and_errors_travel(reader: ArchiveReader, archive: Archive) -> None:
    _, nodes = a_family(archive)
    assert reader.query("SELECT idea FROM nodes WHERE node_id = ?", [nodes[1].node_id]).rows == [("wider",)]
    with pytest.raises(QueryError, match="no node has an id that starts with 'zz'"):
        reader.query("FROM lineage(?)", ["zz"])
    with pytest.raises(QueryError, match=r"nowhere does not exist[\s\S]*\^"):
        reader.query("SELECT * FROM nowhere")


def test_a_query_past_its_deadline_is_stopped(archive: Archive) -> None:
    with SqlServer(archive), pytest.raises(QueryError, match=r"after 0.2 s.*--timeout"):
        open_reader(archive.path, seconds=0.2).query("SELECT count(*) FROM range(10000000000000)")


def test_an_answer_of_much_text_is_cut(archive: Archive) -> None:
    with archive.reading() as cursor:
        result = run_select(cursor, "SELECT repeat('x', 1000) FROM range(100)", most_bytes=10_500)
    assert result.truncated
    assert len(result.rows) == 10


def test_the_writer_writes_while_queries_run(reader: ArchiveReader, archive: Archive) -> None:
    diary, nodes = a_family(archive)
    outcomes: list[Any] = []
    long = "SELECT count(*) FROM range(1000000000) a JOIN nodes ON a.range % 7 = number"
    slow = open_reader(archive.path, seconds=0.3)
    threads = [threading.Thread(target=lambda: outcomes.append(ask(slow, long))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for seed in range(12):
        archive.record(scored(request_for(nodes[0], 500 + seed), 3.0))
        assert reader.query("SELECT count(*) FROM evaluations").rows == [(8 + seed,)]
    for thread in threads:
        thread.join()
    assert len(outcomes) == 2
    assert archive.tree(diary.run, HERE).runs[0] == 14


# ---------------------------------------------------------------- the socket


def test_the_socket_is_private_and_goes_with_the_server(archive: Archive) -> None:
    path = socket_path(archive.path)
    with SqlServer(archive):
        assert path.name == "a.duckdb.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()
    with pytest.raises(ArchiveLocked, match="does not answer SQL"):
        open_reader(archive.path).query("SELECT 1")


def test_a_socket_left_by_a_dead_process_is_replaced_but_nothing_else_is(archive: Archive) -> None:
    path = socket_path(archive.path)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with SqlServer(archive):
        assert open_reader(archive.path).query("SELECT 1").rows == [(1,)]
    path.write_text("somebody's")
    with pytest.raises(ArchiveError, match="in the way"):
        SqlServer(archive)
    assert path.read_text() == "somebody's"


@pytest.mark.parametrize("name", ["a.duckdb", "n" * 200 + ".duckdb"])
def test_a_path_too_long_for_a_socket_address_works(tmp_path: Path, name: str) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / name
    with Archive.open(path) as archive, SqlServer(archive) as server:
        assert len(os.fsencode(server.path)) > 107
        assert open_reader(path).query("SELECT 42").rows == [(42,)]
    assert sorted(p.name for p in path.parent.iterdir()) == [name]


def test_bad_clients_cost_their_own_time_only(reader: ArchiveReader, archive: Archive) -> None:
    path = socket_path(archive.path)
    with ExitStack() as stack:
        silent = [stack.enter_context(call(path)) for _ in range(3)]
        for nonsense in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x05hello",
            b"\x00\x00\x00\x02{}",
        ):
            stack.enter_context(call(path)).sendall(nonsense)
        quick = call(path)
        send(quick, {"sql": "SELECT 1", "parameters": [], "seconds": 5}, time.monotonic() + 200)
        quick.close()  # does not wait for the answer
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            answer = ask(reader, "SELECT 1")
            if isinstance(answer, Result):
                break
        assert isinstance(answer, Result)
        for client in silent:  # hung up on after the server's patience
            client.settimeout(200)
            assert client.recv(1) == b""


@pytest.mark.parametrize("question", [[], {"sql": 1}, {"sql": "SELECT 1", "parameters": "x", "seconds": 1}, None, 7])
def test_a_question_that_is_none_gets_an_answer(archive: Archive, question: Any) -> None:
    with SqlServer(archive) as server, call(server.path) as client:
        send(client, question, time.monotonic() + 200)
        assert receive(client, 10_000, time.monotonic() + 200)["error"] == "QueryError"


def test_too_many_clients_are_told_to_come_again(archive: Archive) -> None:
    with SqlServer(archive, patience=30) as server, ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(call(server.path))
        time.sleep(0.2)
        with pytest.raises(QueryError, match="try again"):
            open_reader(archive.path).query("SELECT 1")


def test_closing_does_not_wait_for_queries(archive: Archive) -> None:
    outcomes: list[Any] = []
    server = SqlServer(archive)
    reader = open_reader(archive.path, seconds=60)
    thread = threading.Thread(
        target=lambda: outcomes.append(ask(reader, "SELECT count(*) FROM range(1000000000000000)"))
    )
    thread.start()
    time.sleep(0.3)
    server.close()
    archive.close()
    thread.join(20)
    assert outcomes
    assert outcomes[0][0] is ArchiveError
    Archive.open(archive.path, patience=10).close()


def test_a_reader_that_is_stopped_before_its_question_is_told_why(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sql: str) -> None:
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    cursor = Mock(execute=interrupted)
    with monkeypatch.context() as patch:
        patch.setattr(archive._writer, "_reader_source", SimpleNamespace(cursor=lambda: cursor))
        with pytest.raises(ArchiveError, match="is being closed"), archive.reading():
            pass
    assert not archive._writer._readers


def test_values_survive_the_wire() -> None:
    for value in ({"$": "dict", "v": 1}, {1: {2: (3, [4])}}, "text", float("inf"), None, [], ()):
        assert decoded(json.loads(json.dumps(encoded(value)))) == value
    for forged in ({"$": "os.system", "v": "x"}, {"a": 1}, {"$": "date", "v": "soon"}, {"$": "decimal", "v": "x"}):
        with pytest.raises(ArchiveError):
            decoded(forged)


@pytest.mark.slow
def test_a_command_opens_a_free_file_once_and_lets_go_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.duckdb"
    with Archive.open(path) as archive:
        a_family(archive)
    opened = []
    monkeypatch.setattr(query, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
    reader = query.open_reader(path)
    with reader.held():
        for _ in range(3):
            assert reader.query("SELECT count(*) FROM nodes").rows == [(5,)]
    assert len(opened) == 1
    assert gather(reader)["run"]["run"] == "night"
    assert len(opened) == 2
    assert not reader.is_held, "other threads may use it meanwhile"
    Archive.open(path, patience=0).close()  # nobody is in its way


def test_a_search_is_asked_without_a_try_at_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Archive.open(tmp_path / "a.duckdb") as archive, SqlServer(archive):
        a_family(archive)
        monkeypatch.setattr(query, "connect", None)
        assert query.open_reader(archive.path).query("SELECT count(*) FROM nodes").rows == [(5,)]


def test_a_client_without_a_pause_leaves_the_search_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query is followed by a rest of thrice its length; a question that comes later does not wait."""
    from archive.query import server as module

    now, rests = [100.0], list[float]()

    def rest(self: object, seconds: float | None = None) -> bool:
        rests.append(seconds or 0.0)
        now[0] += seconds or 0.0
        return False

    with Archive.open(tmp_path / "a.duckdb") as archive, SqlServer(archive) as server:
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
        monkeypatch.setattr(type(server._closing), "wait", rest)
        for _ in range(2):
            with server._paced():
                now[0] += 2.0
        assert rests == [pytest.approx(module._LONGEST_REST)]  # six seconds, and never more than five
        now[0] += 60.0
        with server._paced():
            now[0] += 0.1
        assert len(rests) == 1
        with server._paced():
            pass
        assert rests[1] == pytest.approx(0.3)
        monkeypatch.undo()
