"""What is left between two sandboxes, in bits a second, and what that is worth in bits per byte.

    python tests/benchmarks/channels.py [--tier bwrap] [--quick]

A sender and a receiver in real sandboxes of one tier, as in ``tests/attacks/channels``. At once: the machine's counters
and contention, a way and a length of the slots of time at a time. In turn: states that a sandbox leaves behind, read by
the next one. A way with N bits sent and a share ``e`` of them wrong tells ``1 - H(e)`` bits in each slot (the capacity
of a binary symmetric channel); ways that are within four standard deviations of chance count as nothing,
and ``unseen`` is the most that they could tell.

A bit that is told saves at most one bit of a score's code length. So ``seconds * rate / targets`` bounds the gain in
bits per byte (8 where it bounds nothing). Seconds: as long as the limits of the task let a sandbox live that has been
shown the text. ``caches``: lines of a library that both sandboxes map (``tests/attacks/channels/caches.py``), with both
on one core and on two. The targets of a claim are shown to no sandbox of its archive; ``beside_another_archive`` is for
two archives that claim at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(HOUSE / "tests" / "attacks" / "channels")]

import caches  # noqa: E402
import counters  # noqa: E402
import states  # noqa: E402
import test_channels as channels  # noqa: E402

from prepare.language_model import LanguageModelTask  # noqa: E402
from prepare.load import ROOT, task_beside  # noqa: E402
from train.sandbox.base import Sandbox, find_sandbox  # noqa: E402

SLOTS = (0.1, 0.03, 0.01, 0.003)
DEVIATIONS = 4.0


def message(count: int = states.BITS) -> list[int]:
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


def right_bits(numbers: list[float], bits: list[int]) -> int:
    """Return how many bits are read rightly: two for each one among the larger half."""
    return 2 * channels.overlap(numbers, bits)


def at_once(sandbox: Sandbox, way: str, slot: float, messages: int, judged: bool) -> dict[str, Any]:
    """Send messages by one way from a sandbox to another that runs beside it, as a training does."""
    right = 0
    with (
        channels.staged(sandbox, judged) as folder,
        channels.staged(sandbox) as other,
        channels.side(sandbox, folder, 0) as sender,
        channels.side(sandbox, other, 1) as receiver,
    ):
        for _ in range(messages):
            bits, begin = message(), time.monotonic() + 0.2 + slot
            order = {"way": way, "begin": begin, "slot": slot}
            sending = threading.Thread(target=sender.ask, kwargs={"do": "send fast", "bits": bits, **order})
            sending.start()
            right += right_bits(receiver.ask(do="receive fast", count=len(bits), **order), bits)
            sending.join()
    sent = messages * states.BITS
    return {"slot": slot, "right": right, "sent": sent, "bits_per_second": information(right, sent) / slot}


def in_turn(sandbox: Sandbox, way: str, messages: int) -> dict[str, Any]:
    """Leave a state in one sandbox and read it in the next; the rate is that of the reading."""
    right, seconds = 0, 0.0
    for _ in range(messages):
        bits = message()
        with channels.staged(sandbox) as folder:
            with channels.side(sandbox, folder, 0) as sender:
                sender.ask(do="send", bits=bits)
            with channels.side(sandbox, folder, 0) as receiver:
                numbers, took = receiver.ask(do="receive held", way=way)
        right, seconds = right + right_bits(numbers, bits), seconds + took
    sent = messages * states.BITS
    return {"right": right, "sent": sent, "bits_per_second": information(right, sent) * sent / seconds}


def by_caches(sandbox: Sandbox, cores: tuple[int, int], lines: int, slot: float, slots: int) -> dict[str, Any]:
    """Send by the processor's caches, at once (``slots`` times ``lines`` bits) or, with none, in turn.

    cores: of sender and receiver. If they differ both wait computing, so that nobody else uses the caches.
    """
    bits = message(lines)
    order = {"slot": slot, "slots": slots, "spin": cores[0] != cores[1], "begin": 0.0}
    sent, asked = {"do": "send by caches", "bits": bits}, {"do": "receive by caches", "count": lines}
    with cache_stage(sandbox, True) as folder, cache_stage(sandbox, False) as other, contextlib.ExitStack() as opened:
        sender = opened.enter_context(on_core(sandbox, folder, 0, cores[0]))
        if not slots:
            sender.ask(**sent, **order)
            opened.close()
        receiver = opened.enter_context(on_core(sandbox, other, 1, cores[1]))
        order["begin"] = time.monotonic() + 1.0
        sending = threading.Thread(target=lambda: sender.ask(**sent, **order) if slots else None)
        sending.start()
        found = receiver.ask(**asked, **order)
        sending.join()
    right, count = sum(right_bits(numbers, bits) for numbers in found), lines * len(found)
    told = information(right, count) * lines
    rate = {"bits_per_second": told / slot} if slots else {"bits_a_hand_over": told}
    return {"cores": cores, "lines": lines, "slot": slot, "right": right, "sent": count, **rate}


@contextlib.contextmanager
def cache_stage(sandbox: Sandbox, judged: bool) -> Iterator[Path]:
    with channels.staged(sandbox, judged) as folder:
        (folder / "candidate" / caches.BLOB.name).write_bytes(caches.compiled())
        yield folder


@contextlib.contextmanager
def on_core(sandbox: Sandbox, stage: Path, slot: int, core: int) -> Iterator[channels.Side]:
    """Open a side that runs on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        opened = channels.Side(sandbox, stage, slot)
    finally:
        os.sched_setaffinity(0, before)
    with opened.process:
        yield opened


