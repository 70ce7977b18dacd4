"""Shared libraries that programs need, read from their ELF headers (64 bits, little-endian; see elf(5))."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3  # types of segments
_NEEDED, _STRINGS = 1, 5  # tags of the dynamic section
_ABI = {"x86_64": "x86-64", "aarch64": "AArch64"}
_LONGEST_NAME = 4096


def needed(path: Path) -> list[str]:
    """Return the names of the libraries that a program or library needs, and its loader's path; none if no ELF file."""
    with path.open("rb") as file:
        header = file.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":
            return []
        try:
            return list(_needed(file, header))
        except (struct.error, StopIteration, UnicodeDecodeError):
            return []  # a damaged file cannot be loaded either


def _needed(file: BinaryIO, header: bytes) -> Iterator[str]:
    start, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
    segments = list(struct.iter_unpack("<IIQQQQQQ", _read(file, start, 56 * count)))
    loaded = [(address, offset, size) for kind, _, offset, address, _, size, _, _ in segments if kind == _LOAD]
    for kind, _, offset, _, _, size, _, _ in segments:
        if kind == _INTERPRETER:
            yield _read(file, offset, size).rstrip(b"\0").decode()
        if kind == _DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", _read(file, offset, size - size % 16)))
            if places := [value for tag, value in entries if tag == _NEEDED]:
                table = next(value for tag, value in entries if tag == _STRINGS)
                strings = next(table - first + at for first, at, length in loaded if first <= table < first + length)
                for place in places:
                    yield _read(file, strings + place, _LONGEST_NAME).split(b"\0")[0].decode()


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def system_libraries() -> dict[str, Path]:
    """Return the libraries that the dynamic linker knows, by name. Raises OSError if it cannot be asked."""
    ldconfig = next((path for path in ("/sbin/ldconfig", "/usr/sbin/ldconfig") if os.path.exists(path)), None)
    if ldconfig is None:
        raise FileNotFoundError("there is no ldconfig, which lists the system's libraries")
    listing = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False, timeout=60).stdout
    found: dict[str, Path] = {}
    for line in listing.splitlines():
        name, arrow, path = line.strip().partition(" => ")
        if arrow and _ABI.get(platform.machine(), "") in name:
            found.setdefault(name.split(" ")[0], Path(path))
    return found


def closure(files: Iterable[Path], names: Iterable[str]) -> list[Path]:
    """Return the system's libraries and loaders that ``files`` and the libraries ``names`` need, directly or not."""
    known = system_libraries()
    found: dict[str, Path] = {}
    waiting = [*names]
    for file in files:
        waiting += needed(file)
    while waiting:
        name = waiting.pop()
        path = Path(name) if name.startswith("/") else known.get(name)
        if name not in found and path is not None and path.is_file():
            found[name] = path
            waiting += needed(path)
    return list(found.values())
