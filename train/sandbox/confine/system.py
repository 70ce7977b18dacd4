"""Two functions of the C library, by the module below ``ctypes``: the import of that one takes 5 ms in every sandbox.

A negative result means that the kernel refused, and ``error_number`` tells why.
"""

from __future__ import annotations

import struct
from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_USE_ERRNO,
    Array,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from typing import Any


CAPABILITY_HEADER = struct.pack("=Ii", 0x20080522, 0)
"""Of capset(2): version 3, this process."""
PR_CAP_AMBIENT = 47


class _Long(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Byte(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "B"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class Bytes:
    """A copy of bytes at a fixed ``address``, for as long as this object lives."""

    def __init__(self, data: bytes) -> None:
        self._buffer: Array[Any] = (_Byte * len(data)).from_buffer_copy(data)
        self.address = addressof(self._buffer)


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call. Numbers are passed as C's int, bytes and None as pointers."""
    return _of_the_library("syscall", number, *arguments)


def process_control(option: int, *arguments: int) -> int:
    """Call prctl(2)."""
    return _of_the_library("prctl", option, *arguments)


def error_number() -> int:
    """Return errno of the last call."""
    return get_errno()


def _of_the_library(name: str, *arguments: int | bytes | None) -> int:
    library = dlopen(None, 0)  # type: ignore[arg-type]  # this process, as for ctypes.CDLL(None)
    return int(_Function(dlsym(library, name))(*arguments))
