"""A copy of an archive, also while a search writes to it, and the repair of a damaged log.

Between two checkpoints a search only appends to the log, and the file does not change. So file and log are read without
a lock and without the search's help; if a checkpoint came in between, which the header of the file shows, the copy is
made again. Opening the copy then brings the commits of its log into its file.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from archive.errors import ArchiveDamaged, ArchiveError, ArchiveMissing, ForeignLog, NotAnArchive
from archive.storage import wal
from archive.storage.database import connect, damaged_log_error, full_error, is_full, normalised
from archive.storage.outputs import check_output
from archive.storage.store import Archive

_HEADERS = 3 * 4096
"""Bytes of DuckDB's three headers: every checkpoint writes one of them last."""

_TRIES = 50
_PAUSE = 0.05
"""Seconds before a copy that was disturbed by a checkpoint is made again, longer each time."""

_State = tuple[object, ...]


@contextmanager
def copied(source: Path, target: Path, pause: Callable[[float], None] = time.sleep) -> Iterator[Path]:
    """Yield a complete copy of an archive under another name; at the end of the block it becomes ``target``.

    If the block raises, no ``target`` is made. Raises ArchiveMissing, ArchiveDamaged, ArchiveFull or ArchiveError.
    """
    source = normalised(source)
    if not source.exists():
        raise ArchiveMissing(f"there is no archive at {source}")
    check_output(target)
    if target.exists() or target.is_symlink():
        raise ArchiveError(f"{target} exists already, and a backup replaces nothing. Name a new file")
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, part, pause)
        Archive.open(part).close()  # brings in the log
        yield part
        os.link(part, target)
    except OSError as error:
        if is_full(str(error)):
            raise full_error(target) from error
        raise ArchiveError(f"cannot write the backup {target}: {error}") from error
    except (ArchiveDamaged, NotAnArchive) as error:  # of the copy, which is gone when the user reads this
        raise type(error)(str(error).replace(str(part), str(source))) from error
    finally:
        for left in (part, *wal.logs(part)):
            left.unlink(missing_ok=True)


def _copy(source: Path, part: Path, pause: Callable[[float], None]) -> None:
    for attempt in range(1, _TRIES + 1):
        before = _state(source)
        with suppress(FileNotFoundError):  # a checkpoint has removed a log meanwhile
            shutil.copyfile(source, part)
            shutil.copymode(source, part)
            for log in wal.logs(source):
                shutil.copyfile(log, part.with_name(part.name + log.name.removeprefix(source.name)))
            if _state(source) == before:
                _refuse_damaged(source, part)
                return
        for left in wal.logs(part):
            left.unlink(missing_ok=True)
        pause(_PAUSE * attempt)
    raise ArchiveError(
        f"{source} changed while it was copied, {_TRIES} times: its search writes checkpoints faster than this disk "
        "copies. Copy to a faster disk, or stop the search first"
    )


def _state(path: Path) -> _State:
    """Return what a checkpoint changes, and an append to a log does not: the headers, and which logs there are."""
    with path.open("rb") as file:
        headers = file.read(_HEADERS)
    return headers, tuple((log.name, log.stat().st_ino) for log in wal.logs(path))


def _refuse_damaged(source: Path, part: Path) -> None:
    if (found := wal.damaged(part)) is not None:
        log, facts = found
        name = source.name + log.name.removeprefix(part.name)
        raise damaged_log_error(source, source.with_name(name), facts)


def repair(path: Path) -> list[str]:
    """Drop the damaged end of an archive's log, which is kept aside, and bring the rest into the file.

    A log of another state of the file is kept aside as a whole.

    Return what was done; empty if the log is sound. Raises ArchiveMissing, ArchiveLocked, or ArchiveDamaged if the
    file itself is damaged.
    """
    path = normalised(path)
    try:
        connect(path, read_only=True).close()
        return []
    except ForeignLog:
        return wal.set_aside(path)
    except ArchiveDamaged:
        pass
    done = wal.repair(path)
    Archive.open(path).close()
    return done
