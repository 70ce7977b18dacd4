"""One watched process: what it may send, print and use, and that nothing of it is left. Plain Python, no torch."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from train.sandbox import process as module
from train.sandbox.abort import Aborted
from train.sandbox.cgroup import MemoryGroup, MemoryGroups, find_groups
from train.sandbox.log import TailBuffer
from train.sandbox.process import SandboxProcess

HOUSE = Path(module.__file__).parents[2]
SPEAK = """
import os, socket, struct, sys, time
door = socket.socket(fileno=int(sys.argv[1]))
def frame(text, payload=b"", size=None):
    text = text.encode()
    return struct.pack("<4sIQ", b"TW01", len(text), len(payload) if size is None else size) + text + payload
"""

Launch = Callable[..., SandboxProcess]


@pytest.fixture(scope="session")
def memory_groups() -> MemoryGroups | None:
    return find_groups()


@pytest.fixture(params=["watched", "group"])
def groups(request: pytest.FixtureRequest, memory_groups: MemoryGroups | None) -> MemoryGroups | None:
    """Both ways of limiting memory: looks from outside, and the kernel's groups where this machine lets us make one."""
    if request.param == "group" and memory_groups is None:
        pytest.skip("no memory group can be made here: needs a writable cgroup")
    return memory_groups if request.param == "group" else None


