"""Memory groups of the kernel (cgroups): a hard limit for everything that a cell's processes hold together.

A group counts what no look at single processes sees: shared mappings, memory files that nobody maps, the files in
the sandbox's scratch folders, and it counts pages that several processes share once. At the limit the kernel gives
up cached files first (torch's libraries are read through that cache, and cost an honest program nothing), and then
kills; the group's counter says that it did. Ending a cell is certain, too: the group lists every process in it.

Both kinds are used where they are writable: version 1 (a ``memory`` hierarchy of its own), and version 2, where the
group of this process must have been delegated to it with the memory controller, as in

    systemd-run --user --scope -p Delegate=yes python -m search

Groups are made below our own group and nowhere else. Their names say whose they are; those of processes that were
killed are emptied and removed by the next one (``sweep``).
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
_PATIENCE = 2.0  # seconds for killed processes to have left a group
_PAGE = 4096
_AHEAD_BYTES = 4 << 20

ENTER = 'echo 0 > "$0" && exec "$@"'
"""For ``/bin/sh -c``: enter the group whose ``cgroup.procs`` is the first argument, then become the rest."""


@dataclass(frozen=True)
class MemoryGroup:
    """The group of one cell. Remove it when the cell has ended."""

    folder: Path
    version: Version

    @property
    def door(self) -> Path:
        """The file that a process enters by (see ``ENTER``)."""
        return self.folder / "cgroup.procs"

    def held(self) -> int:
        """Bytes that cannot be given up: private and shared memory, memory files and scratch files. No cached files."""
        names = ("total_rss", "total_shmem", "total_swap") if self.version == 1 else ("anon", "shmem")
        facts = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return sum(int(facts.get(name, 0)) for name in names)

    def kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory: of the group's, or of the machine's."""
        return self._count("memory.oom_control" if self.version == 1 else "memory.events", "oom_kill")

    def was_full(self) -> bool:
        """Whether the group has ever been at its limit, cached files included."""
        if self.version == 1:
            # Its count of failures stays at 0 on some kernels; what is taken in advance may be missing at the top.
            most, limit = (
                int((self.folder / f"memory.{name}_in_bytes").read_text()) for name in ("max_usage", "limit")
            )
            return most > limit - _AHEAD_BYTES
        return self._count("memory.events", "max") > 0

    def _count(self, name: str, key: str) -> int:
        lines = (self.folder / name).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)

    def processes(self) -> list[int]:
        """Numbers of the processes in it; 0 stands for one of a process namespace that we cannot see."""
        try:
            return [int(line) for line in self.door.read_text().split()]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):  # removed
                return []
            raise

    def kill(self, patience: float = _PATIENCE) -> bool:
        """Kill everything in it, again and again until nothing is left; whether that was so in ``patience`` seconds."""
        until = time.monotonic() + patience
        while found := self.processes():
            if self.version == 2:
                with contextlib.suppress(OSError):  # from Linux 5.14 on: all at once
                    (self.folder / "cgroup.kill").write_text("1")
            for process in found:
                # Number 0 would be our own process group. One that is not ours to signal (a sandbox made as root
                # and given to another user) dies with the sandbox it is in.
                if process > 0:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process, signal.SIGKILL)
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    def remove(self, patience: float = _PATIENCE) -> bool:
        """Remove the empty group; False if it was not empty, and is left for a sweep. May be called twice."""
        until = time.monotonic() + patience
        while True:
            try:
                self.folder.rmdir()
                return True
            except FileNotFoundError:
                return True
            except OSError:  # busy: what was killed has not left yet
                if time.monotonic() > until:
                    return False
                time.sleep(0.002)


@dataclass(frozen=True)
class MemoryGroups:
    """Where groups can be made."""

    base: Path
    version: Version

    @property
    def name(self) -> str:
        """How the archive calls this way of limiting memory: ``cgroup1`` or ``cgroup2``."""
        return f"cgroup{self.version}"

    def make(self, limit_mb: int) -> MemoryGroup:
        """A new, empty group with a hard limit. Raises OSError if the kernel refuses."""
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
                # All of a sandbox or nothing: one that has lost a process at random is of no use to anybody.
                (folder / "memory.oom.group").write_text("1")
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> int:
        """Empty and remove the groups of processes that were killed; how many there were."""
        swept = 0
        for parent in (self.base, *(each for each in self.base.parent.glob("*") if each != self.base)):
            for folder in parent.glob(f"{_PREFIX}*-*-*-*"):
                if owner.fate(folder.name.removeprefix(_PREFIX)) == "dead":
                    group = MemoryGroup(folder, self.version)
                    with contextlib.suppress(OSError):  # swept by another search meanwhile, or somebody else's
                        swept += group.kill() and group.remove()
        return swept


def find_groups(proc: Path = Path("/proc/self")) -> MemoryGroups | None:
    """Where this process may make memory groups, tried out; None if nowhere, which is usual for an ordinary user."""
    for version, folder in _own_groups(proc):
        with contextlib.suppress(OSError):
            base = folder if version == 1 else _delegated(folder)
            groups = MemoryGroups(base, version) if base is not None else None
            if groups is not None and _works(groups):
                groups.sweep()
                return groups
    return None


def _works(groups: MemoryGroups) -> bool:
    """A group can be made, and a process can enter it."""
    group = groups.make(64)
    try:
        words = ["/bin/sh", "-c", ENTER, str(group.door), "/bin/sh", "-c", "exit 7"]
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 7
    finally:
        group.remove()


def _own_groups(proc: Path) -> list[tuple[Version, Path]]:
    """The folders of this process's own groups that could limit memory, version 1 first (it excludes the other)."""
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
            # A mount may show a part of the hierarchy only (a container's): ours must be in it.
            if version is not None and Path(path).is_relative_to(root):
                found.append((version, Path(target) / Path(path).relative_to(root)))
    return sorted(found, key=lambda each: each[0])


def _kind(mount: list[str]) -> tuple[str, str]:
    """File system type and its own options, which stand behind a dash."""
    dash = mount.index("-", 6)
    return mount[dash + 1], mount[-1]


def _delegated(own: Path) -> Path | None:
    """Version 2: the group below which ours can be made.

    A group with processes in it cannot hand its memory controller down. So this process, if it is alone there, moves
    into a group of its own beside those to come; what it starts later follows it.
    """
    if own.name == _DRIVER:  # done before, by this process or the one that started it
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
