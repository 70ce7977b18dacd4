"""Memory groups of the kernel (cgroups): a hard limit on the memory of all processes of a sandbox, and their CPU time.

A group counts what measuring single processes misses: shared mappings, unmapped memory files and files in the sandbox's
scratch folders; pages that several processes share count once. At the limit the kernel first drops cached files
(torch's libraries are read through that cache, so an honest program loses nothing) and then kills, which the group's
counter shows. The group also lists every process in it, so that all can be killed, and counts the CPU time of all
processes that were ever in it, however briefly they lived.

Both kinds are used where writable: version 1 (a ``memory`` hierarchy of its own, and beside it one that counts CPU
time), and version 2, where this process's group must have been delegated to it with the memory controller, as in

    systemd-run --user --scope -p Delegate=yes python -m search

Groups are created only below this process's own group. Their names identify the process (``owner.tag``); those of
killed processes are emptied and removed by the next search (``remove_stale``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.sandbox import owner

Version = Literal[1, 2]

_PREFIX = "treewright-"
_DRIVER = f"{_PREFIX}driver"
_TIMEOUT = 2.0  # seconds for killed processes to have left a group
_PAGE = 4096
_AHEAD_BYTES = 4 << 20

ENTER_GROUP = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 1; shift; done; shift; exec "$@"'
"""Script for ``/bin/sh -c``: enter the groups whose ``cgroup.procs`` come before ``--``, execute what comes after."""


@dataclass(frozen=True)
class MemoryGroup:
    """The memory group of one sandbox. Remove it when the sandbox has ended."""

    folder: Path
    version: Version
    cpu_folder: Path | None = None
    """Version 1: the group that counts CPU time, if there is one. Version 2: None; the memory group counts it, too."""

    @property
    def procs_file(self) -> Path:
        """The list of its processes."""
        return self.folder / "cgroup.procs"

    def entered(self, script: str = "") -> list[str]:
        """Return the beginning of a command line: run a shell script, enter the group, execute what follows."""
        files = [str(folder / "cgroup.procs") for folder in (self.folder, self.cpu_folder) if folder is not None]
        return ["/bin/sh", "-c", script + ENTER_GROUP, "launch", *files, "--"]

    def add(self, process: int) -> None:
        """Move a process into it. Raises OSError."""
        for folder in (self.folder, self.cpu_folder):
            if folder is not None:
                (folder / "cgroup.procs").write_text(str(process))

    def cpu_seconds(self) -> float | None:
        """Return the CPU seconds of all processes that were ever in it; None if the kernel does not count them here."""
        with contextlib.suppress(OSError):
            if self.version == 2:
                return self._count("cpu.stat", "usage_usec") / 1e6
            if self.cpu_folder is not None:
                return int(_read(f"{self.cpu_folder}/cpuacct.usage")) / 1e9
        return None

    def used_bytes(self) -> int:
        """Return the bytes of private and shared memory, memory files and scratch files, without cached files."""
        names = ("total_rss", "total_shmem", "total_swap") if self.version == 1 else ("anon", "shmem")
        text = _read(f"{self.folder}/memory.stat")
        return sum(_value(text, name) for name in names)

    def oom_kills(self) -> int:
        """Return how many of its processes the kernel has killed for lack of memory (the group's or the machine's)."""
        return self._count("memory.oom_control" if self.version == 1 else "memory.events", "oom_kill")

    def reached_limit(self) -> bool:
        """Return whether the group has ever reached its limit, cached files included."""
        if self.version == 1:
            # The failure count stays at 0 on some kernels; the peak may miss memory that the kernel reserves ahead.
            most, limit = (
                int((self.folder / f"memory.{name}_in_bytes").read_text()) for name in ("max_usage", "limit")
            )
            return most > limit - _AHEAD_BYTES
        return self._count("memory.events", "max") > 0

    def _count(self, name: str, key: str) -> int:
        return _value(_read(f"{self.folder}/{name}"), key)

    def processes(self) -> list[int]:
        """Return the numbers of its processes; 0 stands for a process in an invisible process namespace."""
        try:
            return [int(line) for line in self.procs_file.read_text().split()]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # removed
                return []
            raise

    def kill(self, timeout: float = _TIMEOUT) -> bool:
        """Kill all processes repeatedly until none is left; return False if some are after ``timeout`` seconds."""
        until = time.monotonic() + timeout
        while found := self.processes():
            if self.version == 2:
                with contextlib.suppress(OSError):  # since Linux 5.14: all at once
                    (self.folder / "cgroup.kill").write_text("1")
            for process in found:
                # Number 0 would signal this process's group. A process that may not be signalled (of a sandbox made
                # as root for another user) dies with its sandbox.
                if process > 0:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process, signal.SIGKILL)
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    def remove(self, timeout: float = _TIMEOUT) -> bool:
        """Remove the group; return False if it is not empty, and leave it to ``remove_stale``. May be called twice."""
        until = time.monotonic() + timeout
        return all([_remove(folder, until) for folder in (self.folder, self.cpu_folder) if folder is not None])


def _read(path: str) -> str:
    """Return what the kernel says in a small file: a tenth of what ``Path.read_text`` takes, many times a second."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16).decode()
    finally:
        os.close(descriptor)


def _value(text: str, name: str) -> int:
    """Return the number behind a name at the beginning of a line; 0 without such a line."""
    _, found, rest = f"\n{text}".partition(f"\n{name} ")
    return int(rest.partition("\n")[0]) if found else 0


