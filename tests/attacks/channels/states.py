"""States by which one sandbox might tell another 64 bits: what a sender does, and what a receiver measures.

This file is staged as a candidate's and imports the standard library only. The sender brings about a state for every
bit and keeps it; the receiver returns one number for each. A larger number means a one, or, for all bits, a zero.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import mmap
import os
import re
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

BITS = 64
_KEY = 0x54570000  # of System V objects
_PORT = 23_400
_LEAST_BYTES = 12_000
_RWF_NOWAIT = 8
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_MPOL_BIND, _MPOL_F_ADDR = 2, 2
_OFD_GETLK, _OFD_SETLK, _SETLEASE, _GETLEASE = 36, 37, 1024, 1025
_WRLCK, _RDLCK, _UNLCK = 1, 0, 2
_CALLS = {"cachestat": 451, "shmget": 29, "shmctl": 31, "semget": 64, "semctl": 66, "mq_open": 240, "mq_unlink": 241}
_CALLS |= {"add_key": 248, "keyctl": 250, "futex": 202, "mbind": 237, "get_mempolicy": 239}
_USER_KEYRING, _UNLINK, _SEARCH = -4, 9, 10
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
held: list[object] = []
"""What keeps a sender's state alive."""
nonce: list[str] = []
"""Part of names that no earlier test has asked for."""


def _ones(bits: list[int]) -> list[int]:
    return [number for number, bit in enumerate(bits) if bit]


def call(name: str, *arguments: object) -> int:
    return int(_libc.syscall(_CALLS[name], *arguments))


# ---------------------------------------------------------------- places


def files() -> list[str]:
    """64 files that every sandbox can read, and that no interpreter reads at its start."""
    found = []
    for folder, folders, names in os.walk(os.path.dirname(os.__file__)):
        folders[:] = sorted(name for name in folders if name not in ("site-packages", "test", "__pycache__", "tests"))
        for name in sorted(names):
            path = os.path.join(folder, name)
            module = os.path.splitext(name)[0]
            if name.endswith(".py") and module not in sys.modules and os.path.getsize(path) > _LEAST_BYTES:
                found.append(path)
    return found[40 : 40 + BITS]


def names() -> list[str]:
    """64 names that do not exist, beside files that every sandbox can read."""
    return [f"{os.path.dirname(os.__file__)}/no-such-file-{nonce[0]}-{number}" for number in range(BITS)]


def common_files() -> list[str]:
    """Single files that may be one and the same in two sandboxes."""
    found = [
        "/dev/null",
        "/dev/urandom",
        "/etc/ld.so.cache",
        "/proc/cpuinfo",
        "/proc/meminfo",
        __file__,
        sys.executable,
    ]
    return [path for path in found if os.access(path, os.R_OK)]


# ---------------------------------------------------------------- pages in memory


def drop_or_read(bits: list[int]) -> None:
    for path, bit in zip(files(), bits, strict=True):
        with open(path, "rb") as file:
            if bit:
                file.read()
            else:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def told_by_mincore() -> Iterator[float]:
    for path in files():
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            pages = ctypes.create_string_buffer(size // 4096 + 1)
            address = _libc.mmap(None, ctypes.c_size_t(size), mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0)
            failed = _libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages)
            _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(size))
            yield 0.0 if failed else sum(page & 1 for page in pages.raw)


def told_by_nowait() -> Iterator[float]:
    for path in files():
        with open(path, "rb") as file:
            try:
                yield float(os.preadv(file.fileno(), [bytearray(4096)], 4096, _RWF_NOWAIT))
            except OSError:
                yield 0.0


def told_by_cachestat() -> Iterator[float]:
    for path in files():
        with open(path, "rb") as file:
            span, answer = struct.pack("QQ", 0, 0), ctypes.create_string_buffer(40)
            call("cachestat", file.fileno(), span, answer, 0)
            yield float(struct.unpack("5Q", answer.raw)[0])


def told_by_the_time_of_reading() -> Iterator[float]:
    """The first read of each file, from its end: read-ahead would bring the rest."""
    opened = [os.open(path, os.O_RDONLY) for path in files()]
    for descriptor in opened:
        size, began = os.fstat(descriptor).st_size, time.perf_counter()
        os.pread(descriptor, 64, size - 64)
        yield -(time.perf_counter() - began)
        os.close(descriptor)


# ---------------------------------------------------------------- names and times


def look_up(bits: list[int]) -> None:
    for name, bit in zip(names(), bits, strict=True):
        if bit:
            for _ in range(3):
                os.path.exists(name)


def told_by_the_time_of_a_look() -> Iterator[float]:
    for name in names():
        began = time.perf_counter()
        os.path.exists(name)
        yield -(time.perf_counter() - began)


def open_some(bits: list[int]) -> None:
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            with open(path, "rb") as file:
                file.read(1)


def told_by_access_times() -> Iterator[float]:
    return (float(os.stat(path).st_atime_ns) for path in files())


# ---------------------------------------------------------------- locks


