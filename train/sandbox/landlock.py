"""The second tier: Landlock, a filter of system calls and a keeper, for machines where namespaces are refused.

The worker and all that it starts may read what bubblewrap would mount (the interpreter, the installed packages, /usr,
our small library, the candidate) and write one scratch folder; there is no network and no way to other processes.
When the search runs as root, every sandbox has a user of its own. Our ``confine.keeper`` is its first process and takes
everything along when the worker ends, when it is asked to, and when the search dies.

What this tier does not give, compared with bubblewrap:

- Names are not hidden: a candidate can ask whether a path exists, how large it is and where a link leads (not what a
  folder holds, nor what is in a file). It sees the numbers of the machine's processes, and nothing of them.
- No /proc, no /dev/shm and no sockets: multi-process data loading, ``multiprocessing`` queues and locks, and
  ``torch.distributed`` fail. Threads, subprocesses and ``os.fork`` work.
- The scratch folder is watched (four times a second, less often while it holds very much) instead of limited: a burst
  may be larger for a moment, on the file system of the temporary folder. Each file is limited by the kernel.
- As root, with an interpreter or packages that are closed to other users (under /root), the candidate may pass closed
  folders (CAP_DAC_READ_SEARCH) and so reads every file of the folders that it may read, private ones included.
- As an ordinary user the candidate has your user: modes, owners and times of files cannot be changed in there at all,
  and the limit of processes is for all that are yours. It is left out where the system counts some that we cannot see.
- A keeper that is killed by itself (SIGKILL) takes the worker along, and perhaps not what that has started; then the
  search ends those that it knows of.
- With a GPU it has not been run.
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
from train.sandbox.confine import filters, keeper
from train.sandbox.confine.landlock import abi
from train.sandbox.environment import (
    NOBODY,
    TRIAL,
    Contained,
    Inside,
    Tier,
    environment_for,
    gpu_devices,
    gpu_facts,
    probe,
    site_folders,
)

AS_A_USER, AS_ROOT = 6, 1
"""The oldest Landlock that is enough. As an ordinary user it must keep signals in (6, Linux 6.12); a user of its own
cannot signal anybody, and owns no file that is writable outside (1, Linux 5.13)."""

LACKS = (
    "multi-process data loading (no /proc, /dev/shm or sockets); hidden names and process numbers; "
    "a hard limit on scratch space (it is watched)"
)
"""What a person should know who runs on this tier; in full above."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_FACTS = ("/etc/ld.so.cache", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")
_OF_A_GPU = ("/proc/driver/nvidia", "/proc/devices", "/sys/module/nvidia", "/sys/bus/pci")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_USERS = itertools.count()
_USERS_EACH = 64  # of one search, before they come round again


@dataclass(frozen=True)
class Landlock:
    """The sandbox made of Landlock. A launch takes an interpreter's start more than with bubblewrap: the keeper's."""

    version: int = field(default_factory=abi)
    tier: Tier = "landlock"
    contained: Contained = "keeper"

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> Inside:
        library, candidate = str(stage / "library"), str(stage / "candidate")
        sites = os.pathsep.join(map(str, site_folders()))
        arguments = (str(descriptor), library, sites, candidate, self.tier)
        return self._around(stage, slot, scratch_mb, (f"{library}/worker.py", *arguments))

    def _around(self, stage: Path, slot: Slot, scratch_mb: int, program: tuple[str, ...]) -> Inside:
        libraries = {"LD_LIBRARY_PATH": f"{sys.base_prefix}/lib"}
        root = os.geteuid() == 0
        asked = keeper.Specification(
            parent=os.getpid(),
            version=self.version,
            user=_own_user() if root else None,
            search=root and not all(map(_open_to_all, (Path(sys.base_prefix), *site_folders(), stage))),
            readable=self._readable(stage, slot),
            devices=[*_DEVICES, *gpu_devices(slot)],
            folder=str(stage),
            scratch_mb=scratch_mb,
            environment={**environment_for(slot), **libraries},
        )
        interpreter = (_interpreter(), "-I", "-S")
        library = str(stage / "library")
        command = (*interpreter, "-c", keeper.BOOT, library, json.dumps(asdict(asked)), *interpreter, *program)
        return Inside(command, libraries)

    def mounted(self) -> tuple[Path, ...]:
        return (*map(Path, _SYSTEM), Path(sys.base_prefix), *site_folders())

    def _readable(self, stage: Path, slot: Slot) -> list[str]:
        folders = [*map(str, self.mounted()), str(stage / "library"), str(stage / "candidate"), *_FACTS]
        return folders if slot.gpu is None else [*folders, *_OF_A_GPU, *gpu_facts(slot)]

    def probe(self) -> str | None:
        """None if a sandbox can be made here, else what is missing."""
        if self.version < 1:
            return "this kernel has no Landlock, or it is turned off (Linux 5.13 or newer, `lsm=` with landlock)"
        if os.geteuid() != 0 and self.version < AS_A_USER:
            return (
                f"Landlock {self.version} is too old to keep signals inside (expected {AS_A_USER}: Linux 6.12 or "
                "newer); run as root, where each sandbox gets a user of its own"
            )
        try:
            filters.program(filters.Strictness(), platform.machine())
        except filters.Unconfinable as error:
            return str(error)
        return probe(
            lambda stage, slot: self._around(stage, slot, 16, ("-c", TRIAL, str(stage / "library"))),
        )


def _own_user() -> int:
    """A user for one sandbox of this search: no other sandbox on the machine has it at the same time."""
    number = os.getpid() * _USERS_EACH + next(_USERS) % _USERS_EACH
    highest = min(_highest(Path("/proc/self/uid_map")), _highest(Path("/proc/self/gid_map")))
    if highest > NOBODY + 2**22 * _USERS_EACH:
        return NOBODY + number
    return 40_000 + number % 20_000  # a container that has 65,536 users


def _highest(table: Path) -> int:
    """The highest user or group that exists in this user namespace."""
    rows = (line.split() for line in table.read_text().splitlines())
    return max(int(first) + int(count) - 1 for first, _, count in rows)


def _interpreter() -> str:
    return f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))
