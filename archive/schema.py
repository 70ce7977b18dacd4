"""The schema of an archive: made once, checked at every opening; the views are made anew by every writer."""

from __future__ import annotations

from pathlib import Path

import duckdb

from archive.database import CATALOG
from archive.errors import NotAnArchive
from archive.rows import to_time

SCHEMA_VERSION = 1

_FOLDER = Path(__file__).parent


def create(connection: duckdb.DuckDBPyConnection, now: float) -> None:
    """Tables and views in an empty database, in one transaction. ``now``: Unix seconds."""
    connection.execute("BEGIN")
    connection.execute((_FOLDER / "schema.sql").read_text(encoding="utf-8"))
    connection.execute("INSERT INTO meta VALUES (?, ?)", [SCHEMA_VERSION, to_time(now)])
    connection.execute((_FOLDER / "views.sql").read_text(encoding="utf-8"))
    connection.execute("COMMIT")


def replace_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the views up to this version's, so that readers of the file see them."""
    connection.execute("BEGIN")
    connection.execute((_FOLDER / "views.sql").read_text(encoding="utf-8"))
    connection.execute("COMMIT")


def check(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises NotAnArchive if the database is no archive, or one of another schema than ours."""
    is_ours = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND table_name IN ('meta', 'runs', 'nodes')",
        [CATALOG],
    ).fetchall()
    if is_ours != [(3,)]:
        raise NotAnArchive(f"{path} is a DuckDB database, but not a Treewright archive; name another file")
    versions = connection.execute("SELECT max(schema_version) FROM meta").fetchall()
    version = versions[0][0]
    if version is None or version > SCHEMA_VERSION:
        raise NotAnArchive(
            f"{path} has schema version {version}, and this Treewright knows versions up to {SCHEMA_VERSION}: it was "
            "written by a newer one. Upgrade (git pull, then make setup), or use another file with archive=OTHER.duckdb"
        )
