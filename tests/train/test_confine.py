"""The system call filter, attacked call by call from processes of their own; and what honest programs still can."""

from __future__ import annotations

import errno
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from train.sandbox.confine import filters
from train.sandbox.confine.filters import FilterOptions, Unconfinable, program

HOUSE = Path(filters.__file__).parents[3]
HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")
only_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="calls are made by their x86_64 numbers")
STRICT = "FilterOptions(sockets=True, other_processes=True, metadata=True)"
JUDGED = "FilterOptions(sockets=True, other_processes=True, metadata=True, judged=True, machine_numbers=True)"

PROLOGUE = '''
import ctypes, os, signal, sys
from train.sandbox.confine.filters import FilterOptions, install
signal.signal(signal.SIGIO, signal.SIG_IGN)  # a notice of changes may come at once
system = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = system.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    return ctypes.get_errno() if result == -1 else 0
def make(number, remove, *arguments):
    """A segment or a queue of System V, removed again at once."""
    made = system.syscall(number, *arguments)
    error = ctypes.get_errno() if made == -1 else 0
    if made != -1: assert system.syscall(remove, made, 0, 0) == 0
    return error
'''


def run(text: str, options: str | None) -> str:
    """What a program prints, with the filter or, to see that the attack is one, without."""
    install = f"install({options})\n" if options else ""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + install + text],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=250,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def errors(calls: str, options: str | None) -> list[int]:
    return [int(word) for word in run(f"print(*[{calls}])", options).split()]


REFUSED = dict[str, tuple[int | None, int | None]]()
for table in (
    *filters.EVERYWHERE,
    filters.UNMAPPED_MEMORY,
    filters.SOCKETS,
    filters.METADATA,
    filters.CHILDREN,
    filters.COUNTED_INODES,
    filters.COUNTED_FOR_USERS,
    filters.MACHINE_NUMBERS,
):
    REFUSED |= table
ABSENT = {**filters.ABSENT, **filters.RESIDENCY, **filters.MEMORY_FILES}


