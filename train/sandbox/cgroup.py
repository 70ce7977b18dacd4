"""Memory groups of the kernel (cgroups): a hard limit on the memory of all processes of a sandbox together.

A group counts what measuring single processes misses: shared mappings, unmapped memory files and files in the sandbox's
scratch folders; pages that several processes share count once. At the limit the kernel first drops cached files
(torch's libraries are read through that cache, so an honest program loses nothing) and then kills, which the group's
counter shows. The group also lists every process in it, so that all can be killed.

Both kinds are used where writable: version 1 (a ``memory`` hierarchy of its own), and version 2, where this process's
group must have been delegated to it with the memory controller, as in

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

ENTER_GROUP = 'echo 0 > "$0" && exec "$@"'
"""Script for ``/bin/sh -c``: enter the group whose ``cgroup.procs`` is the first argument, execute the others."""


@dataclass(frozen=True)
class MemoryGroup:
    """The memory group of one sandbox. Remove it when the sandbox has ended."""

    folder: Path
    version: Version

    @property
    def procs_file(self) -> Path:
        """The file through which a process enters the group (see ``ENTER_GROUP``)."""
        return self.folder / "cgroup.procs"

    def used_bytes(self) -> int:
        """Return the bytes of private and shared memory, memory files and scratch files, without cached files."""
        names = ("total_rss", "total_shmem", "total_swap") if self.version == 1 else ("anon", "shmem")
        facts = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return sum(int(facts.get(name, 0)) for name in names)

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
        lines = (self.folder / name).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)

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
        while True:
            try:
                self.folder.rmdir()
                return True
            except FileNotFoundError:
                return True
            except OSError:  # busy: killed processes have not left yet
                if time.monotonic() > until:
                    return False
                time.sleep(0.002)


@dataclass(frozen=True)
class MemoryGroups:
    """The folder below which this process may create memory groups."""

    base: Path
    version: Version

    @property
    def name(self) -> str:
        """Name of this kind of memory limit in the archive: ``cgroup1`` or ``cgroup2``."""
        return f"cgroup{self.version}"

    def create(self, limit_mb: int) -> MemoryGroup:
        """Create an empty group with a hard limit. Raises OSError if the kernel refuses."""
        folder = self.base / f"{_PREFIX}{owner.tag()}-{secrets.token_hex(4)}"
        folder.mkdir()
        group = MemoryGroup(folder, self.version)
        try:
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
        for parent in (self.base, *(each for each in self.base.parent.glob("*") if each != self.base)):
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
            groups = MemoryGroups(base, version) if base is not None else None
            if groups is not None and _works(groups):
                groups.remove_stale()
                return groups
    return None


def _works(groups: MemoryGroups) -> bool:
    """Return whether a group can be created and entered."""
    group = groups.create(64)
    try:
        words = ["/bin/sh", "-c", ENTER_GROUP, str(group.procs_file), "/bin/sh", "-c", "exit 7"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 7
    finally:
        group.remove()


def _own_groups(proc: Path) -> list[tuple[Version, Path]]:
    """Return the folders of this process's own memory groups, version 1 first (it excludes version 2)."""
    try:
        memberships = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    except OSError:
        return []
    found: list[tuple[Version, Path]] = []
    for mount in mounts:
        root, target, kind, options = mount[3], mount[4], *_kind(mount)
        for _, controllers, path in memberships:
            version: Version | None = None
            if kind == "cgroup" and "memory" in options.split(",") and "memory" in controllers.split(","):
                version = 1
            elif kind == "cgroup2" and controllers == "":
                version = 2
            # A mount may show only a part of the hierarchy (a container's): this process's group must be in it.
            if version is not None and Path(path).is_relative_to(root):
                found.append((version, Path(target) / Path(path).relative_to(root)))
    return sorted(found, key=lambda each: each[0])


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
