"""An answer as a Parquet file, with the types that the archive gave its columns."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import duckdb

from archive.errors import ArchiveError
from archive.query.select import Result


def write_parquet(result: Result, path: Path) -> None:
    """Write the file atomically, replacing an existing one. Raises ArchiveError."""
    if not result.columns:
        raise ArchiveError("the answer has no columns, and a Parquet file needs some")
    types = result.types or ("VARCHAR",) * len(result.columns)
    fresh = path.with_name(f".{path.name[:200]}.{os.getpid()}.new")
    columns = ", ".join(f"{_quoted(name)} {kind}" for name, kind in zip(_distinct(result.columns), types, strict=True))
    try:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.execute(f"CREATE TABLE answer ({columns})")
            if result.rows:
                places = ", ".join("?" * len(types))
                connection.executemany(f"INSERT INTO answer VALUES ({places})", [list(row) for row in result.rows])
            name = str(fresh).replace("'", "''")
            connection.execute(f"COPY answer TO '{name}' (FORMAT parquet, COMPRESSION zstd)")
        os.replace(fresh, path)
    except (OSError, duckdb.Error) as error:
        raise ArchiveError(f"cannot write {path}: {str(error).splitlines()[0]}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _distinct(names: tuple[str, ...]) -> list[str]:
    """Make column names unique without regard to case: ``score``, ``score_2``."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        times = seen[name.lower()] = seen.get(name.lower(), 0) + 1
        found.append(name if times == 1 else f"{name}_{times}")
    return found
