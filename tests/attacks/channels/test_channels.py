"""Whether one sandbox can tell another 64 bits, by each way that is known to us, in turn and at once.

    pytest tests/attacks/channels                    about two minutes
    pytest -s tests/attacks/channels                 and how far each way is from chance

Sender and receiver are two real sandboxes of one stage: the second begins when the first has ended, or both run beside
each other. A message has as many ones as zeros, and the bits of the larger half of a way's numbers are read as ones. At
chance the ones among these are hypergeometric. A way counts as open if they are further than ``FARTHEST`` from 16,
which happens to a closed way with a probability of 9.4e-7; a run judges about 130, so one in 8,000 fails by chance.

``KNOWN_OPEN`` are the ways that remain. Those of ``BUSY`` need a quiet machine to be seen, so no test demands them.
Without a sandbox nearly all are open: this test keeps the attack sharp.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import counters
import machine_files
import pytest
import states

from train.hardware.slots import Slot
from train.sandbox.base import NoSandbox, Sandbox, SandboxUnavailable, find_sandbox, stage_library
from train.sandbox.cgroup import find_groups
from train.sandbox.fork_server import ForkServers
from train.sandbox.process import SandboxProcess

pytestmark = pytest.mark.xdist_group("channels")

FARTHEST = 9
SURE = {
    *("pages (mincore)", "pages (RWF_NOWAIT)", "pages (cachestat)", "pages (time of reading)"),
    *("names that do not exist", "System V memory", "System V semaphores", "POSIX queues"),
}
"""Open without a sandbox, in turn, on every machine."""
SURE_AT_ONCE = SURE | {
    "process titles",
    *("pages that others map (smaps)", "locks on whole files", "leases", "list of locks", "abstract sockets", "ports"),
    *(
        "keyrings",
        "locks on null",
        "locks on urandom",
        "locks on ld.so.cache",
        "locks on cpuinfo",
        "locks on the program",
    ),
    "threads that wait at pages of files (futex)",
}
BUSY = {"inode numbers of pipes", "contention"}
"""Open everywhere between trainings: a counter of the whole machine, and the machine itself."""
_FILES = ("null", "urandom", "ld.so.cache", "cpuinfo", "meminfo", "the program", "python")
KNOWN_OPEN = {
    "bwrap": BUSY,
    "landlock": BUSY
    | {
        *("names that do not exist", "pages (time of reading)", "access times", "locks on whole files"),
        *("process numbers", "free space of the packages' file system", "free space of the scratch folder"),
        *(f"locks on {name}" for name in _FILES),
    },
}
"""``landlock``: sandboxes have one file system, one numbering of processes, and files whose locks all see."""
_CORES = "/sys/devices/system/cpu/"
READABLE = {
    "bwrap": tuple(
        f"/proc/{name}" for name in ("cpuinfo", "meminfo", "stat", "version", "filesystems", "loadavg", "uptime")
    ),
    "landlock": (
        *("/proc/cpuinfo", "/proc/meminfo"),
        *(f"{_CORES}{name}" for name in ("online", "possible", "present", "kernel_max")),
        *(f"{_CORES}cpuN/{name}/" for name in ("topology", "cache")),
    ),
}
"""Beginnings of the files of /proc and /sys that a sandbox can open; those of ``bwrap`` are copies."""
TELLING = {"bwrap": set[str](), "landlock": {"/proc/cpuinfo", "/proc/meminfo"}}
"""Files that change with what others do."""
WORKER = """
import os, sys
sys.path.insert(0, sys.argv[2])
from confine import confine
hello = dict(file_bytes=50_000_000, processes=64, die_with=None, device="cpu", hide_machine=True, judged=JUDGED)
channel = int(sys.argv[1])
if sys.argv[6:]:
    from confine.forks import serve_forks
    sys.path += sys.argv[3].split(os.pathsep)
    channel = serve_forks(channel, lambda: __import__("numpy.random"))
