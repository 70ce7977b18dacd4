"""What is left between two sandboxes, in bits a second, and what that is worth in bits per byte.

    python tests/benchmarks/channels.py [--tier bwrap] [--quick] [--only caches]

A sender and a receiver in real sandboxes of one tier, as in ``tests/attacks/channels``. At once: the machine's counters
and contention, a way and a length of the slots of time at a time. In turn: states that a sandbox leaves behind, read by
the next one. A way with N bits sent and a share ``e`` of them wrong tells ``1 - H(e)`` bits in each slot (the capacity
of a binary symmetric channel); ways that are within four standard deviations of chance count as nothing,
and ``unseen`` is the most that they could tell.

A bit that is told saves at most one bit of a score's code length. So ``seconds * rate / targets`` bounds the gain in
bits per byte (8 where it bounds nothing). Seconds: as long as the limits of the task let a sandbox live that has been
shown the text. ``caches``: see ``channel_caches.py``; with both sandboxes on one core and on two. The targets of a
claim are shown to no sandbox of its archive; ``beside_another_archive`` is for two archives that claim at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
import time
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(HOUSE / "tests" / "attacks" / "channels")]

import counters  # noqa: E402
import states  # noqa: E402
import test_channels as channels  # noqa: E402
from channel_caches import all_caches, cache_rates, information, luck, message, right_bits  # noqa: E402

from prepare.language_model import LanguageModelTask  # noqa: E402
from prepare.load import ROOT, task_beside  # noqa: E402
from train.sandbox.base import Sandbox, find_sandbox  # noqa: E402

SLOTS = (0.1, 0.03, 0.01, 0.003)


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
            bits, begin = message(states.BITS), time.monotonic() + 0.2 + slot
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
        bits = message(states.BITS)
        with channels.staged(sandbox) as folder:
            with channels.side(sandbox, folder, 0) as sender:
                sender.ask(do="send", bits=bits)
            with channels.side(sandbox, folder, 0) as receiver:
                numbers, took = receiver.ask(do="receive held", way=way)
        right, seconds = right + right_bits(numbers, bits), seconds + took
    sent = messages * states.BITS
    return {"right": right, "sent": sent, "bits_per_second": information(right, sent) * sent / seconds}


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
    parser.add_argument("--only", choices=("caches", "prime"), help="the processor's caches; prime and probe alone")
    parser.add_argument("--training", action="store_true", help="the sender is confined as a training is")
    options = parser.parse_args()
    sandbox = find_sandbox(options.tier)
    slots, messages = (SLOTS[1:2], 1) if options.quick else (SLOTS, 4)
    fast: dict[str, list[dict[str, Any]]] = {}
    kinds = ("prime",) if options.only == "prime" else ("reload", "prime")
    load = round(os.getloadavg()[0], 1)
    for way in () if options.only else counters.FAST:
        for slot in slots:
            fast.setdefault(way, []).append(at_once(sandbox, way, slot, messages, not options.training))
            print("at once", way, fast[way][-1], flush=True)
    ways = () if options.only else ("names that do not exist",)
    held = {way: in_turn(sandbox, way, 1 if options.quick else 2) for way in ways}
    print("in turn", held, flush=True)
    cached = all_caches(sandbox, options.quick, kinds)
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
        "load": [load, round(os.getloadavg()[0], 1)],
        "at_once": fast,
        "in_turn": held,
        "caches": cached,
        "fastest_at_once_bits_per_second": max(rates, default=0.0),
        "all_at_once_bits_per_second": together,
        "unseen_bits_per_second": unseen,
        "worth_bpb_unseen": worth(unseen, task),
        "worth_bpb_at_once": worth(together, task),
        "worth_bpb_caches": {kind: worth(rate, task)["val"] for kind, rate in cache_rates(cached).items()},
        "worth_bpb_in_turn": worth(max(each["bits_per_second"] for each in held.values()), task) if held else None,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
