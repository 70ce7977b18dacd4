"""Opening the DuckDB file of an archive: hardened settings, and errors that say who holds the file and what to do.

The file is attached to a database in memory, since that is the only way to set the size of a row group: with small
ones a checkpoint rewrites megabytes at most, however large the archive has become.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import duckdb

from archive.errors import (
    ArchiveDamaged,
    ArchiveError,
    ArchiveFull,
    ArchiveLocked,
    ArchiveMissing,
    ForeignLog,
    NotAnArchive,
)
from archive.storage import wal
from prepare.command_line import command

CATALOG = "archive"
"""The name under which the file is attached, by readers and writers."""

_STORAGE_VERSION = "v1.2.0"
"""The oldest DuckDB that can read our files: the first with ZSTD for strings."""

_ROW_GROUP_ROWS = 2048
_BLOCK_BYTES = 16384
"""The smallest that DuckDB has: 100 columns, most of them short, waste half a block each. Fixed when a file is made."""

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 1,  # queries run beside evaluations, and must not take their cores
    "temp_directory": "",  # a query that needs more memory fails; it never fills the disk of the search
    "python_enable_replacements": False,  # `SELECT * FROM variable` must not find Python variables
    "python_scan_all_frames": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_unsigned_extensions": False,
}


FOR_ROWS = "PRAGMA disable_optimizer"
"""For a connection that inserts rows and asks nothing: an INSERT of values takes a third less time without the
optimizer. Cursors of the connection have it again."""


def normalised(path: Path | str) -> Path:
    """Return the absolute path of an archive, links resolved: lock and socket belong to the real file.

    Raises ArchiveError for what is no name of a file: a folder, ``:memory:``, the home directory of an unknown user.
    """
    text = os.path.expanduser(path)
    if text.endswith(os.sep) or text == ":memory:" or text.startswith("~") or "\0" in text:
        raise ArchiveError(f"{str(path)!r} is no name of an archive; expected that of a file")
    try:
        found = Path(text).resolve()
        special = found.exists() and not (found.is_file() or found.is_dir())
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        why = error.strerror if isinstance(error, OSError) else "its symbolic links lead to each other"
        raise ArchiveError(f"{text[:300]!r} is no name of an archive: {why}") from error
    if special:
        raise ArchiveError(f"{text[:300]!r} is a pipe, a socket or a device; expected the name of a file")
    if (wrong := wal.unusable_name(found)) is not None:
        raise ArchiveError(f"{str(found)[:300]!r} is no name of an archive: it has {wrong}. Use another name or folder")
    return found


def connect(
    path: Path, *, read_only: bool, beside: Mapping[str, Path] | None = None, for_rows: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open an existing archive file (or, for writing, create a database without tables) and lock all settings.

    ``beside``: other files to attach for reading, by the names that they get. ``for_rows``: see ``FOR_ROWS``.
    Raises ArchiveMissing, ArchiveLocked, ArchiveFull, ArchiveDamaged, NotAnArchive or ArchiveError.
    """
    if read_only and not path.exists():
        raise ArchiveMissing(f"there is no archive at {path}")
    for each in (path, *(beside or {}).values()):
        _refuse_damaged_log(each)
    if not read_only and path.exists() and wal.has_commits(path):
        connect(path, read_only=True).close()  # refuses a foreign log before its commits reach the file
    connection = duckdb.connect(":memory:", config=SETTINGS)
    options = "READ_ONLY" if read_only else f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}"
    if not path.exists():
        options += f", STORAGE_VERSION '{_STORAGE_VERSION}', BLOCK_SIZE {_BLOCK_BYTES}"
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute(f"ATTACH {quoted(path)} AS {CATALOG} (TYPE duckdb, {options})")
        connection.execute(f"USE {CATALOG}")
        for name, other in (beside or {}).items():
            path = other
            connection.execute(f"ATTACH {quoted(other)} AS {name} (TYPE duckdb, READ_ONLY)")
        if for_rows:
            connection.execute(FOR_ROWS)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise opening_error(path, error) from error
    if read_only and wal.has_commits(path):
        _refuse_foreign_log(connection, path)
    return connection


