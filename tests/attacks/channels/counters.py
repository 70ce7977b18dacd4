"""Numbers of the whole machine by which one sandbox might tell another 64 bits while both run.

In each slot of time the sender works or does not; the receiver reads the numbers. See ``states``.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import struct
import threading
import time
from collections.abc import Callable

from states import BITS

SLOT_SECONDS = 0.25
_CLONE, _CLONE_PIDFD, _USTAT = 56, 0x1000, 136  # on x86-64
_libc = ctypes.CDLL(None, use_errno=True)


class Busy:
    """A sender's work in a slot: computing, memory, files, pipes, processes."""

    def __init__(self) -> None:
        self.scratch = os.environ.get("TMPDIR", "/tmp")

    def work(self, until: float) -> None:
        with open(f"{self.scratch}/filled", "wb") as file:
            file.write(bytes(4 << 20))
        block, opened = bytearray(24 << 20), []
        with contextlib.suppress(OSError):
            for _ in range(400):
                opened += [*os.pipe(), os.eventfd(0)]
            for _ in range(3000):
                for end in os.pipe():
                    os.close(end)
            for _ in range(20):
                if (child := os.fork()) == 0:
                    os._exit(0)
                os.waitpid(child, 0)
        while time.monotonic() < until:
            pass
        for descriptor in opened:
            os.close(descriptor)
        os.unlink(f"{self.scratch}/filled")
        del block


def _first(path: str, pattern: str) -> Callable[[], float]:
    def read() -> float:
        with open(path) as file:
            match = re.search(pattern, file.read(), flags=re.M)
        return float(match[1]) if match else 0.0

    return read


def _system_facts(place: int) -> float:
    """struct sysinfo: free memory and the number of processes are at these places."""
    buffer = ctypes.create_string_buffer(128)
    _libc.sysinfo(buffer)
    return float(struct.unpack_from("l3L6LH", buffer)[place])


def _new_pipe() -> float:
    """The number of the last of so many pipes that this core's share of numbers is used up."""
    for _ in range(1024):
        ends = os.pipe()
        number = os.fstat(ends[0]).st_ino
        os.close(ends[0])
        os.close(ends[1])
    return float(number)


def _new_process() -> float:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return float(child)


def _new_event() -> float:
    descriptor = os.eventfd(0)
    try:
        return _first(f"/proc/self/fdinfo/{descriptor}", r"eventfd-id:\s+(\d+)")()
    finally:
        os.close(descriptor)


def _new_process_descriptor() -> float:
    """The inode of a descriptor of a new process: a number for each process and thread that the machine starts."""
    descriptor = ctypes.c_int(-1)
    if (child := _libc.syscall(_CLONE, _CLONE_PIDFD | 17, None, ctypes.byref(descriptor), None, None)) == 0:
        os._exit(0)
    if child < 0:
        return 0.0
    os.waitpid(child, 0)
    number = os.fstat(descriptor.value).st_ino
    os.close(descriptor.value)
    return float(number)


def _free_everywhere() -> float:
    """Free blocks of all file systems without a device, by their numbers, whether one sees them or not."""
    facts, total = ctypes.create_string_buffer(32), 0
    for minor in range(1, 4096):
        if _libc.syscall(_USTAT, minor & 0xFF | (minor & ~0xFF) << 12, facts) == 0:
            total += struct.unpack_from("i", facts)[0]
    return float(total)


def _speed() -> float:
    began = time.perf_counter()
    for _ in range(3000):
        pass
    return time.perf_counter() - began


