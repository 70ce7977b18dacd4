"""Landlock by its three system calls: which files this process and its children may open, and which processes signal.

Numbers: Documentation/userspace-api/landlock.rst of the kernel. Each version (ABI) handles more rights; those unknown
to the running kernel are left out, and ``train.sandbox.landlock`` decides which version is sufficient.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
import sys
from collections.abc import Sequence

from .filters import Unconfinable, forbid_new_privileges

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_IN_ABI_1 = (1 << 13) - 1
_MAKE_CHAR, _MAKE_SOCK, _MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_ADDED = {2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

READ = _EXECUTE | _READ_FILE | _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
SCRATCH = (_IN_ABI_1 | _REFER | _TRUNCATE) & ~(_MAKE_CHAR | _MAKE_SOCK | _MAKE_BLOCK)

_TCP = 0b11  # bind and connect; since ABI 4
_SCOPES = 0b11  # confine abstract unix sockets and signals to the sandbox; since ABI 6


def abi() -> int:
    """Return the kernel's Landlock ABI; 0 if it has none, or has it turned off."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(_system().syscall(_CREATE_RULESET, None, 0, _VERSION)))


class Ruleset:
    """A set of allowed paths. Paths are opened when they are added; ``enforce`` is irreversible."""

    def __init__(self, version: int) -> None:
        """Create an empty ruleset of this ABI. Raises Unconfinable if the kernel has no Landlock."""
        self._handled = _IN_ABI_1 | sum(right for since, right in _ADDED.items() if version >= since)
        attributes = struct.pack("=Q", self._handled)
        if version >= 4:
            attributes += struct.pack("=Q", _TCP)
        if version >= 6:
            attributes += struct.pack("=Q", _SCOPES)
        self._ruleset = _checked(
            _system().syscall(_CREATE_RULESET, attributes, len(attributes), 0), "landlock_create_ruleset"
        )

    def allow(self, path: str, rights: int) -> None:
        """Allow ``rights`` on ``path`` and everything below it. A missing path is skipped. Raises Unconfinable."""
        with contextlib.suppress(FileNotFoundError):
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if not stat.S_ISDIR(os.fstat(opened).st_mode):
                    rights &= _OF_A_FILE
                rule = struct.pack("=Qi", rights & self._handled, opened)
                _checked(_system().syscall(_ADD_RULE, self._ruleset, _PATH_BENEATH, rule, 0), f"a rule for {path}")
            finally:
                os.close(opened)

    def allow_all(self, paths: Sequence[str], rights: int) -> None:
        """Allow ``rights`` on every path; see ``allow``."""
        for path in paths:
            self.allow(path, rights)

    def enforce(self) -> None:
        """Apply the ruleset to this thread and its future children. Raises Unconfinable."""
        forbid_new_privileges()
        _checked(_system().syscall(_RESTRICT_SELF, self._ruleset, 0), "landlock_restrict_self")
        os.close(self._ruleset)


def _system() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise Unconfinable(f"Landlock is refused here: {what}: {os.strerror(ctypes.get_errno())}")
    return result
