"""The schema of an archive: created once, migrated by the first newer writer, readable at any version.

    schema.sql            the tables as a new file has them
    migrations/NNN.sql    from schema NNN - 1 to NNN; all missing ones are applied in one transaction
    views.sql             the views, recreated by every writer

A reader changes nothing. What an older file lacks (or one with views of another version) is added in memory, beside the
file: columns with their defaults or codes (``codes.py``), empty tables, and the views of this version.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import duckdb

from archive.errors import NotAnArchive
from archive.storage import codes
from archive.storage.database import CATALOG

SCHEMA_VERSION = 12

_FOLDER = Path(__file__).parent
_READS_ROWIDS = ("events", "runs")
"""Tables whose ``rowid`` is queried; a view has it only as a column."""


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _views_digest() -> str:
    return hashlib.sha256(_text("views.sql").encode()).hexdigest()[:16]


def create(connection: duckdb.DuckDBPyConnection, now: float) -> None:
    """Create tables and views in an empty database, in one transaction. ``now``: Unix seconds."""
    connection.execute("BEGIN")
    connection.execute(_text("schema.sql"))
    _put_views(connection, now)
    connection.execute("COMMIT")


def upgrade(connection: duckdb.DuckDBPyConnection, now: float) -> None:
    """Migrate a checked file to this version's schema and views, in one transaction."""
    connection.execute("BEGIN")
    version, _ = _state(connection)
    for number in range(version + 1, SCHEMA_VERSION + 1):
        connection.execute(_text(f"migrations/{number:03}.sql"))
        for statement in codes.fill() if number == codes.SINCE else ():
            connection.execute(statement)
    _put_views(connection, now)
    connection.execute("COMMIT")


def _put_views(connection: duckdb.DuckDBPyConnection, now: float) -> None:
    """Recreate the views, even if the recorded digest matches: they may have been changed by hand."""
    connection.execute(_text("views.sql"))
    wanted = (SCHEMA_VERSION, _views_digest())
    if _state(connection) != wanted:
        connection.execute(
            "INSERT INTO meta (schema_version, views, created_at) VALUES (?, ?, make_timestamp(?))",
            [*wanted, int(1e6 * now)],
        )


def _state(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    """Return (version, digest of the views) of the file; version 0 before the first row."""
    version = connection.execute("SELECT coalesce(max(schema_version), 0) FROM meta").fetchall()[0][0]
    if version < 2:
        return version, ""
    return version, connection.execute("SELECT coalesce(views, '') FROM meta ORDER BY rowid DESC LIMIT 1").fetchall()[
        0
    ][0]


def check(connection: duckdb.DuckDBPyConnection, path: Path, catalog: str = CATALOG) -> None:
    """Raise NotAnArchive if the database is no archive, or has a newer schema than this version."""
    try:  # a tenth of the time of asking duckdb_tables()
        connection.execute(f"SELECT 1 FROM {catalog}.main.runs, {catalog}.main.nodes LIMIT 0")
        ((version,),) = connection.execute(f"SELECT max(schema_version) FROM {catalog}.main.meta").fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        words = f"{path} is a DuckDB database, but not a Treewright archive; name another file"
        raise NotAnArchive(words) from None
    if version is None or version > SCHEMA_VERSION:
        raise NotAnArchive(
            f"{path} has schema version {version}, and this Treewright knows versions up to {SCHEMA_VERSION}: it was "
            "written by a newer one. Upgrade (git pull, then make setup), or use another file with archive=OTHER.duckdb"
        )


# ---------------------------------------------------------------- readers of any file


def prepare_reading(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make a read connection answer as if a writer of this version had migrated the file.

    Raises NotAnArchive.
    """
    if _is_present(connection):
        return
    check(connection, path)
    connection.execute("CREATE SCHEMA memory.now")
    connection.execute("USE memory.now")
    connection.execute(_text("schema.sql"))
    connection.execute("USE memory.main")
    for statement in _stand_ins(connection):
        connection.execute(statement)
    connection.execute(_text("views.sql"))


def _is_present(connection: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the file has this version's schema and views. A single query, since every reader waits for it."""
    try:
        found = connection.execute("SELECT max(schema_version), arg_max(views, rowid) FROM meta").fetchall()
    except duckdb.Error:  # no such table, or none with these columns: check() says what the file is instead
        return False
    return found == [(SCHEMA_VERSION, _views_digest())]


def _stand_ins(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Return statements for a view over each table with this version's columns, or an empty table if it is missing."""
    statements = []
    for table, columns in columns_as_now(connection, CATALOG, "memory", "now").items():
        if columns is None:
            statements.append(f"CREATE VIEW {table} AS FROM memory.now.{table}")
            continue
        named = [f"{expression} AS {column}" for column, expression in columns.items()]
        chosen = ", ".join([*named, *(["rowid"] if table in _READS_ROWIDS else [])])
        statements.append(f"CREATE VIEW {table} AS SELECT {chosen} FROM {CATALOG}.main.{table}")
    return statements


def columns_as_now(
    connection: duckdb.DuckDBPyConnection, catalog: str, model: str, schema: str = "main"
) -> dict[str, dict[str, str] | None]:
    """Return how to select this version's columns from the tables of an attached file: table -> column -> expression.

    ``model``, ``schema``: where empty tables of this version are. None for a table that the file lacks.
    """
    found = connection.execute(
        "SELECT table_name, list(column_name) FROM duckdb_columns() WHERE database_name = ? GROUP BY table_name",
        [catalog],
    ).fetchall()
    present = {table: set(columns) for table, columns in found}
    wanted: dict[str, dict[str, str] | None] = {}
    for table, column, kind, default in connection.execute(
        "SELECT c.table_name, column_name, data_type, column_default FROM duckdb_columns() AS c "
        "JOIN duckdb_tables() AS t USING (database_name, schema_name, table_name) "
        "WHERE c.database_name = ? AND c.schema_name = ? ORDER BY c.table_name, column_index",
        [model, schema],
    ).fetchall():
        if table not in present:
            wanted[table] = None
            continue
        columns = wanted.setdefault(table, {})
        assert columns is not None
        expression = codes.FROM_PROSE.get(table, {}).get(column) or default or "NULL"
        columns[column] = column if column in present[table] else f"CAST({expression} AS {kind})"
    return wanted