confine(hello, sys.argv[5])
sys.path.insert(0, sys.argv[4])
import serving
serving.serve(channel)
"""
IN_TURN = "in turn"
AT_ONCE = "at once"


class Side:
    """A sandbox that follows commands."""

    def __init__(self, sandbox: Sandbox, stage: Path, number: int, forks: ForkServers | None = None) -> None:
        """``forks``: forks its worker, as those of evaluations are forked; None: the worker is started."""
        ours, theirs = socket.socketpair()
        slot = Slot(number, "cpu", None, (), 1)
        fork = forks.fork(slot) if forks is not None else None
        inside = sandbox.wrap(stage, theirs.fileno(), slot, 64) if fork is None else fork.wrap(stage, 64)
        self._ours, self._nonce = ours.dup(), stage.name
        self.process = SandboxProcess(
            inside.command,
            inside.environment,
            ours,
            theirs,
            label="side",
            contained=sandbox.contained,
            memory_mb=1000,
            log_bytes=20_000,
            cancelled=threading.Event(),
            fork=fork,
        )

    def ask(self, **order: object) -> Any:
        """Send a command and return the answer."""
        self._ours.setblocking(True)
        self._ours.settimeout(120)
        with self._ours.makefile("rw") as lines:
            lines.write(json.dumps({"nonce": self._nonce, **order}) + "\n")
            lines.flush()
            answer = lines.readline()
        assert answer, self._end()
        return json.loads(answer)

    def _end(self) -> str:
        self.process.kill()
        return self.process.log


@contextmanager
def side(sandbox: Sandbox, stage: Path, slot: int, forks: ForkServers | None = None) -> Iterator[Side]:
    opened = Side(sandbox, stage, slot, forks)
    with opened.process:
        yield opened


@contextmanager
def staged(sandbox: Sandbox, judged: bool = False) -> Iterator[Path]:
    """Yield a folder for sandboxes; ``judged``: they are confined as those that are shown evaluation text."""
    folder = Path(tempfile.mkdtemp(prefix="treewright-channels-", dir=getattr(sandbox, "stages", None)))
    folder.chmod(0o711)
    try:
        fill(folder, judged)
        yield folder
    finally:
        shutil.rmtree(folder)


def fill(folder: Path, judged: bool = False) -> None:
    """Put the library, the worker and both sides' files into a folder."""
    stage_library(folder)
    (folder / "library" / "worker.py").write_text(WORKER.replace("JUDGED", str(judged)))
    (folder / "candidate").mkdir(mode=0o755)
    for name in ("states", "counters", "caches", "primes", "machine_files", "serving"):
        shutil.copy(Path(__file__).with_name(f"{name}.py"), folder / "candidate")


@contextmanager
def fork_servers(sandbox: Sandbox) -> Iterator[ForkServers]:
    """Yield those of two slots; skips the test where no worker is forked."""
    servers, slots = ForkServers(sandbox, find_groups(), fill), [Slot(number, "cpu", None, (), 1) for number in (0, 1)]
    try:
        for slot in slots:
            servers.start(slot)
            if (fork := servers.fork(slot)) is None:
                pytest.skip("no worker is forked here: it takes root, memory groups and an image of files in memory")
            fork.close()
        yield servers
    finally:
        for slot in slots:
            servers.end(slot)