@pytest.mark.skipif(not HEADERS[0].exists(), reason="needs the kernel's headers of x86_64")
def test_the_numbers_are_the_kernels() -> None:
    own, generic = (
        {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\n", path.read_text())}
        for path in HEADERS
    )
    tables = {**REFUSED, **ABSENT, **filters.ADVICE, **filters.BY_ARGUMENT}
    checked = 0
    for name, numbers in tables.items():
        for number, header in zip(numbers, (own, generic), strict=True):
            if number is not None and name in header:
                assert number == header[name], name
                checked += 1
    assert checked > 150


@only_x86_64
def test_every_refused_call_is_refused() -> None:
    """As root, most of them would do something or find fault with their arguments; here none is reached."""
    wanted = {pair[0]: errno.EPERM for pair in REFUSED.values() if pair[0] is not None}
    wanted |= {pair[0]: errno.ENOSYS for pair in ABSENT.values()}
    got = errors(", ".join(f"call({number}, 0, 0, 0, 0, 0, 0)" for number in wanted), JUDGED)
    assert dict(zip(wanted, got, strict=True)) == wanted


ATTACKS = {
    "leave the slot's cores": "call(203, 0, 128, (ctypes.c_ulong * 16)(*[2**64 - 1] * 16))",
    "be traced": "call(101, 0, 0, 0, 0)",
    "a user namespace": "call(272, 0x10000000)",
    "a namespace by clone": "call(56, 0x10000011, 0)",
    "open a keyring": "call(250, 0, -3, 1)",
    "a memory file": "call(319, b'x', 0)",
    "System V memory": "make(29, 31, 0, 4096, 0o1600)",
    "a message queue": "make(68, 71, 0, 0o1600)",
    "another personality": "call(135, 0x0040000)",
    "best disk priority": "call(251, 1, 0, (2 << 13) | 0)",
    "renice another": "call(141, 0, os.getppid(), 0)",
    "another's limits": "call(302, os.getppid(), 7, 0, ctypes.create_string_buffer(16))",
    "a socket": "call(41, 1, 1, 0)",
    "a network socket": "call(41, 2, 2, 0)",
    "datagrams": "call(53, 1, 2, 0, (ctypes.c_int * 2)())",
    "watch a folder": "call(294, 0)",
    "an io_uring": "call(425, 4, ctypes.create_string_buffer(256))",
    "a fault handler": "call(323, 1)",
    "another's memory": "call(310, os.getpid(), 0, 0, 0, 0, 0)",
    "see a namespace": "call(428, -100, b'/', 1)",
    "modes of files": "call(90, TEMP, 0o600)",
    "times of files": "call(280, -100, TEMP, 0, 0)",
    "truncate a file": "call(76, TEMP, 0)",
    "see which pages are in memory": "call(27, PAGE, 4096, ctypes.create_string_buffer(1))",
    "read what is in memory only": "call(327, FILE, VECTOR, 1, 0, 0, 8)",
    "drop what was read": "call(327, FILE, VECTOR, 1, 0, 0, 0x80)",
    "push pages out": "call(28, PAGE, 4096, 21)",
    "merge equal pages": "call(28, PAGE, 4096, 12)",
    "merge all pages": "call(157, 67, 1, 0, 0, 0)",
    "move pages": "call(237, PAGE, 4096, 0, 0, 0, 2)",
    "a lease": "call(72, FILE, 1024, 0)",
    "a notice of changes": "call(72, os.open('.', 0), 1026, 1)",
    "an interface to the kernel's ciphers": "call(41, 38, 5, 0)",
    "a list of all sockets": "call(41, 16, 3, 4)",
    "number of sockets": "call(55, PAIR[0].fileno(), 1, 57, SPACE, ctypes.byref(ctypes.c_int(8)))",
    "free space of other file systems": "call(136, os.stat('/proc').st_dev, ctypes.create_string_buffer(32))",
    "where pages of files lie": "call(237, PAGE, 4096, 0, 0, 0, 0)",
    "where a page lies": "call(239, ctypes.byref(ctypes.c_int(0)), 0, 0, PAGE, 3)",
    "interrupt other cores": "call(324, 1, 0, 0)",
    "a descriptor of a process": "call(56, 0x1011, 0, SPACE, 0, 0)",
    "a descriptor of a peer": "call(55, PAIR[0].fileno(), 1, 77, SPACE, ctypes.byref(ctypes.c_int(4)))",
    "descriptors of peers": "call(54, PAIR[0].fileno(), 1, 76, ctypes.byref(ctypes.c_int(1)), 4)",
    "requests that all share": "call(206, 1, ctypes.byref(ctypes.c_ulong(0)))",
}


ERRORS = {
    "a memory file": errno.ENOSYS,
    "see which pages are in memory": errno.ENOSYS,
    "read what is in memory only": errno.EOPNOTSUPP,
    "drop what was read": errno.EOPNOTSUPP,
    "push pages out": errno.EINVAL,
    "merge equal pages": errno.EINVAL,
    "merge all pages": errno.EINVAL,
    "a lease": errno.EINVAL,
    "a notice of changes": errno.EINVAL,
    "an interface to the kernel's ciphers": errno.EAFNOSUPPORT,
    "a list of all sockets": errno.EAFNOSUPPORT,
    "number of sockets": errno.ENOPROTOOPT,
    "interrupt other cores": errno.EINVAL,
    "a descriptor of a peer": errno.ENOPROTOOPT,
    "descriptors of peers": errno.ENOPROTOOPT,
}
PAGE_AND_FILE = """
import mmap, socket
SPACE, PAIR = ctypes.create_string_buffer(8), socket.socketpair()
held = mmap.mmap(-1, 4096)
PAGE = ctypes.addressof(ctypes.c_char.from_buffer(held))
FILE, BYTES = os.open(os.__file__, 0), ctypes.create_string_buffer(1)
os.pread(FILE, 1, 0)  # now it is in memory
VECTOR = (ctypes.c_ulong * 2)(ctypes.addressof(BYTES), 1)
"""


@only_x86_64
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_works_without_the_filter_and_fails_with_it(attack: str, tmp_path: Path) -> None:
    victim = tmp_path / "file"
    victim.write_text("text")
    options = "FilterOptions()" if "call(41" in ATTACKS[attack] and attack in ERRORS else STRICT
    # A new process, should there be one, says nothing.
    text = f"me = os.getpid()\nfound = {ATTACKS[attack].replace('TEMP', repr(bytes(victim)))}\n"
    text += "print(found) if os.getpid() == me else os._exit(0)"
    assert int(run(PAGE_AND_FILE + text, options)) == ERRORS.get(attack, errno.EPERM)
    without = int(run(PAGE_AND_FILE + text, None))
    if without in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.EAFNOSUPPORT):
        pytest.skip(f"this machine refuses it in any case ({errno.errorcode[without]})")
    assert without == 0