def _lock_record(kind: int, start: int) -> bytes:
    return struct.pack("hhqqi4x", kind, 0, start, 1, 0)


def lock_bytes(path: str, bits: list[int]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    held.append(descriptor)
    for place, bit in enumerate(bits):
        if bit:
            fcntl.fcntl(descriptor, _OFD_SETLK, _lock_record(_RDLCK, 7000 + 2 * place))


def told_by_locked_bytes(path: str) -> Iterator[float]:
    descriptor = os.open(path, os.O_RDONLY)
    for place in range(BITS):
        answer = fcntl.fcntl(descriptor, _OFD_GETLK, _lock_record(_WRLCK, 7000 + 2 * place))
        yield float(struct.unpack("hhqqi4x", answer)[0] != _UNLCK)


def lock_whole_files(bits: list[int]) -> None:
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            descriptor = os.open(path, os.O_RDONLY)
            held.append(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def told_by_refused_locks() -> Iterator[float]:
    for path in files():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield 0.0
        except OSError:
            yield 1.0
        os.close(descriptor)


def told_by_the_list_of_locks() -> Iterator[float]:
    with open("/proc/locks") as listing:
        found = {int(number) for number in re.findall(r"(\d+) \d+$", listing.read(), flags=re.M)}
    return (float(7000 + 2 * place in found) for place in range(BITS))


def lease(bits: list[int]) -> None:
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            descriptor = os.open(path, os.O_RDONLY)
            held.append(descriptor)
            fcntl.fcntl(descriptor, _SETLEASE, _RDLCK)


def told_by_leases() -> Iterator[float]:
    """A write lease is refused where another process has the file open or holds a lease."""
    for path in files():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.fcntl(descriptor, _SETLEASE, _WRLCK)
            yield 0.0
        except BlockingIOError:
            yield 1.0
        os.close(descriptor)


# ---------------------------------------------------------------- objects with names


def make_segments(bits: list[int]) -> None:
    for number in _ones(bits):
        call("shmget", _KEY + number, 4096, 0o1666)


def told_by_segments() -> Iterator[float]:
    for number in range(BITS):
        found = call("shmget", _KEY + number, 0, 0)
        yield float(found >= 0 and call("shmctl", found, 0, None) == 0)  # 0: removed


def make_semaphores(bits: list[int]) -> None:
    for number in _ones(bits):
        call("semget", _KEY + number, 1, 0o1666)


def told_by_semaphores() -> Iterator[float]:
    for number in range(BITS):
        found = call("semget", _KEY + number, 0, 0)
        yield float(found >= 0 and call("semctl", found, 0, 0, None) == 0)


def make_queues(bits: list[int]) -> None:
    for number in _ones(bits):
        smallest = struct.pack("8l", 0, 1, 8, 0, 0, 0, 0, 0)
        call("mq_open", b"tw-%d" % number, os.O_CREAT | os.O_RDWR, 0o666, smallest)


def told_by_queues() -> Iterator[float]:
    return (float(call("mq_unlink", b"tw-%d" % number) == 0) for number in range(BITS))


def bind_abstract(bits: list[int]) -> None:
    for number in _ones(bits):
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(f"\0treewright-{number}")
        bound.listen(1)
        held.append(bound)


def told_by_abstract() -> Iterator[float]:
    for number in range(BITS):
        with socket.socket(socket.AF_UNIX) as tried:
            yield float(tried.connect_ex(f"\0treewright-{number}") == 0)


def bind_ports(bits: list[int]) -> None:
    for number in _ones(bits):
        bound = socket.socket()
        bound.bind(("127.0.0.1", _PORT + number))
        held.append(bound)


def told_by_ports() -> Iterator[float]:
    for number in range(BITS):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", _PORT + number))
                yield 0.0
            except OSError:
                yield 1.0


def add_keys(bits: list[int]) -> None:
    for number in _ones(bits):
        call("add_key", b"user", b"tw-%d" % number, b"x", 1, _USER_KEYRING)


def told_by_keys() -> Iterator[float]:
    for number in range(BITS):
        found = call("keyctl", _SEARCH, _USER_KEYRING, b"user", b"tw-%d" % number, 0)
        yield float(found >= 0 and call("keyctl", _UNLINK, found, _USER_KEYRING) == 0)


def name_processes(bits: list[int]) -> None:
    title = "".join(map(str, bits))
    for part in range(0, BITS, 8):
        if (child := os.fork()) == 0:
            _libc.prctl(15, f"tw{part:02}{title[part : part + 8]}".encode(), 0, 0, 0)
            time.sleep(600)
            os._exit(0)
        held.append(child)


def told_by_titles() -> Iterator[float]:
    found = dict[int, str]()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/comm") as title:
            if match := re.match(r"tw(\d\d)([01]{8})", title.read()):
                found[int(match[1])] = match[2]
    text = "".join(found.get(part, "00000000") for part in range(0, BITS, 8))
    return (float(bit) for bit in text)


# ---------------------------------------------------------------- pages that others map


def map_some(bits: list[int]) -> None:
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
            mapped[0], mapped[-1]
            held.append(mapped)


def told_by_shared_pages() -> Iterator[float]:
    maps = []
    for path in files():
        with open(path, "rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE))
        maps[-1][0], maps[-1][-1]
    with open("/proc/self/smaps") as listing:
        parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", listing.read(), flags=re.M)
    for path in files():
        own = [part for part in parts if part.partition("\n")[0].endswith(path)]
        yield sum(float(size) for part in own for size in re.findall(r"Shared_(?:Clean|Dirty): +(\d+)", part))


def _mapped(path: str) -> int:
    """Map a file, for good; return the address."""
    with open(path, "rb") as file:
        nowhere, place = ctypes.c_void_p(None), ctypes.c_long(0)
        address = int(_libc.mmap(nowhere, ctypes.c_size_t(4096), mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), place))
    ctypes.string_at(address, 1)
    return address


def wait_at_some(bits: list[int]) -> None:
    """Threads that sleep until the first word of a file changes."""
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            address = ctypes.c_void_p(_mapped(path))
            word = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint32))[0]
            arguments = ("futex", address, _FUTEX_WAIT, ctypes.c_uint32(word), None, None, 0)
            threading.Thread(target=call, args=arguments, daemon=True).start()
    time.sleep(0.1)


