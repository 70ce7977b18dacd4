"""Memory of a process tree measured from outside, for machines without memory groups (see ``train.sandbox.cgroup``).

Measured about 12 times a second: the resident pages of every process (shared pages are counted once if the plain sum
exceeds the limit), memory files that a process holds open, mapped or not, and files in the sandbox's own scratch
folders.

Not measured: memory taken and released between two checks; memory files held only by an untouched mapping or by a
message in a socket; unattached System V segments; kernel memory (pipes, sockets, page tables); swapped-out pages. So a
candidate that allocates faster than it is checked can reach the machine's limit before it is ended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence

import psutil

_DESCRIPTORS = 4096  # most descriptors read per process; RLIMIT_NOFILE is not above it
_SCRATCH = ("tmp", "dev/shm")


def resident_bytes(process: psutil.Process) -> int:
    """Return resident bytes, shared pages included. Raises psutil.Error."""
    return int(process.memory_info().rss)


def file_bytes(processes: Sequence[psutil.Process]) -> int:
    """Return the bytes of these processes' memory files and scratch files, each counted once."""
    found = dict[tuple[int, int], int]()
    for process in processes:
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.update(_memory_files(process.pid))
            found.update(_scratch(process.pid))
    return sum(found.values())


def deduplicated_bytes(processes: Sequence[psutil.Process], in_files: int) -> float:
    """Return a lower bound of the bytes held, each page counted once; infinite if the kernel does not report it.

    ``in_files``: the result of ``file_bytes``. Mapped pages of those files are also in the processes' proportional
    share, and it is unknown which. The larger of the two counts for both, so no honest program is ended for pages
    counted twice.
    """
    own, shared = 0, 0
    for process in processes:
        try:
            with open(f"/proc/{process.pid}/smaps_rollup") as lines:
                sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in _fields(lines)}
        except (FileNotFoundError, ProcessLookupError):
            if not os.path.exists("/proc/self/smaps_rollup"):  # a kernel without it
                return float("inf")
            continue  # it has ended
        except OSError:
            return float("inf")
        shared += sizes.get("Pss_Shmem", 0)
        own += sizes.get("Pss", 0) - sizes.get("Pss_Shmem", 0)
    return float(own + max(shared, in_files))


def _fields(lines: Iterator[str]) -> Iterator[tuple[str, str, str]]:
    return (line.partition(":") for line in itertools.islice(lines, 1, None))


def _memory_files(process: int) -> Iterator[tuple[tuple[int, int], int]]:
    folder = f"/proc/{process}/fd"
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, _DESCRIPTORS):
            with contextlib.suppress(OSError):
                if os.readlink(entry.path).startswith("/memfd:"):
                    facts = os.stat(entry.path)
                    yield (facts.st_dev, facts.st_ino), facts.st_blocks * 512


def _scratch(process: int) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield the in-memory folders of the process's own sandbox, not those shared with this process."""
    shared = {os.stat(f"/{ours}").st_dev for ours in ("", *_SCRATCH)}
    for name in _SCRATCH:
        with contextlib.suppress(OSError):
            device, used = usage(f"/proc/{process}/root/{name}")
            if device not in shared:
                yield (device, 0), used


def usage(folder: str) -> tuple[int, int]:
    """Return device and used bytes of the file system of a folder. Raises OSError.

    Both of one look: the root of a process that is just making its sandbox is another one a moment later.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        facts = os.statvfs(descriptor)
        return os.fstat(descriptor).st_dev, (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    finally:
        os.close(descriptor)