_FOREIGN = {
    "runs are stored twice": "FROM runs GROUP BY run HAVING count(*) > 1",
    "nodes are stored twice": "FROM nodes GROUP BY node_id HAVING count(*) > 1",
    "moves are stored twice": "FROM moves GROUP BY run, move HAVING count(*) > 1",
    "moves are missing": "FROM moves GROUP BY run HAVING max(move) + 1 <> count(DISTINCT move)",
    "moves of a run are there without the run": "FROM moves WHERE run NOT IN (SELECT run FROM runs)",
}
"""What replaying a log of another state does to the rows."""


def _refuse_foreign_log(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raise ForeignLog if the commits of the log do not continue the rows of the file.

    DuckDB replays any log that it can read: one copied before the file's last checkpoint doubles rows, and one copied
    after the checkpoint that followed the copy of the file leaves some out.
    """
    with suppress(duckdb.Error):  # tables of another schema: what opens the archive says so
        for wrong, sql in _FOREIGN.items():
            if connection.execute(f"SELECT 1 WHERE EXISTS (SELECT 1 {sql})").fetchone():
                connection.close()
                raise ForeignLog(
                    f"the log {path}.wal does not belong to this state of {path}: with it, {wrong}, as in copies that "
                    "were taken at two moments. It was not opened, and nothing was changed. Put a backup in its place, "
                    f"or set the log aside: {command('archive')} repair --archive {shlex.quote(str(path))}"
                )


def _refuse_damaged_log(path: Path) -> None:
    """Raise ArchiveDamaged before DuckDB could drop commits of a damaged log; ArchiveLocked if the log is in use."""
    if (found := wal.damaged(path)) is None:
        return
    connection = duckdb.connect(":memory:", config=SETTINGS)
    try:
        connection.execute(f"ATTACH {quoted(path)} AS {CATALOG} (TYPE duckdb, READ_ONLY)")
    except duckdb.Error as error:
        if isinstance(locked := opening_error(path, error), ArchiveLocked):
            raise locked from error
    finally:
        connection.close()
    raise damaged_log_error(path, *found)


def damaged_log_error(path: Path, log: Path, facts: wal.Log) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"the log {log} is damaged at byte {facts.damaged_at:,} of {facts.size:,}: opening the archive would drop what "
        "was recorded after it. It was not opened, and nothing was changed. Put a backup in its place, or keep what is "
        f"readable: {command('archive')} repair --archive {shlex.quote(str(path))}"
    )


def quoted(path: Path) -> str:
    """Return a path as a literal of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def connect_in_memory() -> duckdb.DuckDBPyConnection:
    """Create an empty database without a file, with the same settings and the same catalog, for rows."""
    connection = duckdb.connect(":memory:", config=SETTINGS)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute(f"ATTACH ':memory:' AS {CATALOG}")
    connection.execute(f"USE {CATALOG}")
    connection.execute(FOR_ROWS)
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def opening_error(path: Path, error: duckdb.Error) -> ArchiveError:
    """Translate a DuckDB error on opening into an archive error that says what to do."""
    text = str(error)
    if "Could not set lock" in text or "Conflicting lock" in text:
        found = re.search(r"\(PID (\d+)\)", text)
        return locked_error(path, int(found[1]) if found else None)
    if "already attached" in text or "file handle conflict" in text:
        return locked_error(path, os.getpid())
    if is_full(text):
        return full_error(path)
    if "not a valid DuckDB database" in text or "Is a directory" in text:
        return NotAnArchive(
            f"{path} is not a Treewright archive (not even a DuckDB database); name another file with archive=FILE "
            f"(search) or --archive FILE ({command('archive')})"
        )
    if "version number" in text or "newer version" in text:
        return NotAnArchive(
            f"{path} was written by another version of DuckDB than this one ({duckdb.__version__}); "
            f"upgrade with: pip install -U duckdb ({_first_line(text)})"
        )
    if is_damaged(text):
        return damaged_error(f"the archive {path}", text)
    return ArchiveError(f"cannot open the archive {path}: {_first_line(text)}")


def is_damaged(text: str) -> bool:
    """Return whether a DuckDB error means that bytes on the disk are not those that were written."""
    marks = ("Corrupt", "does not match stored checksum", "replaying WAL", "Could not read enough bytes")
    return any(mark in text for mark in marks)


def damaged_error(what: str, text: str) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"{what} is damaged: bytes on the disk are not those that were written ({_first_line(text)}). "
        f"Nothing was changed. Put a backup in its place ({command('archive')} backup FILE makes one)"
    )


