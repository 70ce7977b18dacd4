"""The write-ahead log beside an archive: commits that are not in the file yet.

DuckDB replays the log when it opens a file, and takes the first entry that it cannot read for the torn end of a
commit that a kill interrupted: all later commits are dropped without an error. So the log is checked before DuckDB
gets it: only an incomplete entry at its very end is torn; anything else is damage, and the archive is not opened.

    log      8 bytes of header, then entries
    entry    8 bytes of size, 8 bytes of checksum, a payload of that size (integers are little-endian)
    commit   the entries up to one whose payload is ``_COMMIT``
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prepare.paths import is_utf8

HEADER = bytes.fromhex("640062650002ffff")
"""Entry type 98 (version), version 2: the format of all files with our storage version."""

_COMMIT = bytes.fromhex("640064ffff")
_SIZES = struct.Struct("<QQ")
_PAYLOAD_BEGINS = b"\x64\x00"
_MOST_TRIED_BYTES = 64 * 2**20
"""Of checksums in the search for entries after a torn one: a candidate's text may look like many entries."""

SUFFIXES = (".wal", ".wal.checkpoint", ".wal.recovery")
"""DuckDB writes commits into the second one while a checkpoint empties the first, and then joins them."""
_LONGEST_NAME = 255 - max(map(len, SUFFIXES))
"""Bytes of an archive's name, so that those of its logs are names, too."""


@dataclass(frozen=True)
class Log:
    """What a log holds. ``committed``: bytes up to the end of the last readable commit."""

    size: int
    committed: int
    damaged_at: int | None
    """The first byte of the damaged entry; None for a sound log, whose last commit may be torn."""


def logs(path: Path) -> tuple[Path, ...]:
    """Return the existing logs of the archive at ``path``."""
    found = (path.with_name(path.name + suffix) for suffix in SUFFIXES)
    return tuple(log for log in found if log.exists())


def unusable_name(path: Path) -> str | None:
    """Return what DuckDB cannot have in the absolute path of a file, if there is something.

    It takes what follows a ``?`` for options, so that all archives of a folder with one would share one log, and a
    backslash for a slash.
    """
    for character in "?\\":
        if character in str(path):
            return f"the character {character}"
    if not is_utf8(str(path)):
        return "bytes that are no UTF-8"
    return f"a name of more than {_LONGEST_NAME} bytes" if len(path.name.encode()) > _LONGEST_NAME else None


def has_commits(path: Path) -> bool:
    """Return whether a log beside the archive at ``path`` holds more than its header."""
    with suppress(FileNotFoundError):  # a checkpoint has removed it meanwhile
        return any(log.stat().st_size > len(HEADER) for log in logs(path))
    return False


def set_aside(path: Path) -> list[str]:
    """Rename the logs of an archive, which belong to another state of the file. Return what was done."""
    done = []
    for log in logs(path):
        aside = _free_name(log)
        os.rename(log, aside)
        done.append(f"{log} belongs to another state of the file; it is kept as {aside}, and the file as it was")
    return done


def damaged(path: Path) -> tuple[Path, Log] | None:
    """Return the first damaged log of the archive at ``path``, or None."""
    for log in logs(path):
        with suppress(FileNotFoundError):  # a checkpoint has removed it meanwhile
            found = examine(log.read_bytes())
            if found.damaged_at is not None:
                return log, found
    return None


def examine(data: bytes) -> Log:
    """Read a log to its end, or to its first entry that is torn or damaged."""
    place = committed = len(HEADER)
    damaged_at = None if HEADER.startswith(data[: len(HEADER)]) else 0
    for begin, payload, is_sound in _entries(data):
        if not is_sound:
            place, damaged_at = begin, begin if damaged_at is None else damaged_at
            break
        place = begin + _SIZES.size + len(payload)
        if payload == _COMMIT:
            committed = place
    if damaged_at is None and _holds_entry(data[place:]):
        damaged_at = place
    return Log(len(data), min(committed, len(data)), damaged_at)


def repair(path: Path) -> list[str]:
    """Keep the damaged logs of an archive aside, and cut each after its last readable commit. Return what was done.

    The caller makes sure that no process has the archive open.
    """
    done = []
    while (found := damaged(path)) is not None:
        log, facts = found
        data, aside = log.read_bytes(), _free_name(log)
        _write_durably(aside, data)
        fresh = log.with_name(f"{log.name}.new")
        _write_durably(fresh, HEADER + data[len(HEADER) : facts.committed])
        os.replace(fresh, log)
        done.append(
            f"{log}: {max(0, facts.committed - len(HEADER)):,} of {facts.size:,} bytes are readable commits and were "
            f"kept, the rest was dropped; the damaged log is kept as {aside}"
        )
    return done


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _free_name(log: Path) -> Path:
    names = (log.with_name(f"{log.name}.damaged-{number}") for number in range(1, 10_000))
    return next(name for name in names if not name.exists())


def _entries(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (place, payload, whether its checksum holds) of each entry that is complete by its size."""
    place = len(HEADER)
    while place + _SIZES.size <= len(data):
        size, stored = _SIZES.unpack_from(data, place)
        begin = place + _SIZES.size
        if begin + size > len(data):
            return
        payload = data[begin : begin + size]
        yield place, payload, checksum(payload) == stored
        place = begin + size


def _holds_entry(rest: bytes) -> bool:
    """Return whether a sound entry lies in the bytes after the last complete one: then they are no torn end."""
    if len(rest) > _SIZES.size and checksum(rest[_SIZES.size :]) == _SIZES.unpack_from(rest)[1]:
        return True  # the last entry, whose size is wrong
    tried, begin = 0, rest.find(_PAYLOAD_BEGINS, _SIZES.size + 1)
    while begin >= 0 and tried < _MOST_TRIED_BYTES:
        size, stored = _SIZES.unpack_from(rest, begin - _SIZES.size)
        if 0 < size <= len(rest) - begin:
            tried += size
            if checksum(rest[begin : begin + size]) == stored:
                return True
        begin = rest.find(_PAYLOAD_BEGINS, begin + 1)
    return False


# ---------------------------------------------------------------- DuckDB's checksum

_WORD = 0xBF58476D1CE4E5B9
_REST = 0xC6A4A7935BD1E995
_SEED = 0xE17A1465
_MASK = 2**64 - 1


def checksum(data: bytes) -> int:
    """Return DuckDB's checksum: words of 8 bytes multiplied and joined by XOR, the rest by MurmurHash64A."""
    import numpy as np  # only after a crash is there a log to read

    whole = len(data) // 8 * 8
    words = np.frombuffer(data[:whole], dtype="<u8") * np.uint64(_WORD)
    found = 5381 ^ int(np.bitwise_xor.reduce(words))
    return found ^ _hash_of_rest(data[whole:]) if whole < len(data) else found


def _hash_of_rest(rest: bytes) -> int:
    value = (_SEED ^ (len(rest) * _REST)) & _MASK
    value = ((value ^ int.from_bytes(rest, "little")) * _REST) & _MASK
    value = ((value ^ (value >> 47)) * _REST) & _MASK
    return value ^ (value >> 47)
