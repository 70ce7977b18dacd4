"""What a process tree holds, seen from outside: where no memory group can be made (see ``train.sandbox.cgroup``).

Seen at each look, about 12 times a second: the resident pages of every process (if their plain sum passes the limit,
pages that several share are counted once); memory files that a process holds open, mapped or not; the files in a
sandbox's own scratch folders.

Not seen: what is taken and given back between two looks; a memory file that is held only by a mapping of somebody
who has not touched it, or by a message on its way through a socket; System V segments that nobody has attached;
memory of the kernel (pipes, sockets, page tables); what the system has swapped out. A candidate that takes memory
faster than it is looked at can still bring the machine to its limit before it is ended.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence

import psutil

_DESCRIPTORS = 4096  # looked at in a process; a limit of ours on its open files is below that
_SCRATCH = ("tmp", "dev/shm")


def resident(process: psutil.Process) -> int:
    """Resident bytes, shared pages included. Raises psutil.Error."""
    return int(process.memory_info().rss)


def files(processes: Sequence[psutil.Process]) -> int:
    """Bytes of the memory files and scratch files of these processes, each counted once."""
    found = dict[tuple[int, int], int]()
    for process in processes:
        with contextlib.suppress(OSError):  # it may end while it is looked at
            found.update(_memory_files(process.pid))
            found.update(_scratch(process.pid))
    return sum(found.values())


def shared_once(processes: Sequence[psutil.Process], in_files: int) -> float:
    """Bytes held, each page counted once, at least; infinite where the system does not tell.

    ``in_files``: what ``files`` gave. Those of its pages that are mapped are in the processes' share, too, and which
    ones cannot be told: the larger of the two stands for both, so that no honest program ends for pages counted twice.
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
    """The folders in memory that its sandbox has for itself; not those that it shares with this process."""
    for name in _SCRATCH:
        with contextlib.suppress(OSError):
            inside = f"/proc/{process}/root/{name}"
            device = os.stat(inside).st_dev
            if device not in {os.stat(f"/{ours}").st_dev for ours in ("", *_SCRATCH)}:
                facts = os.statvfs(inside)
                yield (device, 0), (facts.f_blocks - facts.f_bfree) * facts.f_frsize