def locked_error(path: Path, pid: int | None) -> ArchiveLocked:
    """Return the error that names the process which has the file open, its command line if visible, and what to do."""
    if pid == os.getpid():
        return ArchiveLocked(f"{path} is open in this process already (pid {pid}); close that Archive first", pid)
    who = "another process" if pid is None else f"process {pid}{_command_of(pid)}"
    stop = "stop it" if pid is None else f"stop it (kill -INT {pid})"
    return ArchiveLocked(
        f"{path} is in use by {who}. One search writes to an archive at a time: wait for it, {stop}, "
        "or give this search a file of its own with archive=OTHER.duckdb",
        pid,
    )


def _command_of(pid: int) -> str:
    import psutil  # takes 15 ms, and is needed here alone

    try:
        command = shlex.join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""
    shown = "".join(c if c.isprintable() else "?" for c in command)
    return f" ({shown if len(shown) <= 200 else shown[:199] + '…'})" if shown else ""


def is_full(text: str) -> bool:
    """Return whether a DuckDB error means a full disk or an exhausted quota."""
    return "No space left on device" in text or "quota exceeded" in text.lower() or "File too large" in text


def full_error(path: Path) -> ArchiveFull:
    folder = os.statvfs(path.parent)
    free = folder.f_bavail * folder.f_frsize / 1e6
    return ArchiveFull(
        f"no space is left for the archive {path} ({free:.1f} MB free on its disk). Nothing that was recorded is lost. "
        "Free some space, then resume the search with run=NAME"
    )


def create_atomically(path: Path, build: Callable[[duckdb.DuckDBPyConnection], None]) -> bool:
    """Make a new database file atomically: complete under its name, or not at all. Return whether it was made.

    An existing file is left alone, unless it is empty (``touch``, ``mktemp``): then it is replaced.
    Raises ArchiveFull or ArchiveError.
    """
    if path.exists() and not _is_empty_file(path):
        return False
    for log in wal.logs(path):
        raise ArchiveError(f"{log} is left over from an archive that is no longer there: move it away, or bring {path}")
    fresh = path.with_name(f".{path.name[:200]}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        try:
            connection = connect(fresh, read_only=False)
        except ArchiveFull:
            raise
        except ArchiveError as error:
            raise ArchiveError(
                f"cannot create the archive {path}: its folder cannot be written to. Name another with archive=FILE"
            ) from error
        try:
            build(connection)
        finally:
            connection.close()
        _publish(fresh, path)
        return True
    except (OSError, duckdb.Error) as error:
        if is_full(str(error)):
            raise full_error(path) from error
        raise ArchiveError(f"cannot create the archive {path}: {_first_line(str(error))}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
            Path(f"{fresh}.wal").unlink(missing_ok=True)


def _publish(fresh: Path, path: Path) -> None:
    """Name the new file by a hard link, which fails if another process was faster; a rename would overwrite."""
    if path.exists() and _is_empty_file(path):
        os.replace(fresh, path)
        return
    with suppress(FileExistsError):
        try:
            os.link(fresh, path)
        except PermissionError:  # a file system without hard links
            os.rename(fresh, path)


def _is_empty_file(path: Path) -> bool:
    facts = path.stat()
    return stat.S_ISREG(facts.st_mode) and facts.st_size == 0


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unknown error"