def all_caches(sandbox: Sandbox, quick: bool) -> dict[str, Any]:
    """Return what caches tell in turn and at once, on one core and on two; why not where it cannot be tried."""
    if platform.machine() != "x86_64" or shutil.which("gcc") is None:
        return {"not_tried": "this needs an x86-64 processor and gcc"}
    first, *others = sorted(os.sched_getaffinity(0))
    pairs = [(first, first), *((first, other) for other in others[:1])]
    result: dict[str, Any] = {"in_turn": [by_caches(sandbox, pair, 1024, 0.0, 0) for pair in pairs]}
    shapes = ((512, 0.004),) if quick else ((64, 0.001), (512, 0.004), (4096, 0.03))
    result["at_once"] = [by_caches(sandbox, pair, *shape, 20 if quick else 100) for pair in pairs for shape in shapes]
    return result


def cache_rates(found: dict[str, Any]) -> dict[str, float]:
    """Return the best rates at once, bits a second, of two sandboxes on one core and on two."""
    rates: dict[str, float] = {}
    for each in found.get("at_once", ()):
        kind = "one_core" if each["cores"][0] == each["cores"][1] else "two_cores"
        rates[kind] = max(rates.get(kind, 0.0), each["bits_per_second"])
    return rates


def worth(rate: float, task: LanguageModelTask) -> dict[str, float]:
    """Return bounds in bits per byte for a rate of bits a second.

    ``val``: a screening's sandbox that is told of the text while another one, which is scored, lives. ``claim``: the
    targets of a claim, by its own sandboxes. ``beside_another_archive``: as ``val``, at the windows of a claim.
    """
    limits, windows = task.limits, len(task.claim_rows("holdout"))
    seconds = limits.score_seconds
    longer = max(1.0, windows * task.context / 2 / (task.rows * task.context))
    return {
        "val": min(8.0, rate * seconds / (task.rows * task.context)),
        "claim": 0.0,
        "beside_another_archive": min(8.0, rate * seconds * longer / windows),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default="bwrap", help="kind of sandbox (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one message by each way, at one length of the slots")
    parser.add_argument("--training", action="store_true", help="the sender is confined as a training is")
    options = parser.parse_args()
    sandbox = find_sandbox(options.tier)
    slots, messages = (SLOTS[1:2], 1) if options.quick else (SLOTS, 4)
    fast: dict[str, list[dict[str, Any]]] = {}
    for way in counters.FAST:
        for slot in slots:
            fast.setdefault(way, []).append(at_once(sandbox, way, slot, messages, not options.training))
            print("at once", way, fast[way][-1], flush=True)
    held = {way: in_turn(sandbox, way, 1 if options.quick else 2) for way in ("names that do not exist",)}
    print("in turn", held, flush=True)
    cached = all_caches(sandbox, options.quick)
    print("caches", cached, flush=True)
    rates = [each["bits_per_second"] for several in fast.values() for each in several]
    task = task_beside(ROOT / "train" / "seeds" / "shakespeare.py")
    sent = messages * states.BITS
    unseen = information(sent / 2 + luck(sent), sent) / min(slots)
    together = sum(max(each["bits_per_second"] for each in several) for several in fast.values())
    result = {
        "quick": options.quick,
        "tier": sandbox.tier,
        "sender": "training" if options.training else "judged",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
        "at_once": fast,
        "in_turn": held,
        "caches": cached,
        "fastest_at_once_bits_per_second": max(rates),
        "all_at_once_bits_per_second": together,
        "unseen_bits_per_second": unseen,
        "worth_bpb_unseen": worth(unseen, task),
        "worth_bpb_at_once": worth(together, task),
        "worth_bpb_caches": {kind: worth(rate, task)["val"] for kind, rate in cache_rates(cached).items()},
        "worth_bpb_in_turn": worth(max(each["bits_per_second"] for each in held.values()), task),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
