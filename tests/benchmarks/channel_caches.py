"""What the processor's caches tell between two sandboxes, for ``channels.py``: flush and reload, prime and probe.

In every slot of time the sender sends a fresh message, as many ones as zeros, a bit for each line (flush and reload,
``tests/attacks/channels/caches.py``) or for each group of sets (prime and probe, ``primes.py``); or one bit by all
groups together (``whole``). The receiver subtracts each place's median over all slots, since some lines always take
longer, and reads the larger half as ones. It reads each slot by itself, and the mean of several slots in which the
sender repeats its message.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import random
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import caches
import primes
import test_channels as channels

from train.sandbox.base import Sandbox

DEVIATIONS = 4.0
REPEATS = (1, 4, 16)
"""How often a message is sent, if the receiver takes the mean of its slots."""
Rows = Sequence[Sequence[float]]


def message(count: int) -> list[int]:
    """Return bits, as many ones as zeros, in random order."""
    bits = [1, 0] * (count // 2)
    random.SystemRandom().shuffle(bits)
    return bits


def luck(sent: int) -> float:
    """Return how many bits more than half can be right by chance."""
    return DEVIATIONS * math.sqrt(sent) / 2


def information(right: float, sent: int) -> float:
    """Return the bits that each sent bit tells, 0 where ``right`` is what chance explains."""
    if abs(right - sent / 2) < luck(sent):
        return 0.0
    wrong = 1 - max(right, sent - right) / sent
    return 1.0 if wrong == 0 else 1 + wrong * math.log2(wrong) + (1 - wrong) * math.log2(1 - wrong)


def right_bits(numbers: Sequence[float], bits: Sequence[int]) -> int:
    """Return how many bits are read rightly: two for each one among the larger half."""
    return 2 * channels.overlap(list(numbers), list(bits))


@dataclass(frozen=True)
class Shape:
    """How a message is sent: places, seconds of a slot; for prime and probe the pages of receiver and sender."""

    places: int
    slot: float
    pages: int = 0
    sent_pages: int = 0
    whole: bool = False
    """One bit a slot, by all places together."""

    def messages(self, slots: int, repeat: int) -> list[list[int]]:
        """Return a message for each slot, each of them ``repeat`` times."""
        kinds = math.ceil(slots / repeat)
        if self.whole:
            kept = [[bit] * self.places for bit in message(kinds + kinds % 2)[:kinds]]
        else:
            kept = [message(self.places) for _ in range(kinds)]
        return [kept[number // repeat] for number in range(slots)]


def read(found: Rows, messages: Rows, repeat: int, whole: bool) -> tuple[int, int]:
    """Return how many bits are read rightly, and how many were sent, from the mean of ``repeat`` slots each."""
    usual = [statistics.median(column) for column in zip(*found, strict=True)]
    rows = [[number - each for number, each in zip(row, usual, strict=True)] for row in found]
    starts = range(0, len(rows), repeat)
    means = [[statistics.fmean(column) for column in zip(*rows[at : at + repeat], strict=True)] for at in starts]
    bits = [[int(bit) for bit in messages[at]] for at in starts]
    if whole:
        firsts, sums = [row[0] for row in bits], [statistics.fmean(row) for row in means]
        return right_bits(sums, firsts), len(firsts)
    return sum(right_bits(row, sent) for row, sent in zip(means, bits, strict=True)), len(bits) * len(bits[0])


def at_once(sandbox: Sandbox, cores: tuple[int, int], shape: Shape, slots: int) -> dict[str, Any]:
    """Send by caches between two sandboxes that run beside each other; return the best of all ways of reading.

    cores: of sender and receiver. If they differ both wait computing, so that nobody else uses the caches.
    """
    readings = []
    with _sides(sandbox, cores) as (sender, receiver):
        for repeat in REPEATS:
            messages = shape.messages(slots, repeat)
            found = _exchange(sender, receiver, shape, messages, spin=cores[0] != cores[1])
            right, sent = read(found, messages, repeat, shape.whole)
            told = information(right, sent) * (1 if shape.whole else shape.places) / shape.slot / repeat
            readings.append({"repeat": repeat, "right": right, "sent": sent, "bits_per_second": told})
    best = max(each["bits_per_second"] for each in readings)
    return {"cores": cores, **vars(shape), "readings": readings, "bits_per_second": best}


def _exchange(
    sender: channels.Side, receiver: channels.Side, shape: Shape, messages: list[list[int]], spin: bool
) -> list[list[float]]:
    way = "by priming" if shape.pages else "by caches"
    order = {"slot": shape.slot, "spin": spin, "begin": time.monotonic() + 1.0}
    sent = {"do": f"send {way}", "messages": messages, "pages": shape.sent_pages}
    sending = threading.Thread(target=lambda: sender.ask(**sent, **order))
    sending.start()
    asked = {"do": f"receive {way}", "slots": len(messages), "count": shape.places, "pages": shape.pages}
    found = receiver.ask(**asked, **order)
    sending.join()
    return [[float(number) for number in row] for row in found]


def in_turn(sandbox: Sandbox, cores: tuple[int, int], lines: int, times: int = 4) -> dict[str, Any]:
    """Load some lines of a shared library in one sandbox, and time all of them in the next."""
    messages = [message(lines) for _ in range(times)]
    found = []
    for bits in messages:
        order = {"slot": 0.0, "spin": False, "begin": 0.0}
        with _stage(sandbox, True) as folder, _on_core(sandbox, folder, 0, cores[0]) as sender:
            sender.ask(do="send by caches", messages=[bits], **order)
        with _stage(sandbox, False) as folder, _on_core(sandbox, folder, 1, cores[1]) as receiver:
            found += receiver.ask(do="receive by caches", slots=1, count=lines, **order)
    right, sent = read(found, messages, 1, False)
    return {"cores": cores, "lines": lines, "right": right, "sent": sent, "bits": information(right, sent) * lines}


@contextlib.contextmanager
def _sides(sandbox: Sandbox, cores: tuple[int, int]) -> Iterator[tuple[channels.Side, channels.Side]]:
    """Open a sender, confined as one that is judged, and a receiver, confined as a training."""
    with (
        _stage(sandbox, True) as folder,
        _stage(sandbox, False) as other,
        _on_core(sandbox, folder, 0, cores[0]) as sender,
        _on_core(sandbox, other, 1, cores[1]) as receiver,
    ):
        yield sender, receiver


@contextlib.contextmanager
def _stage(sandbox: Sandbox, judged: bool) -> Iterator[Path]:
    with channels.staged(sandbox, judged) as folder:
        for module in (caches, primes):
            (folder / "candidate" / module.BLOB.name).write_bytes(module.compiled())
        yield folder


@contextlib.contextmanager
def _on_core(sandbox: Sandbox, stage: Path, slot: int, core: int) -> Iterator[channels.Side]:
    """Open a side that runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        opened = channels.Side(sandbox, stage, slot)
    finally:
        os.sched_setaffinity(0, before)
    with opened.process:
        yield opened


