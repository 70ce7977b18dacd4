"""The processor's caches: lines of a file that two sandboxes map, which one flushes or loads and the other times.

Flush and reload (Yarom and Falkner 2014). Overlays give each sandbox files of its own, but the pages of a file that
nobody has changed are the same memory, and so the same cache lines. ``CODE`` is compiled on the host (``compiled``) and
run by the sandbox from memory: a program can carry such bytes as a literal.
"""

from __future__ import annotations

import ctypes
import glob
import mmap
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CODE = """
static inline unsigned long now(void) {
    unsigned low, high;
    __asm__ volatile("mfence; lfence; rdtsc; lfence" : "=a"(low), "=d"(high) :: "memory");
    return ((unsigned long)high << 32) | low;
}
void run(volatile char *base, const unsigned *lines, unsigned count, unsigned what, unsigned *took) {
    for (unsigned i = 0; i < count; i++) {
        volatile char *line = base + lines[i];
        if (what == 1) { __asm__ volatile("clflush (%0)" :: "r"(line) : "memory"); continue; }
        (void)*(volatile char *)((unsigned long)line ^ 2048);  /* so that the time is not that of finding the page */
        unsigned long began = now();
        (void)*line;
        took[i] = (unsigned)(now() - began);
    }
    __asm__ volatile("mfence" ::: "memory");
}
"""
LOAD, FLUSH = 0, 1
BLOB = Path(__file__).with_name("caches.bin")
_PAGE = 4096


def compiled(code: str = CODE) -> bytes:
    """Return the machine code of ``run``, by the host's compiler."""
    with tempfile.TemporaryDirectory() as folder:
        source, made, flat = (f"{folder}/{name}" for name in ("run.c", "run.o", "run.bin"))
        Path(source).write_text(code)
        options = [
            "-O2",
            "-c",
            "-fPIC",
            "-fcf-protection=none",
            "-fno-stack-protector",
            "-fno-asynchronous-unwind-tables",
        ]
        subprocess.run(["gcc", *options, "-o", made, source], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", made, flat], check=True)
        return Path(flat).read_bytes()


def loaded(code: bytes, arguments: int) -> tuple[mmap.mmap, Callable[..., None]]:
    """Return memory with machine code, to be kept, and its function, whose arguments are numbers and addresses."""
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return memory, ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)(address)


def scattered(number: int) -> int:
    """Return the place of a line in its page, in an order that no prefetcher follows."""
    return number * 29 % 64


class Cache:
    """Lines of a shared file, one in each page."""

    def __init__(self, count: int) -> None:
        self._code, self._run = loaded(BLOB.read_bytes(), 5)
        self._base = _mapped(largest_file(), count * _PAGE)
        self._lines = [_PAGE * number + 64 * scattered(number) for number in range(count)]

    def act(self, what: int, chosen: list[int]) -> list[int]:
        """Flush or load lines; return the ticks that each load took."""
        lines = (ctypes.c_uint32 * len(chosen))(*[self._lines[number] for number in chosen])
        took = (ctypes.c_uint32 * len(chosen))()
        self._run(self._base, lines, len(chosen), what, took)
        return list(took)

    def times(self) -> list[float]:
        """Return the ticks of a load of every line, in an order that no prefetcher follows."""
        order = list(range(len(self._lines)))
        random.Random(1).shuffle(order)
        took = dict(zip(order, self.act(LOAD, order), strict=True))
        return [-float(took[number]) for number in range(len(order))]


def largest_file() -> str:
    """A file of the installed packages that every sandbox can read."""
    found = [path for site in sys.argv[3].split(":") for path in glob.glob(f"{site}/torch/lib/libtorch_cpu.so")]
    return found[0]


def _mapped(path: str, size: int) -> int:
    """Map the middle of a file; return the address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    descriptor = os.open(path, os.O_RDONLY)
    middle = os.fstat(descriptor).st_size // 2 // _PAGE * _PAGE
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, middle)
    assert address not in (None, ctypes.c_void_p(-1).value), ctypes.get_errno()
    for page in range(0, size, _PAGE):
        ctypes.string_at(address + page, 1)
    return int(address)


def send(messages: list[list[int]], begin: float, slot: float, spin: bool) -> None:
    """In each slot load the lines of the ones, after the receiver has flushed all. No length of slots: in turn."""
    cache = Cache(len(messages[0]))
    if not slot:
        cache.act(FLUSH, list(range(len(messages[0]))))
    for number, bits in enumerate(messages):
        wait(begin + (number + 0.4) * slot, spin)
        cache.act(LOAD, [line for line, bit in enumerate(bits) if bit])


def receive(slots: int, count: int, begin: float, slot: float, spin: bool) -> list[list[float]]:
    """Return a number for each slot and line; a larger one means that the line was in a cache."""
    cache, found = Cache(count), []
    if not slot:
        return [cache.times()]
    for number in range(slots):
        wait(begin + number * slot, spin)
        cache.act(FLUSH, list(range(count)))
        wait(begin + (number + 0.75) * slot, spin)
        found.append(cache.times())
    return found


def wait(until: float, spin: bool) -> None:
    """Wait asleep, or computing, so that nobody else uses the core and its caches meanwhile."""
    while spin and time.monotonic() < until:
        pass
    time.sleep(max(0.0, until - time.monotonic()))