LEVELS: dict[str, Callable[[], float]] = {
    "free memory (/proc/meminfo)": _first("/proc/meminfo", r"^MemFree: +(\d+)"),
    "running processes (/proc/loadavg)": _first("/proc/loadavg", r" (\d+)/"),
    "open files (/proc/sys/fs/file-nr)": _first("/proc/sys/fs/file-nr", r"^(\d+)"),
    "entropy": _first("/proc/sys/kernel/random/entropy_avail", r"(\d+)"),
    "clock of the processor (/proc/cpuinfo)": _first("/proc/cpuinfo", r"MHz\s*: ([\d.]+)"),
    "terminals (/proc/sys/kernel/pty/nr)": _first("/proc/sys/kernel/pty/nr", r"(\d+)"),
    "free memory (sysinfo)": lambda: _system_facts(5),
    "number of processes (sysinfo)": lambda: _system_facts(10),
    "free space of the packages' file system": lambda: float(os.statvfs(os.__file__).f_bfree),
    "free space of the scratch folder": lambda: float(os.statvfs(os.environ.get("TMPDIR", "/tmp")).f_bfree),
    "number of an event": _new_event,
    "free space of all file systems (ustat)": _free_everywhere,
    "contention": _speed,
}
"""Numbers that are read in the middle of a slot."""
COUNTERS: dict[str, Callable[[], float]] = {
    "busy time (/proc/stat)": _first("/proc/stat", r"^cpu +(\d+)"),
    "page faults (/proc/vmstat)": _first("/proc/vmstat", r"^pgfault (\d+)"),
    "processes (/proc/stat)": _first("/proc/stat", r"^processes (\d+)"),
    "inode numbers of pipes": _new_pipe,
    "process numbers": _new_process,
    "inodes of process descriptors": _new_process_descriptor,
}
"""Numbers whose growth over a slot is told."""


def send_timed(bits: list[int], begin: float) -> None:
    busy = Busy()
    for number, bit in enumerate(bits):
        _wait(begin + number * SLOT_SECONDS)
        if bit:
            busy.work(begin + (number + 0.8) * SLOT_SECONDS)


def receive_timed(begin: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in (*LEVELS, *COUNTERS)}
    for number in range(BITS):
        _wait(begin + number * SLOT_SECONDS)
        before = {name: _or_zero(read) for name, read in COUNTERS.items()}
        _wait(begin + (number + 0.6) * SLOT_SECONDS)
        for name, read in LEVELS.items():
            found[name].append(_or_zero(read))
        _wait(begin + (number + 0.9) * SLOT_SECONDS)
        for name, read in COUNTERS.items():
            found[name].append(_or_zero(read) - before[name])
    return found


# ---------------------------------------------------------------- one way, as fast as it goes


def _make_pipes(until: float) -> None:
    _new_pipe()


def _fill_memory(until: float) -> None:
    block = bytearray(24 << 20)
    _wait(until)
    del block


def _start_threads(until: float) -> None:
    for _ in range(4):
        threading.Thread(target=_wait, args=(until,)).start()


def _compute(until: float) -> None:
    while time.monotonic() < until:
        pass


FAST: dict[str, tuple[Callable[[float], None], Callable[[], float]]] = {
    "inode numbers of pipes": (_make_pipes, _new_pipe),
    "free memory (sysinfo)": (_fill_memory, LEVELS["free memory (sysinfo)"]),
    "number of processes (sysinfo)": (_start_threads, LEVELS["number of processes (sysinfo)"]),
    "contention": (_compute, lambda: -_speed()),
}
"""What a sender does in a slot for a one, until a time, and the number that a receiver reads."""


def send_fast(way: str, bits: list[int], begin: float, slot: float) -> None:
    for number, bit in enumerate(bits):
        _wait(begin + number * slot)
        if bit:
            with contextlib.suppress(OSError):
                FAST[way][0](begin + (number + 0.7) * slot)


def receive_fast(way: str, count: int, begin: float, slot: float) -> list[float]:
    """Read in the middle of each slot: levels as they are, inode numbers as what they grew by."""
    found = []
    for number in range(-1, count):
        _wait(begin + (number + 0.45) * slot)
        found.append(_or_zero(FAST[way][1]))
    if way in COUNTERS:
        return [after - before for before, after in itertools.pairwise(found)]
    return found[1:]


def _or_zero(read: Callable[[], float]) -> float:
    try:
        return read()
    except (OSError, AttributeError):
        return 0.0


def _wait(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