def told_by_who_wakes() -> Iterator[float]:
    return (float(call("futex", ctypes.c_void_p(_mapped(path)), _FUTEX_WAKE, 99, None, None, 0)) for path in files())


def choose_memory(bits: list[int]) -> None:
    """The memory node for pages of some files, which the kernel keeps with a file in memory."""
    for path, bit in zip(files(), bits, strict=True):
        if bit:
            node = ctypes.byref(ctypes.c_ulong(1))
            most = ctypes.c_ulong(64)
            call("mbind", ctypes.c_void_p(_mapped(path)), ctypes.c_ulong(4096), _MPOL_BIND, node, most, 0)


def told_by_memory_policies() -> Iterator[float]:
    for path in files():
        mode, nodes = ctypes.c_int(0), (ctypes.c_ulong * 16)()
        address, kind = ctypes.c_void_p(_mapped(path)), ctypes.c_ulong(_MPOL_F_ADDR)
        call("get_mempolicy", ctypes.byref(mode), nodes, ctypes.c_ulong(1024), address, kind)
        yield float(mode.value == _MPOL_BIND)


# ---------------------------------------------------------------- both sides


Send, Receive = Callable[[list[int]], None], Callable[[], Iterator[float]]
HELD: dict[str, tuple[Send | None, Receive]] = {
    "pages (mincore)": (drop_or_read, told_by_mincore),
    "pages (RWF_NOWAIT)": (None, told_by_nowait),
    "pages (cachestat)": (None, told_by_cachestat),
    "pages (time of reading)": (None, told_by_the_time_of_reading),
    "pages that others map (smaps)": (map_some, told_by_shared_pages),
    "access times": (open_some, told_by_access_times),
    "names that do not exist": (look_up, told_by_the_time_of_a_look),
    "locks on whole files": (lock_whole_files, told_by_refused_locks),
    "leases": (lease, told_by_leases),
    "System V memory": (make_segments, told_by_segments),
    "System V semaphores": (make_semaphores, told_by_semaphores),
    "POSIX queues": (make_queues, told_by_queues),
    "abstract sockets": (bind_abstract, told_by_abstract),
    "ports": (bind_ports, told_by_ports),
    "keyrings": (add_keys, told_by_keys),
    "process titles": (name_processes, told_by_titles),
    "list of locks": (None, told_by_the_list_of_locks),
    "threads that wait at pages of files (futex)": (wait_at_some, told_by_who_wakes),
    "memory policies of files (mbind)": (choose_memory, told_by_memory_policies),
}
"""Name -> what the sender does, None if another way's sender does it, and what the receiver measures."""


def send(bits: list[int]) -> None:
    """Bring about every held state; a way that is refused is left out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for act, _ in HELD.values():
        if act is not None:
            with contextlib.suppress(OSError, AttributeError):
                act(bits)
    for path in common_files():
        with contextlib.suppress(OSError):
            lock_bytes(path, bits)


def receive() -> dict[str, list[float]]:
    """Measure every held state; zeros where it cannot be measured."""
    found = {}
    for name, (_, measure) in HELD.items():
        found[name] = _numbers(measure)
    for path in common_files():
        name = "the program" if path == __file__ else os.path.basename(path)
        found[f"locks on {name}"] = _numbers(functools.partial(told_by_locked_bytes, path))
    return found


def receive_timed(way: str) -> tuple[list[float], float]:
    """Measure one held state; return its numbers and the seconds that it took."""
    began = time.perf_counter()
    return _numbers(HELD[way][1]), time.perf_counter() - began


def _numbers(measure: Receive) -> list[float]:
    try:
        return list(measure())
    except (OSError, AttributeError, ValueError, TypeError):
        return [0.0] * BITS
