"""The second sandbox tier, for machines that refuse namespaces: Landlock, a system call filter and a keeper process.

The worker and its children may read what bubblewrap would mount (the interpreter, the installed packages, /usr, the
staged library, the candidate) and write one scratch folder. They have no network and no access to other processes. As
root, every sandbox has its own user. ``confine.keeper`` is the sandbox's first process and kills all others when the
worker ends, on SIGTERM, and when the search dies.

Limitations compared with bubblewrap:

- Names are not hidden: a candidate can see whether a path exists, its size and where a link leads, but not list folders
  or read files. It sees the numbers of the machine's processes, and nothing else of them.
- No /proc, /dev/shm or sockets: multi-process data loading, ``multiprocessing`` queues and locks, and
  ``torch.distributed`` fail. Threads, subprocesses and ``os.fork`` work.
- The scratch folder's size is checked (four times a second, less often while it holds very much), not limited: a burst
  may exceed it for a moment, on the file system of the temporary folder. The kernel limits each file.
- As root, if other users cannot enter the interpreter's or packages' folders (under /root), the candidate gets
  CAP_DAC_READ_SEARCH and can read every file in its readable folders, including private ones.
- As an ordinary user, the candidate has the same user as the search: modes, owners and times of files cannot be changed
  at all inside, and the process limit counts all of that user's processes. It is left out if some of them are invisible
  (another container's).
- If the keeper alone is killed (SIGKILL), the worker dies with it, but perhaps not its children; the search then kills
  those that it has seen.
- It has not been run with a GPU.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from train.hardware.slots import Slot
from train.hardware.vendors import vendor_of
from train.sandbox.confine import filters, keeper
from train.sandbox.confine.landlock import abi
from train.sandbox.environment import (
    FIRST_UID,
    INTERPRETER_OPTIONS,
    PROBE_SCRIPT,
    Contained,
    SandboxCommand,
    Tier,
    environment_for,
    probe,
    site_folders,
)

MIN_ABI_USER, MIN_ABI_ROOT = 6, 1
"""Oldest sufficient Landlock ABI. An ordinary user needs signals to be contained (6, Linux 6.12).

A sandbox with its own user cannot signal other users and owns no writable file outside (1, Linux 5.13).
"""

LIMITATIONS = (
    "multi-process data loading (no /proc, /dev/shm or sockets); hidden names and process numbers; "
    "a hard limit on scratch space (it is checked four times a second)"
)
"""Summary of the limitations above, for the user."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_FACTS = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo")
_CORES = Path("/sys/devices/system/cpu")
_FIXED_OF_CORES = ("online", "possible", "present", "kernel_max", "cpu[0-9]*/topology", "cpu[0-9]*/cache")
"""What stays the same of the cores: not their clock rates and times asleep, which tell what others compute."""
_GPU_INFO = ("/proc/driver/nvidia", "/proc/devices", "/sys/module/nvidia", "/sys/bus/pci")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_USERS = itertools.count()
_USERS_EACH = 64  # user numbers per search, reused in turn


@dataclass(frozen=True)
class Landlock:
    """The sandbox made with Landlock. A launch starts one more interpreter than with bubblewrap, the keeper's."""

    version: int = field(default_factory=abi)
    tier: Tier = "landlock"
    contained: Contained = "keeper"
    stages: Path | None = None

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> SandboxCommand:
        library, candidate = str(stage / "library"), str(stage / "candidate")
        sites = os.pathsep.join(map(str, site_folders()))
        arguments = (str(descriptor), library, sites, candidate, self.tier)
        return self._wrapped(stage, slot, scratch_mb, (f"{library}/worker.py", *arguments))

    def _wrapped(self, stage: Path, slot: Slot, scratch_mb: int, program: tuple[str, ...]) -> SandboxCommand:
        libraries = {"LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
        root = os.geteuid() == 0
        specification = keeper.Specification(
            parent=os.getpid(),
            version=self.version,
            user=_own_user() if root else None,
            search=root and not all(map(_open_to_all, (Path(sys.base_prefix), *site_folders(), stage))),
            readable=self._readable(stage, slot),
            devices=[*_DEVICES, *vendor_of(slot).device_files(slot)],
            folder=str(stage),
            scratch_mb=scratch_mb,
            environment={**environment_for(slot), **libraries},
        )
        interpreter = (_interpreter(), *INTERPRETER_OPTIONS)
        library = str(stage / "library")
        command = (*interpreter, "-c", keeper.BOOT, library, json.dumps(asdict(specification)), *interpreter, *program)
        return SandboxCommand(command, libraries)

    def mounted(self) -> tuple[Path, ...]:
        return (*map(Path, _SYSTEM), Path(sys.base_prefix), *site_folders())

    def _readable(self, stage: Path, slot: Slot) -> list[str]:
        cores = [str(path) for pattern in _FIXED_OF_CORES for path in sorted(_CORES.glob(pattern))]
        folders = [*map(str, self.mounted()), str(stage / "library"), str(stage / "candidate"), *_FACTS, *cores]
        return folders if slot.gpu is None else [*folders, *_GPU_INFO, *vendor_of(slot).info_folders()]

    def probe(self) -> str | None:
        """Return None if a sandbox can be made here, else what is missing."""
        if self.version < 1:
            return "this kernel has no Landlock, or it is turned off (Linux 5.13 or newer, `lsm=` with landlock)"
        if os.geteuid() != 0 and self.version < MIN_ABI_USER:
            return (
                f"Landlock {self.version} is too old to keep signals inside (expected {MIN_ABI_USER}: Linux 6.12 or "
                "newer); run as root, where each sandbox gets a user of its own"
            )
        try:
            filters.program(filters.FilterOptions(), platform.machine())
        except filters.Unconfinable as error:
            return str(error)
        return probe(
            lambda stage, slot: self._wrapped(stage, slot, 16, ("-c", PROBE_SCRIPT, str(stage / "library"))),
        )


def _own_user() -> int:
    """Return a user number that no other sandbox on the machine has at the same time."""
    number = os.getpid() * _USERS_EACH + next(_USERS) % _USERS_EACH
    highest = min(_highest(Path("/proc/self/uid_map")), _highest(Path("/proc/self/gid_map")))
    if highest > FIRST_UID + 2**22 * _USERS_EACH:
        return FIRST_UID + number
    return 40_000 + number % 20_000  # a container with 65,536 users


def _highest(table: Path) -> int:
    """Return the highest user or group number of this user namespace, from its map."""
    rows = (line.split() for line in table.read_text().splitlines())
    return max(int(first) + int(count) - 1 for first, _, count in rows)


def _interpreter() -> str:
    return f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
