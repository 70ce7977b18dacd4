"""The processor's caches without shared memory: prime and probe (Osvik, Shamir and Tromer 2006).

The receiver fills a cache with memory of its own. The sender reads its own memory that falls into the same sets of the
cache, or does not; the receiver then times its memory again. A group is all lines at one place of their pages, since
this place decides on a part of the sets in every cache, whatever the memory's physical address. The code is compiled on
the host (``compiled``) and run by the sandbox, as in ``caches``.
"""

from __future__ import annotations

import ctypes
import mmap
import random
from pathlib import Path

import caches

CODE = """
static inline unsigned long now(void) {
    unsigned low, high;
    __asm__ volatile("mfence; lfence; rdtsc; lfence" : "=a"(low), "=d"(high) :: "memory");
    return ((unsigned long)high << 32) | low;
}
void run(char *base, const unsigned *pages, unsigned count, const unsigned *lines, unsigned groups, unsigned link,
         unsigned *took) {
    for (unsigned i = 0; i < groups; i++) {
        char *first = base + 4096UL * pages[0] + 64 * lines[i];
        if (link) {  /* each line holds the address of the next, so that no two are read at once */
            for (unsigned p = 0; p < count; p++)
                *(char **)(base + 4096UL * pages[p] + 64 * lines[i]) =
                    base + 4096UL * pages[(p + 1) % count] + 64 * lines[i];
            continue;
        }
        char *line = first;
        unsigned long began = now();
        do line = *(char *volatile *)line; while (line != first);
        took[i] = (unsigned)(now() - began);
    }
}
"""
BLOB = Path(__file__).with_name("primes.bin")
LINES = 64
_PAGE = 4096


def compiled() -> bytes:
    """Return the machine code of ``run``, by the host's compiler."""
    return caches.compiled(CODE)


class Sets:
    """Memory of one's own as large as a cache, or a share of it."""

    def __init__(self, pages: int) -> None:
        self._code, self._run = caches.loaded(BLOB.read_bytes(), 7)
        self._memory = mmap.mmap(-1, max(pages * _PAGE, 2 << 20), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_HUGEPAGE)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        order = list(range(pages))
        random.Random(1).shuffle(order)
        self._pages = (ctypes.c_uint32 * pages)(*order)
        self._walk(list(range(LINES)), link=True)

    def touch(self, groups: list[int]) -> list[int]:
        """Read all lines of some groups; return the ticks that each group took."""
        return self._walk([caches.scattered(group) for group in groups], link=False)

    def _walk(self, lines: list[int], link: bool) -> list[int]:
        took = (ctypes.c_uint32 * len(lines))()
        chosen = (ctypes.c_uint32 * len(lines))(*lines)
        self._run(self._base, self._pages, len(self._pages), chosen, len(lines), int(link), took)
        return list(took)


def send(messages: list[list[int]], pages: int, begin: float, slot: float, spin: bool) -> None:
    """In each slot read the groups of the ones, after the receiver has filled the cache."""
    sets = Sets(pages)
    for number, bits in enumerate(messages):
        caches.wait(begin + (number + 0.3) * slot, spin)
        sets.touch([group for group, bit in enumerate(bits) if bit])


def receive(slots: int, groups: int, pages: int, begin: float, slot: float, spin: bool) -> list[list[int]]:
    """Return the ticks of each slot and group. To time the lines also fills the cache with them again."""
    sets, everything = Sets(pages), list(range(groups))
    found = []
    for number in range(slots):
        caches.wait(begin + number * slot, spin)
        sets.touch(everything)
        caches.wait(begin + (number + 0.7) * slot, spin)
        found.append(sets.touch(everything))
    return found