def _remove(folder: Path, until: float) -> bool:
    """Remove a group's folder, waiting until then for killed processes to leave it; return False if it is not empty."""
    while True:
        try:
            folder.rmdir()
            return True
        except FileNotFoundError:
            return True
        except OSError:  # busy
            if time.monotonic() > until:
                return False
            time.sleep(0.002)


@dataclass(frozen=True)
class MemoryGroups:
    """The folder below which this process may create memory groups."""

    base: Path
    version: Version
    cpu_base: Path | None = None
    """Version 1: the same for groups that count CPU time, if there is one."""

    @property
    def name(self) -> str:
        """Name of this kind of memory limit in the archive: ``cgroup1`` or ``cgroup2``."""
        return f"cgroup{self.version}"

    def create(self, limit_mb: int) -> MemoryGroup:
        """Create an empty group with a hard limit. Raises OSError if the kernel refuses."""
        folder = self.base / f"{_PREFIX}{owner.tag()}-{secrets.token_hex(4)}"
        folder.mkdir()
        group = MemoryGroup(folder, self.version, None if self.cpu_base is None else self.cpu_base / folder.name)
        try:
            if group.cpu_folder is not None:
                group.cpu_folder.mkdir(exist_ok=True)  # it exists where one mount shows both
            limit = str(limit_mb * 1_000_000 // _PAGE * _PAGE)
            if self.version == 1:
                (folder / "memory.limit_in_bytes").write_text(limit)
                with contextlib.suppress(OSError):  # a kernel that does not count swap has no such file
                    (folder / "memory.memsw.limit_in_bytes").write_text(limit)
            else:
                (folder / "memory.max").write_text(limit)
                with contextlib.suppress(OSError):
                    (folder / "memory.swap.max").write_text("0")
                # Kill all processes of a sandbox or none: one without some of its processes is useless.
                (folder / "memory.oom.group").write_text("1")
        except OSError:
            group.remove()
            raise
        return group

    def remove_stale(self) -> int:
        """Empty and remove the groups of killed searches; return their number."""
        swept = 0
        bases = [base for base in (self.base, self.cpu_base) if base is not None]
        for parent in (*bases, *(each for base in bases for each in base.parent.glob("*") if each != base)):
            for folder in parent.glob(f"{_PREFIX}*-*-*-*"):
                if owner.status(folder.name.removeprefix(_PREFIX)) == "dead":
                    group = MemoryGroup(folder, self.version)
                    with contextlib.suppress(OSError):  # removed by another search meanwhile, or of another user
                        swept += group.kill() and group.remove()
        return swept


def find_groups(proc: Path = Path("/proc/self")) -> MemoryGroups | None:
    """Find where this process may create memory groups, and test it; None if nowhere, as usual for an ordinary user."""
    for version, folder in _own_groups(proc):
        with contextlib.suppress(OSError):
            base = folder if version == 1 else _delegated(folder)
            if base is None:
                continue
            with_cpu = MemoryGroups(base, version, _cpu_base(proc) if version == 1 else None)
            for groups in dict.fromkeys((with_cpu, MemoryGroups(base, version))):
                if _works(groups):
                    groups.remove_stale()
                    return groups
    return None


def _works(groups: MemoryGroups) -> bool:
    """Return whether a group can be created and entered."""
    try:
        group = groups.create(64)
    except OSError:
        return False
    try:
        words = [*group.entered(), "/bin/sh", "-c", "exit 7"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 7
    finally:
        group.remove()


def _own_groups(proc: Path) -> list[tuple[Version, Path]]:
    """Return the folders of this process's own memory groups, version 1 first (it excludes version 2)."""
    first: list[tuple[Version, Path]] = [(1, folder) for folder in _own_folders(proc, "memory")]
    return [*first, *((2, folder) for folder in _own_folders(proc, ""))]


def _cpu_base(proc: Path) -> Path | None:
    """Return the folder of this process's own group of version 1 that counts CPU time, or None."""
    return next(iter(_own_folders(proc, "cpuacct")), None)


def _own_folders(proc: Path, controller: str) -> list[Path]:
    """Return the folders of this process's own groups of version 1 with a controller; of version 2 if it is empty."""
    try:
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for mount in mounts:
        root, target, kind, options = mount[3], mount[4], *_kind(mount)
        if kind != ("cgroup" if controller else "cgroup2") or controller not in ["", *options.split(",")]:
            continue
        for _, controllers, path in memberships:
            # A mount may show only a part of the hierarchy (a container's): this process's group must be in it.
            if controller in controllers.split(",") and Path(path).is_relative_to(root):
                found.append(Path(target) / Path(path).relative_to(root))
    return found


def _kind(mount: list[str]) -> tuple[str, str]:
    """Return a mount's file system type and its own options, which follow a dash."""
    dash = mount.index("-", 6)
    return mount[dash + 1], mount[-1]


def _delegated(own: Path) -> Path | None:
    """Return the group of version 2 below which groups can be created, or None.

    A group with processes cannot pass its memory controller down. So this process, if it is alone in its group, moves
    into a sub-group of its own; processes that it starts later follow it.
    """
    if own.name == _DRIVER:  # moved before, by this process or its parent
        own = own.parent
    if "memory" not in (own / "cgroup.controllers").read_text().split():
        return None
    if "memory" not in (own / "cgroup.subtree_control").read_text().split():
        if (own / "cgroup.procs").read_text().split() != [str(os.getpid())]:
            return None
        driver = own / _DRIVER
        driver.mkdir(exist_ok=True)
        (driver / "cgroup.procs").write_text("0")
        (own / "cgroup.subtree_control").write_text("+memory")
    return own