@pytest.fixture
def launch() -> Iterator[Launch]:
    processes: list[SandboxProcess] = []

    def start(
        code: str,
        memory_mb: int = 1000,
        cancelled: threading.Event | None = None,
        groups: MemoryGroups | None = None,
    ) -> SandboxProcess:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-I", "-S", "-c", SPEAK + code, str(theirs.fileno())]
        process = SandboxProcess(
            command,
            {},
            ours,
            theirs,
            label="the test",
            contained=False,
            memory_mb=memory_mb,
            log_bytes=4000,
            cancelled=cancelled or threading.Event(),
            groups=groups,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


def receive(process: SandboxProcess, seconds: float = 10.0, max_payload: int = 1000):
    return process.receive(deadline=time.monotonic() + seconds, max_payload=max_payload, late="it was late")


def ended(action: Callable[[], object]) -> Aborted:
    with pytest.raises(Aborted) as caught:
        action()
    return caught.value


def test_frames_go_both_ways(launch: Launch) -> None:
    process = launch("""
data = door.recv(1000)
door.sendall(frame('{"type": "first"}', b"payload") + frame('{"type": "second"}')[:5])
time.sleep(0.1)
door.sendall(frame('{"type": "second"}')[5:])
door.recv(1)
""")
    process.send({"type": "hello"}, deadline=time.monotonic() + 200)
    first, second = receive(process), receive(process)
    assert (first.kind, first.payload, second.kind) == ("first", b"payload", "second")


@pytest.mark.parametrize(
    ("code", "outcome", "reason"),
    [
        ("door.sendall(b'GET / HTTP/1.1' * 10)", "invalid", "no message of the session protocol"),
        ("door.sendall(frame('{}', size=1 << 60))", "invalid", "where at most 1,000 are taken"),
        ("door.sendall(frame('[1, 2]'))", "invalid", "not a JSON object"),
        ("door.sendall(frame('{' * 3000))", "invalid", "not JSON"),
        ("door.sendall(frame('[' * 3000))", "invalid", "not JSON"),
        ("door.sendall(frame('{\"n\": ' + '9' * 5000 + '}'))", "invalid", "no message of the session"),
        ("raise ValueError('an ordinary mistake')", "crashed", "the test: ValueError: an ordinary mistake"),
        ("print('half of a line', end='', flush=True); os._exit(7)", "crashed", "the test: half of a line"),
        ("os._exit(7)", "crashed", "exit status 7"),
        ("os._exit(0)", "crashed", "it exited without a result"),
        ("os.kill(os.getpid(), 9)", "crashed", "ended by SIGKILL (perhaps by the kernel, for lack of memory)"),
        ("os.kill(os.getpid(), 40)", "crashed", "ended by signal 40"),
        ("raise MemoryError('no more')", "out_of_memory", "MemoryError: no more"),
        ("print('bwrap: told by the candidate', flush=True); os._exit(1)", "crashed", "bwrap: told by the candidate"),
    ],
)
def test_what_it_does_wrong_has_an_outcome_and_a_reason(launch: Launch, code: str, outcome: str, reason: str) -> None:
    process = launch(code + "\ntime.sleep(0.5)")
    caught = ended(lambda: receive(process))
    assert (caught.outcome, reason in caught.reason) == (outcome, True), caught.reason


def test_time_is_kept_here(launch: Launch) -> None:
    process = launch("time.sleep(3600)")
    caught = ended(lambda: receive(process, seconds=0.3))
    assert (caught.outcome, caught.reason) == ("timed_out", "it was late")


def test_one_that_does_not_read_is_late(launch: Launch) -> None:
    process = launch("time.sleep(3600)")
    caught = ended(lambda: process.send({}, bytes(10_000_000), deadline=time.monotonic() + 0.3))
    assert caught.outcome == "timed_out"


def test_a_flood_of_messages_stays_in_the_socket(launch: Launch) -> None:
    """It sends without end and reads nothing: we go on sending until the deadline, and store next to nothing."""
    process = launch("flood = frame('{}') * 1000\nwhile True: door.sendall(flood)")
    caught = ended(lambda: process.send({}, bytes(10_000_000), deadline=time.monotonic() + 0.5))
    assert caught.outcome == "timed_out"
    assert len(process._channel._decoder._buffer) < 3_000_000


def test_a_flood_of_output_is_cut_and_held_up(launch: Launch) -> None:
    process = launch("line = 'x' * 65536\nwhile True: print(line)")
    assert ended(lambda: receive(process, seconds=0.5)).outcome == "timed_out"
    assert len(process.log) < 4100
    assert "bytes left out" in process.log
    assert process._output._buffer._dropped < 20_000_000  # it could print gigabytes in this time


BOMBS = {
    "private": "hoard = b'\\1' * 300_000_000",
    "two processes": "os.fork()\nhoard = b'\\1' * 150_000_000",
    "shared mapping": "import mmap\nhoard = mmap.mmap(-1, 300_000_000)\nhoard.write(b'\\1' * 300_000_000)",
    "memory file": "fd = os.memfd_create('x')\nfor _ in range(300): os.write(fd, bytes(1_000_000))",
    "memory file of a child": """
if os.fork() == 0:
    fd = os.memfd_create('x')
    for _ in range(300): os.write(fd, bytes(1_000_000))
""",
}


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_memory_is_that_of_all_processes_and_of_every_kind(
    launch: Launch, groups: MemoryGroups | None, bomb: str
) -> None:
    process = launch(BOMBS[bomb] + "\ntime.sleep(3600)", memory_mb=200, groups=groups)
    caught = ended(lambda: receive(process, seconds=60))
    assert caught.outcome == "out_of_memory", caught.reason
    assert "200 MB are allowed" in caught.reason
    assert process.usage.peak_memory_mb >= 200


def test_a_bomb_that_dies_at_once_is_still_told_from_a_crash(launch: Launch, groups: MemoryGroups | None) -> None:
    """The kernel kills between two looks; without a group the look from outside has to be quick enough."""
    if groups is None:
        pytest.skip("nobody limits it between two looks")
    process = launch("hoard = b'\\1' * 400_000_000\nos._exit(0)", memory_mb=100, groups=groups)
    assert ended(lambda: receive(process, seconds=60)).outcome == "out_of_memory"


def test_shared_memory_counts_once(launch: Launch, groups: MemoryGroups | None) -> None:
    """Nine processes that share 3 x 40 MB of three kinds use 120 MB: loaders of data do that."""
    process = launch(
        """
import mmap
hoard = b'\\1' * 40_000_000
shared = mmap.mmap(-1, 40_000_000)
shared.write(b'\\1' * 40_000_000)
fd = os.memfd_create('x')
os.write(fd, bytes(40_000_000))
mapped = mmap.mmap(fd, 40_000_000)
for _ in range(8):
    if os.fork() == 0:
        sum(shared[::4096]) + sum(mapped[::4096]); time.sleep(3600)
sum(mapped[::4096])
time.sleep(1)
door.sendall(frame('{"type": "fine"}'))
time.sleep(3600)
""",
        memory_mb=300,
        groups=groups,
    )
    assert receive(process, seconds=60).kind == "fine"
    assert process.usage.peak_memory_mb > 100
    if groups is not None:
        assert process.usage.peak_memory_mb < 250


@pytest.mark.slow
def test_reading_files_takes_no_memory(launch: Launch, groups: MemoryGroups | None, tmp_path: Path) -> None:
    """The cache of files counts for a group until it is wanted elsewhere; torch's libraries are a gigabyte of it."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        for _ in range(400):
            file.write(os.urandom(1_000_000))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # the sandbox is the one that fills the cache
    process = launch(
        f"""
with open({str(large)!r}, "rb") as file:
    while file.read(1 << 20): pass
hoard = b'\\1' * 100_000_000
door.sendall(frame('{{"type": "fine"}}'))
time.sleep(3600)
""",
        memory_mb=200,
        groups=groups,
    )
    assert receive(process, seconds=60).kind == "fine"
    assert process.usage.peak_memory_mb < 190


def test_a_group_is_gone_with_its_cell(launch: Launch, memory_groups: MemoryGroups | None) -> None:
    if memory_groups is None:
        pytest.skip("no memory group can be made here")
    process = launch(LEAVES_CHILDREN, groups=memory_groups)
    assert receive(process).kind == "forked"
    group = process._monitor.group
    assert group is not None
    assert len(group.processes()) == 4
    process._monitor._seen.clear()  # as if none had ever been looked at: the group knows them all the same
    daemons = [psutil.Process(number) for number in group.processes() if number != process._process.pid]
    process.kill()
    assert psutil.wait_procs(daemons, timeout=5)[1] == []
    assert not group.folder.exists()


def test_a_launch_that_fails_leaves_no_group(memory_groups: MemoryGroups | None) -> None:
    if memory_groups is None:
        pytest.skip("no memory group can be made here")
    ours_only = f"treewright-*-{os.getpid()}-*"  # other processes of the tests make groups in the same folder
    before = set(memory_groups.base.glob(ours_only))
    ours, theirs = socket.socketpair()
    with pytest.raises(ValueError, match="null byte"):
        SandboxProcess(
            ["nothing\0here"],
            {},
            ours,
            theirs,
            label="the test",
            contained=False,
            memory_mb=100,
            log_bytes=100,
            cancelled=threading.Event(),
            groups=memory_groups,
        )
    assert set(memory_groups.base.glob(ours_only)) <= before


def test_a_deadline_that_passed_while_the_search_stood_still_blames_nobody(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after SIGSTOP and SIGCONT to the search: a wait of 0.08 s has taken an hour, by the monotonic clock."""
    process = launch("time.sleep(3600)")
    really, jumped = time.monotonic, threading.Event()
    monkeypatch.setattr(module.time, "monotonic", lambda: really() + 3600.0 * jumped.is_set())
    threading.Timer(0.3, jumped.set).start()
    caught = ended(lambda: process.receive(deadline=really() + 100, max_payload=10, late="it was late"))
    monkeypatch.undo()
    assert caught.outcome == "lost", caught.reason
    assert "the search itself did not run for 3600 s" in caught.reason
    assert process.stalled > 3599


def test_a_cancellation_ends_the_wait(launch: Launch) -> None:
    cancelled = threading.Event()
    process = launch("time.sleep(3600)", cancelled=cancelled)
    threading.Timer(0.2, cancelled.set).start()
    assert ended(lambda: receive(process, seconds=60)).outcome == "lost"


def test_finish_wants_a_clean_end(launch: Launch) -> None:
    launch("print('good bye')").finish(deadline=time.monotonic() + 200)
    failing = launch("raise SystemExit('at the very end')")
    assert "at the very end" in ended(lambda: failing.finish(deadline=time.monotonic() + 200)).reason
    for staying in (launch("time.sleep(3600)"), launch("os.close(int(sys.argv[1])); time.sleep(3600)")):
        assert ended(lambda process=staying: process.finish(deadline=time.monotonic() + 0.3)).outcome == "timed_out"


def test_an_exit_that_takes_long_is_a_clean_end(launch: Launch) -> None:
    """On a busy machine an interpreter with torch in it took more than two seconds, and its run counted as crashed."""
    process = launch("os.close(int(sys.argv[1])); time.sleep(3)")
    process.finish(deadline=time.monotonic() + 200)
    assert process._process.returncode == 0


LEAVES_CHILDREN = """
for number in range(3):
    if os.fork() == 0:
        os.setsid()
        while number:
            print("from the daemon " * 4000)
        time.sleep(3600)
door.sendall(frame('{"type": "forked"}'))
time.sleep(0.3)
os._exit(0)
"""


def test_what_it_leaves_behind_holds_nobody_up_and_is_ended(launch: Launch) -> None:
    """Daemons in sessions of their own: they hold the socket open, one silent, the others printing without end."""
    process = launch(LEAVES_CHILDREN)
    assert receive(process).kind == "forked"
    began = time.monotonic()
    assert "it exited without a result" in ended(lambda: receive(process, seconds=60)).reason
    daemons = list(process._monitor._seen.values())
    process.kill()
    assert time.monotonic() - began < 20
    assert len(daemons) == 3
    assert psutil.wait_procs(daemons, timeout=5)[1] == []


def test_killing_twice_is_harmless_and_leaves_no_descriptor(launch: Launch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        process = launch("os.fork(); time.sleep(3600)")
        ended(lambda process=process: receive(process, seconds=0.2))
        process.kill()
        assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]
        process.kill()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_command_that_is_missing_is_said_and_leaves_no_descriptor(launch: Launch, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair()
    with SandboxProcess(
        [str(tmp_path / "nothing-here")],
        {},
        ours,
        theirs,
        label="the test",
        contained=False,
        memory_mb=100,
        log_bytes=1000,
        cancelled=threading.Event(),
    ) as process:
        assert "nothing-here: not found" in ended(lambda: receive(process)).reason
    assert len(os.listdir("/proc/self/fd")) == before


def test_when_the_machine_runs_out_of_memory_the_candidate_goes_first(
    launch: Launch, groups: MemoryGroups | None
) -> None:
    process = launch("print(open('/proc/self/oom_score_adj').read().strip(), flush=True); os._exit(3)", groups=groups)
    assert ended(lambda: receive(process)).reason == "the test: 500"


def test_a_log_keeps_its_beginning_and_its_end() -> None:
    log = TailBuffer(40)
    for i in range(100):
        log.feed(b"%03d." % i)
    text = log.text()
    assert text.startswith("000.001.00")
    assert text.endswith("098.099.")
    assert "360 bytes left out" in text


def test_a_log_within_its_limit_is_whole() -> None:
    log = TailBuffer(100)
    for part in ("plain ", "é" * 20, " end"):
        for byte in part.encode():
            log.feed(bytes([byte]))
    assert log.text() == "plain " + "é" * 20 + " end"


def test_a_machine_out_of_memory_is_told_from_a_limit(launch: Launch, memory_groups: MemoryGroups | None) -> None:
    """Cannot be brought about here without harm: the group's own counters are made up."""
    if memory_groups is None:
        pytest.skip("no memory group can be made here")
    process = launch("time.sleep(3600)", groups=memory_groups)

    class Counters:
        def __init__(self, group: MemoryGroup) -> None:
            self.group = group

        def __getattr__(self, name: str) -> object:
            return {"oom_kills": lambda: 1, "reached_limit": lambda: False}.get(name) or getattr(self.group, name)

    assert process._monitor.group is not None
    process._monitor.group = Counters(process._monitor.group)  # type: ignore[assignment]
    caught = ended(lambda: receive(process))
    assert caught.outcome == "out_of_memory"
    assert "the whole machine ran out of memory" in caught.reason


BURNING = """
{before}
for _ in range(50):
    if (pid := os.fork()) == 0:
        {orphaned} and os.fork() and os._exit(0)
        while time.process_time() < 0.019: pass
        os._exit(0)
    {wait}
door.sendall(frame('{{"type": "burnt"}}'))
door.recv(1)
"""
SUBREAPER = "import ctypes; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)"
IGNORED = f"""
import contextlib, signal, sys
sys.path.insert(0, {str(HOUSE)!r})
from train.sandbox.confine import filters
filters.install(filters.FilterOptions())
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
"""
UNWAITED = "os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)"
BURNERS = {
    "children": ("", "os.waitpid(pid, 0)"),
    "orphans": (SUBREAPER, "os.waitpid(pid, 0), os.waitpid(-1, 0)"),  # as the first process of a sandbox does
    "ignored": (IGNORED, f"with contextlib.suppress(ChildProcessError): {UNWAITED}"),
    "never waited for": ("", UNWAITED),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", BURNERS)
def test_the_cpu_time_of_processes_too_short_to_be_seen_is_counted(
    launch: Launch, groups: MemoryGroups | None, how: str
) -> None:
    """50 of 19 ms each, one after another, most of which begin and end between two checks."""
    before, wait = BURNERS[how]
    process = launch(BURNING.format(before=before, wait=wait, orphaned=how == "orphans"), groups=groups)
    assert receive(process, 60.0).kind == "burnt"
    with pytest.raises(Aborted, match="it was late"):
        receive(process, 0.5)  # some more checks
    assert 0.95 <= process.usage.cpu_seconds < 3.5