# ---------------------------------------------------------------- all of it

RELOADED = (Shape(64, 0.001), Shape(512, 0.004), Shape(4096, 0.03))
PRIMED = (
    Shape(64, 0.001, 16, 128),
    Shape(64, 0.003, 64, 1024),
    Shape(64, 0.002, 16, 512, whole=True),
    Shape(64, 0.004, 64, 1024, whole=True),
    Shape(64, 0.04, 256, 8192, whole=True),
)
"""64 KB to 1 MB of the receiver against 512 KB to 32 MB of the sender; slots as short as the walks allow."""


def all_caches(sandbox: Sandbox, quick: bool, kinds: Sequence[str]) -> dict[str, Any]:
    """Return what caches tell in turn and at once, on one core and on two; why not where it cannot be tried.

    kinds: of ``reload`` and ``prime``.
    """
    if platform.machine() != "x86_64" or shutil.which("gcc") is None:
        return {"not_tried": "this needs an x86-64 processor and gcc"}
    first, *others = sorted(os.sched_getaffinity(0))
    result: dict[str, Any] = {}
    for pair in [(first, first), *((first, other) for other in others[:1])]:
        if "reload" in kinds:
            result.setdefault("in_turn", []).append(in_turn(sandbox, pair, 1024))
            result.setdefault("reload", []).extend(_tried(sandbox, pair, RELOADED, quick))
        if "prime" in kinds:
            result.setdefault("prime", []).extend(_tried(sandbox, pair, PRIMED, quick))
    return result


def _tried(sandbox: Sandbox, pair: tuple[int, int], shapes: Sequence[Shape], quick: bool) -> list[dict[str, Any]]:
    found = []
    for shape in shapes:
        found.append(at_once(sandbox, pair, shape, 32 if quick else 128))
        print("caches", found[-1], flush=True)
    return found


def cache_rates(found: dict[str, Any]) -> dict[str, float]:
    """Return the best rates at once, bits a second: by kind, of two sandboxes on one core and on two."""
    rates: dict[str, float] = {}
    for kind in ("reload", "prime"):
        for each in found.get(kind, ()):
            name = f"{kind}, {'one core' if each['cores'][0] == each['cores'][1] else 'two cores'}"
            rates[name] = max(rates.get(name, 0.0), each["bits_per_second"])
    return rates