def overlap(numbers: list[float], bits: list[int]) -> int:
    """Return how many of the larger half of the numbers are ones; equal numbers keep their order."""
    larger = sorted(range(len(numbers)), key=lambda place: -numbers[place])[: len(bits) // 2]
    return sum(bits[place] for place in larger)


def told(sandbox: Sandbox, order: str, forks: ForkServers | None = None) -> dict[str, int]:
    """Return, for each way, how far from chance the receiver's bits are: 0 to 16, where 16 is every bit."""
    bits = [1] * (states.BITS // 2) + [0] * (states.BITS // 2)
    random.SystemRandom().shuffle(bits)
    with staged(sandbox) as folder:
        found = (in_turn if order == IN_TURN else at_once)(sandbox, folder, bits, forks)
    return {name: abs(overlap(numbers, bits) - states.BITS // 4) for name, numbers in found.items()}


def in_turn(sandbox: Sandbox, folder: Path, bits: list[int], forks: ForkServers | None) -> dict[str, list[float]]:
    with side(sandbox, folder, 0, forks) as sender:
        sender.ask(do="send", bits=bits)
    with side(sandbox, folder, 0, forks) as receiver:
        return dict(receiver.ask(do="receive"))


def at_once(sandbox: Sandbox, folder: Path, bits: list[int], forks: ForkServers | None) -> dict[str, list[float]]:
    with side(sandbox, folder, 0, forks) as sender, side(sandbox, folder, 1, forks) as receiver:
        sender.ask(do="send", bits=bits)
        held = receiver.ask(do="receive")
        begin = time.monotonic() + 0.5
        sending = threading.Thread(target=lambda: sender.ask(do="send timed", bits=bits, begin=begin))
        sending.start()
        timed = receiver.ask(do="receive timed", begin=begin)
        sending.join()
        return {**held, **timed}


def open_ways(found: dict[str, int]) -> set[str]:
    return {name for name, far in found.items() if far > FARTHEST}


def show(found: dict[str, int], *words: str) -> None:
    print("\n", *words, *(f"\n{far:5} {name}" for name, far in sorted(found.items(), key=lambda pair: -pair[1])))


def sandbox_of(tier: str) -> Sandbox:
    """Return the sandbox of a tier; skips the test where there is none."""
    try:
        sandbox = find_sandbox(tier)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    if sandbox.tier == "bwrap-shared":
        pytest.skip("there is no image in memory here")
    return sandbox


@pytest.mark.slow
@pytest.mark.parametrize("order", [IN_TURN, AT_ONCE])
@pytest.mark.parametrize("tier", ["bwrap", "landlock"])
def test_a_sandbox_tells_another_nothing_but_by_what_is_known_to_be_open(tier: str, order: str) -> None:
    sandbox = sandbox_of(tier)
    found = told(sandbox, order)
    show(found, tier, order)
    assert len(found) > 20
    assert open_ways(found) <= KNOWN_OPEN[tier]


@pytest.mark.slow
@pytest.mark.parametrize("order", [IN_TURN, AT_ONCE])
def test_nor_does_a_worker_tell_one_that_is_forked_by_the_same_server(order: str) -> None:
    """At once, the two are of two slots, whose servers are two."""
    sandbox = sandbox_of("bwrap")
    with fork_servers(sandbox) as forks:
        found = told(sandbox, order, forks)
    show(found, "forked", order)
    assert len(found) > 20
    assert open_ways(found) <= KNOWN_OPEN["bwrap"]


@pytest.mark.slow  # a sandbox of each tier
@pytest.mark.parametrize("tier", ["bwrap", "landlock"])
def test_no_file_of_the_kernel_tells_what_a_neighbour_does(tier: str) -> None:
    """Each file is read by a sandbox before and after work beside it, and by this process, to see that some tell."""
    sandbox = sandbox_of(tier)
    paths = machine_files.machine_files()
    with staged(sandbox) as folder, side(sandbox, folder, 0) as reader:
        before, here = reader.ask(do="read", paths=paths), machine_files.say(paths)
        counters.Busy().work(time.monotonic() + 0.05)
        after, later = reader.ask(do="read", paths=paths), machine_files.say(paths)
    changed = {path for path in before if before[path] != after.get(path)}
    print(tier, len(before), sorted(before), sorted(changed))
    assert {path for path in here if here[path] != later.get(path)} > {"/proc/stat", "/proc/vmstat", "/proc/meminfo"}
    assert [path for path in before if not re.sub(r"cpu\d+", "cpuN", path).startswith(READABLE[tier])] == []
    assert changed <= TELLING[tier]


@pytest.mark.nightly
@pytest.mark.parametrize(("order", "sure"), [(IN_TURN, SURE), (AT_ONCE, SURE_AT_ONCE)])
def test_without_a_sandbox_nearly_all_ways_are_open(order: str, sure: set[str]) -> None:
    found = told(NoSandbox(), order)
    show(found, "none", order)
    assert sure <= open_ways(found)


def test_a_message_is_read_from_the_larger_half_whatever_its_sign() -> None:
    bits = [1, 0] * 32
    assert (overlap([float(bit) for bit in bits], bits), overlap([-float(bit) for bit in bits], bits)) == (32, 0)
    assert overlap([0.0] * 64, bits) == 16
    assert open_ways({"a": 9, "b": 10}) == {"b"}