@only_x86_64
def test_input_cannot_be_put_into_a_terminal() -> None:
    text = "import os; a, b = os.openpty(); print(call(16, b, 0x5412, ctypes.c_char_p(b'x')))"
    assert int(run(text, "FilterOptions()")) == errno.EPERM
    high = text.replace("0x5412", "0x100005412")  # the kernel looks at 32 bits of it
    assert int(run(high, "FilterOptions()")) == errno.EPERM


@only_x86_64
def test_another_table_of_numbers_is_no_way_round() -> None:
    """The x32 numbers, and the 32-bit calls of ``int 0x80`` (socket is 359 there, getpid 20)."""
    assert int(run("print(call(0x40000000 + 39))", "FilterOptions()")) == errno.EPERM
    text = """
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""
    assert int(run(text, "FilterOptions()")) == -errno.EPERM


IGNORES_CHILDREN = """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if (pid := os.fork()) == 0: os._exit(3)
try: print(os.waitpid(pid, 0)[1] >> 8)
except ChildProcessError: print("gone")
"""


def test_children_are_waited_for_also_by_who_ignores_them() -> None:
    """Else the kernel would drop their CPU time."""
    assert run(IGNORES_CHILDREN, None) == "gone"
    assert run(IGNORES_CHILDREN, "FilterOptions()") == "3"
    assert (
        run("signal.signal(signal.SIGTERM, print); print(signal.getsignal(15) is print)", "FilterOptions()") == "True"
    )


@only_x86_64
def test_nobody_waits_where_others_could_wake() -> None:
    """Private addresses are left alone; a semaphore between processes still works, and so does the end of a thread."""
    calls = "call(202, PAGE, 128, 1, TIME), call(202, PAGE, 0, 0, TIME), call(202, PAGE, 9 | 256, 0, TIME, 0, -1), "
    calls += "call(202, PAGE, 1, 1), call(202, PAGE, 129, 1)"
    text = PAGE_AND_FILE + "TIME = (ctypes.c_long * 2)(0, 1000)\n" + f"print(*[{calls}])"
    woke, again, late = 0, errno.EAGAIN, errno.ETIMEDOUT
    for options, wanted in (
        ("FilterOptions()", [again, late, late, woke, woke]),
        ("FilterOptions(shared_waits=True)", [again, again, again, woke, woke]),
        (JUDGED, [again, again, again, errno.EINVAL, woke]),
    ):
        text_here = text.replace("PAIR = ctypes.create_string_buffer(8), socket.socketpair()", "PAIR = 0, 0")
        assert [int(word) for word in run(text_here, options).split()] == wanted, options
    shared = """
import multiprocessing, threading, time
lock = multiprocessing.get_context("fork").Lock()
lock.acquire()
child = os.fork()
if child == 0:
    lock.acquire()
    os._exit(7)
time.sleep(0.05)
lock.release()
print(os.waitpid(child, 0)[1] >> 8)
"""
    assert run(shared, "FilterOptions(unmapped_memory=True, shared_waits=True)") == "7"


@only_x86_64
def test_unknown_calls_are_absent() -> None:
    assert errors("call(470), call(599), call(39)", "FilterOptions()") == [errno.ENOSYS, errno.ENOSYS, 0]


STARTS = """
import multiprocessing, subprocess, threading
def refused(start):
    try: start()
    except PermissionError: return 1
    return 0
def clone(flags):
    if (child := system.syscall(56, flags, 0, 0, 0, 0)) == 0: os._exit(0)
    if child < 0: raise PermissionError
