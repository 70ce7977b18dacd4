"""Files of every older schema: a writer brings them forward, a reader reads them as they are."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import duckdb
import pytest
from archive_sample import HERE, a_run, failed, request_for

from archive.errors import ArchiveError
from archive.query.query import open_reader
from archive.records import Resources
from archive.storage import schema
from archive.storage.database import connect
from archive.storage.store import Archive

DATA = Path(__file__).with_name("data")
OLDER = sorted(DATA.glob("schema_*.duckdb.gz"), key=lambda path: int(path.name.split(".")[0].removeprefix("schema_")))
BY_DAY = (OLDER[0], OLDER[-1])
"""The first lacks all that was added since, and goes through every migration."""
BEST = "53ef736cfb5bdb39"


@pytest.fixture(
    params=[path if path in BY_DAY else pytest.param(path, marks=pytest.mark.nightly) for path in OLDER],
    ids=lambda path: path.name.split(".")[0],
)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "old.duckdb"
    path.write_bytes(gzip.decompress(request.param.read_bytes()))
    return path


def version_of(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as raw:
        (version,) = raw.execute("SELECT max(schema_version) FROM meta").fetchone() or (0,)
    return int(version)


def columns(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as raw:
        return raw.execute(
            "SELECT table_name, column_name, column_index, data_type, column_default, is_nullable "
            "FROM duckdb_columns() WHERE table_name IN (SELECT table_name FROM duckdb_tables()) ORDER BY ALL"
        ).fetchall()


def test_there_is_a_file_and_a_migration_for_every_older_schema() -> None:
    older = range(1, schema.SCHEMA_VERSION)
    assert [path.name for path in OLDER] == [f"schema_{n}.duckdb.gz" for n in older]
    folder = Path(schema.__file__).parent / "migrations"
    assert sorted(path.name for path in folder.iterdir()) == [f"{n + 1:03}.sql" for n in older]


def test_a_migrated_file_has_the_schema_of_a_new_one_and_every_row(older: Path, tmp_path: Path) -> None:
    tables = ("runs", "nodes", "parents", "files", "sources", "moves", "refusals", "evaluations", "curves",
              "llm_calls", "decisions", "events")  # fmt: skip
    counts = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables)
    with duckdb.connect(str(older), read_only=True) as raw:
        before = raw.execute(counts).fetchall()
    assert all(count > 0 for _, count in before)
    version = version_of(older)
    with Archive.open(older) as archive:
        assert archive.query(counts) == before
    Archive.open(tmp_path / "new.duckdb").close()
    assert columns(older) == columns(tmp_path / "new.duckdb")
    Archive.open(older).close()
    with duckdb.connect(str(older), read_only=True) as raw:  # opened again: nothing is migrated twice
        versions = raw.execute("SELECT schema_version FROM meta ORDER BY rowid").fetchall()
    assert versions == [(version,), (schema.SCHEMA_VERSION,)]


def test_a_search_goes_on_in_a_migrated_file(older: Path) -> None:
    with Archive.open(older) as archive:
        tree = archive.tree(a_run(), HERE)
        node = next(node for node in tree.nodes if tree.evaluations[node.node_id])
        used = Resources(1.0, peak_device_mb=5.0, memory_by="watch", machine_speed=21.5)
        archive.record(failed(request_for(node, 77), "invalid", violation=True, resources=used))
        last = archive.tree(a_run(), HERE).evaluations[node.node_id][-1]
        assert (last.violation, last.resources) == (True, used)


@pytest.mark.slow
def test_a_reader_answers_from_an_older_file_and_leaves_it_alone(older: Path, tmp_path: Path) -> None:
    os.chmod(older, 0o444)
    os.utime(older, (1, 1))
    content = older.read_bytes()
    reader = open_reader(older)
    assert len(reader.query("FROM leaderboard WHERE run = 'night'").rows) == 4
    assert len(reader.query("FROM lineage(?)", [BEST[:6]]).rows) == 4
    found = reader.query("SELECT violation, peak_device_mb, memory_by, machine_speed FROM evaluations").rows
    assert set(found) == {(False, None, None, None)}
    assert older.read_bytes() == content
    assert older.stat().st_mtime == 1
    with Archive.open(tmp_path / "new.duckdb") as archive:
        new = {name for (name,) in archive.query("SELECT view_name FROM duckdb_views() WHERE NOT internal")}
    assert {name for (name,) in reader.query("SHOW TABLES").rows} >= new


def test_a_reader_has_the_views_of_its_own_version(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    Archive.open(path).close()
    with duckdb.connect(str(path)) as raw:
        raw.execute(
            "CREATE OR REPLACE VIEW leaderboard AS SELECT 'old' AS age; UPDATE meta SET views = 'of another day'"
        )
    assert "score" in open_reader(path).query("FROM leaderboard").columns
    Archive.open(path).close()  # and a writer puts them into the file
    with duckdb.connect(str(path), read_only=True) as raw:
        assert raw.execute("FROM leaderboard").fetchall() == []


def test_a_migration_that_fails_leaves_the_file_as_it_was(older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> str:
        return "SELECT nothing FROM nowhere" if name == "views.sql" else kept(name)

    kept, version = schema._text, version_of(older)
    monkeypatch.setattr(schema, "_text", broken)
    with pytest.raises(ArchiveError, match="cannot use the archive"):
        Archive.open(older)
    monkeypatch.undo()
    connection = connect(older, read_only=True)
    assert connection.execute("SELECT max(schema_version) FROM meta").fetchall() == [(version,)]
    connection.close()
    assert len(open_reader(older).query("FROM leaderboard WHERE run = 'night'").rows) == 4