thread = threading.Thread(target=int); thread.start(); thread.join()
ways = [
    lambda: os._exit(0) if os.fork() == 0 else 0,
    lambda: clone(17),
    lambda: subprocess.run(["true"]),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
    multiprocessing.get_context("spawn").Process(target=int).start,
]
if "judged" in LIST: ways += [lambda: clone(0x4111), lambda: os.execv("/bin/true", ["true"])]
print(*map(refused, ways))
"""


@only_x86_64
def test_a_judged_program_starts_threads_and_nothing_else() -> None:
    """The last two ways, a clone that shares memory and another program, would end this one where they work."""
    assert run(STARTS.replace("LIST", '["judged"]'), JUDGED) == "1 1 1 1 1 1 1"
    assert run(STARTS.replace("LIST", "[]"), STRICT) == "0 0 0 0 0"


@only_x86_64
def test_a_program_that_has_trained_is_confined_further_for_the_check_of_its_predict() -> None:
    text = "from train.sandbox.confine import confine_as_judged; confine_as_judged(DEVICE); "
    calls = "print(call(59, 0, 0, 0), call(57), call(22, 0))"
    assert run(text.replace("DEVICE", "'cpu'") + calls, STRICT) == "1 1 1"
    assert run(text.replace("DEVICE", "'cuda'") + calls, STRICT) == "1 1 14", "the libraries of a GPU open pipes"
    assert run("print(call(59, 0, 0, 0), call(22, 0))", STRICT) == "14 14"


def test_honest_calls_go_on() -> None:
    text = """
import fcntl, mmap, resource, socket, subprocess, tempfile, threading
a, b = socket.socketpair()
a.sendall(b"x"); assert b.recv(1) == b"x"
thread = threading.Thread(target=int); thread.start(); thread.join()
assert subprocess.run([sys.executable, "-I", "-S", "-c", "print(1)"], capture_output=True, text=True).stdout == "1\\n"
assert os.posix_spawn("/bin/true", ["true"], {}) > 0 and os.wait()[1] == 0
if (pid := os.fork()) == 0: os._exit(3)
assert os.waitpid(pid, 0)[1] == 3 << 8
os.nice(1); resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.sched_getaffinity(0)
with tempfile.NamedTemporaryFile() as file: file.write(b"x"); file.truncate(0)
assert system.personality(-1) >= 0
held = mmap.mmap(-1, 8192)
for advice in (mmap.MADV_HUGEPAGE, mmap.MADV_DONTNEED, mmap.MADV_WILLNEED): held.madvise(advice)
file = os.open(os.__file__, 0)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
assert os.preadv(file, [bytearray(8)], 0) == os.preadv(file, [bytearray(8)], 0, os.RWF_HIPRI) == 8
duplicate = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 0)
with tempfile.TemporaryFile() as locked: fcntl.flock(locked, fcntl.LOCK_EX); fcntl.lockf(locked, fcntl.LOCK_EX)
print("well")
"""
    assert run(text, STRICT) == "well"


@only_x86_64
def test_all_threads_are_confined_and_the_memory_files_of_a_gpu_are_left() -> None:
    text = """
import threading
answers, go = [], threading.Event()
thread = threading.Thread(target=lambda: (go.wait(), answers.append(call(272, 0x10000000))))
thread.start()
install(FilterOptions(unmapped_memory=False))
go.set(); thread.join()
print(answers[0], call(319, b"x", 0))
"""
    assert run(text, None).split() == [str(errno.EPERM), "0"]


@only_x86_64
def test_shared_segments_are_refused_where_the_machine_would_share_them() -> None:
    """On a GPU slot without namespaces: memory files are left, System V memory and queues are not."""
    loose = "FilterOptions(unmapped_memory=False, other_processes=True)"
    assert errors("make(29, 31, 0, 4096, 0o1600), make(68, 71, 0, 0o1600), call(319, b'x', 0)", loose) == [1, 1, 0]
    assert errors("make(29, 31, 0, 4096, 0o1600)", "FilterOptions(unmapped_memory=False)") == [0]


def test_sockets_of_the_three_usual_families_are_left_to_a_sandbox_with_its_own_network() -> None:
    text = "import socket; print(len([socket.socket(f) for f in (1, 2, 10)]), bool(socket.if_nameindex()))"
    assert run(text, "FilterOptions()") == "3 True"


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(Unconfinable, match="system calls of riscv64 are not known here; expected x86_64 or aarch64"):
        program(FilterOptions(), "riscv64")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_no_jump_leaves_the_program(machine: str) -> None:
    code = program(FilterOptions(True, True, True, True, True, True), machine)
    assert code[-1] == (0x06, 0, 0, 0x7FFF0000)
    for place, (operation, true, false, _) in enumerate(code):
        if operation in (0x15, 0x35, 0x45):
            assert place + 1 + max(true, false) < len(code)
    assert len(code) < 4096


def test_root_is_left_out_of_nothing() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    assert int(run("print(call(165, b'none', b'/mnt', b'tmpfs', 0, 0))", "FilterOptions()")) == errno.EPERM
