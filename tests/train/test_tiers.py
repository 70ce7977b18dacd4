"""What every sandbox must hold, one test for all tiers: small programs attack them from inside, without torch.

They stand where the worker stands, in a real sandbox, after the real ``confine``. Everything is done as root and, by
the last test, as an ordinary user: there the candidate has the user's own number, and only the sandbox holds it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from train.hardware.slots import Slot
from train.sandbox.abort import Aborted
from train.sandbox.base import Sandbox, SandboxUnavailable, find_sandbox, stage_library
from train.sandbox.process import SandboxProcess

SLOT = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
HOUSE = Path(__file__).resolve().parents[2]
PROCESSES, SCRATCH_MB, FILE_MB = 24, 12, 8
WORKER = f"""
import os, sys
sys.path.insert(0, sys.argv[2])
from confine import confine
hello = dict(file_bytes={FILE_MB}_000_000, processes={PROCESSES}, die_with=None, device="cpu")
confine(hello, sys.argv[5])
def tried(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return type(error).__name__
    return "DONE"
exec(open(sys.argv[4] + "/train.py").read())
"""


@dataclass
class Ground:
    """A sandbox of one tier, with a stage of its own."""

    sandbox: Sandbox
    stage: Path

    def open(self, program: str) -> SandboxProcess:
        (self.stage / "candidate" / "train.py").write_text(program)
        ours, theirs = socket.socketpair()
        inside = self.sandbox.wrap(self.stage, theirs.fileno(), SLOT, SCRATCH_MB)
        return SandboxProcess(
            inside.command,
            inside.environment,
            ours,
            theirs,
            label="attack",
            contained=self.sandbox.contained,
            memory_mb=500,
            log_bytes=20_000,
            cancelled=threading.Event(),
        )

    def run(self, program: str) -> str:
        """What the program printed, to its end."""
        with self.open(program) as process:
            try:
                process.finish(deadline=time.monotonic() + 200)
            except Aborted as ended:
                pytest.fail(f"{ended.reason}\n{process.log}")
            process.kill()
            return process.log

    def ended(self, program: str) -> Aborted:
        with self.open(program) as process, pytest.raises(Aborted) as caught:
            process.finish(deadline=time.monotonic() + 200)
        return caught.value


@pytest.fixture(scope="module", params=["bwrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return find_sandbox(request.param)
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def ground(sandbox: Sandbox) -> Iterator[Ground]:
    folder = Path(tempfile.mkdtemp(prefix="treewright-tiers-"))
    folder.chmod(0o711)
    stage_library(folder)
    (folder / "library" / "worker.py").write_text(WORKER)
    (folder / "candidate").mkdir(mode=0o755)
    yield Ground(sandbox, folder)
    shutil.rmtree(folder)
    assert not folder.exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that is open to everybody, as the machine's own users leave them."""
    folder = Path(tempfile.mkdtemp(prefix="tw-open-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of the user who searches."""
    with subprocess.Popen(["/bin/sleep", "300"], env={"SECRET": "treewright-secret"}) as process:
        yield process
        process.kill()


def lines(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


# ---------------------------------------------------------------- files


def test_files_elsewhere_can_be_neither_read_nor_changed(ground: Ground, open_folder: Path) -> None:
    secret = open_folder / "text"
    secret.write_text("the evaluation text")
    secret.chmod(0o666)
    said = lines(
        ground.run(f"""
for path in ({str(secret)!r}, "/etc/passwd", {str(HOUSE / "train" / "language_model" / "evaluator.py")!r}):
    print("read", path, tried(open, path), sep=": ")
print("list", tried(os.listdir, {str(open_folder)!r}), sep=": ")
print("write", tried(open, {str(secret)!r}, "r+"), sep=": ")
print("truncate", tried(os.truncate, {str(secret)!r}, 0), sep=": ")
print("remove", tried(os.unlink, {str(secret)!r}), sep=": ")
print("link", tried(os.link, {str(secret)!r}, "copy"), sep=": ")
print("create", tried(open, {str(open_folder)!r} + "/new", "w"), sep=": ")
print("mode", tried(os.chmod, {str(secret)!r}, 0o600), sep=": ")
print("time", tried(os.utime, {str(secret)!r}, (0, 0)), sep=": ")
for path in ({str(ground.stage)!r}, "/candidate", "/library", *sys.argv[2:5], "/usr", "/usr/lib", sys.prefix, "/dev"):
    print("plant", path, tried(open, path + "/planted.py", "w"), sep=": ")
print("follow", tried(lambda: (os.symlink({str(secret)!r}, "way"), open("way"))), sep=": ")
print("own", tried(open, "own", "w"), sep=": ")
""").replace(": /", " /")
    )
    assert said.pop("own") == "DONE"
    assert all(answer.endswith("Error") for answer in said.values()), said
    assert secret.read_text() == "the evaluation text"
    assert secret.stat().st_mode & 0o777 == 0o666
    assert secret.stat().st_mtime > 1_000_000
    assert [path.name for path in open_folder.iterdir()] == ["text"]


def test_a_walk_over_everything_finds_no_secret(ground: Ground, open_folder: Path) -> None:
    (open_folder / "text").write_text("the evaluation text")
    found = ground.run("""
seen = 0
for top in "/etc /home /root /tmp /var /run /mnt /srv /opt /work /dev/shm".split():
    for folder, _, names in os.walk(top):
        for name in names:
            seen += 1
            try:
                with open(os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                    if b"the evaluation text" in file.read(1 << 20): print("FOUND", folder, name)
            except OSError:
                pass
print("walked")
""")
    assert found.split() == ["walked"]


def test_no_environment_and_no_descriptor_of_ours(
    ground: Ground, victim: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "treewright-secret")
    with open(__file__) as inherited:
        os.set_inheritable(inherited.fileno(), True)
        said = ground.run(f"""
import fcntl
print("environment", "treewright-secret" in str(os.environ), sep=": ")
for pid in (os.getppid(), {os.getpid()}, {victim.pid}):
    for name in ("environ", "maps", "fd/0", "root/etc/passwd"):
        path = f"/proc/{{pid}}/{{name}}"
        if tried(open, path) == "DONE" and b"treewright-secret" in open(path, "rb").read(9999):
            print("FOUND", path)
here = [n for n in range(3, 300) if tried(fcntl.fcntl, n, fcntl.F_GETFD) == "DONE"]
print("descriptors", here == [int(sys.argv[1])], sep=": ")
""")
    assert said.splitlines() == ["environment: False", "descriptors: True"]


def test_it_is_nobody(ground: Ground) -> None:
    said = ground.run("""
import ctypes
system = ctypes.CDLL(None)
print(os.getuid() == os.geteuid() > 0, set(os.getgroups()) <= {os.getgid(), 65534}, system.prctl(39, 0, 0, 0, 0))
print(tried(os.setuid, 0) != "DONE", tried(os.chroot, "/"), tried(os.sched_setaffinity, 0, os.sched_getaffinity(0)))
print(system.mount(b"none", b"/", b"tmpfs", 0, 0))
""")
    assert said.splitlines() == ["True True 1", "True PermissionError PermissionError", "-1"]


# ---------------------------------------------------------------- network


def test_no_network_and_no_socket_of_the_machine(ground: Ground, open_folder: Path) -> None:
    path, name = str(open_folder / "socket"), f"treewright-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        udp.bind(("127.0.0.1", 0))
        named.bind(path)
        abstract.bind(f"\0{name}")
        datagrams.bind(path + "-datagrams")
        for file in open_folder.iterdir():
            file.chmod(0o777)
        for each in (tcp, named, abstract):
            each.listen()
        for each in (tcp, udp, named, abstract, datagrams):
            each.setblocking(False)
        said = ground.run(f"""
import socket
def speak(family, kind, address):
    with socket.socket(family, kind) as s:
        s.sendto(b"x", address) if kind == socket.SOCK_DGRAM else s.connect(address)
print(tried(speak, socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {tcp.getsockname()[1]})))
print(tried(speak, socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", {udp.getsockname()[1]})) == "DONE" and "SENT")
print(tried(speak, socket.AF_UNIX, socket.SOCK_STREAM, {path!r}))
print(tried(speak, socket.AF_UNIX, socket.SOCK_STREAM, "\\0{name}"))
print(tried(speak, socket.AF_UNIX, socket.SOCK_DGRAM, {path + "-datagrams"!r}))
print(tried(lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b"x", {path + "-datagrams"!r})))
print(tried(speak, socket.AF_INET, socket.SOCK_STREAM, ("1.1.1.1", 53)))
""").split()
        assert len(said) == 7
        assert "DONE" not in said
        for each in (tcp, named, abstract):
            with pytest.raises(BlockingIOError):
                each.accept()
        for each in (udp, datagrams):
            with pytest.raises(BlockingIOError):
                each.recv(1)


# ---------------------------------------------------------------- processes


def test_no_other_process_can_be_touched(ground: Ground, victim: subprocess.Popen[bytes]) -> None:
    # Signal 0 reaches nobody and tells who could be reached: where a sandbox is broken, this test must do no harm.
    nice = os.getpriority(os.PRIO_PROCESS, victim.pid)
    limits = resource_limits(victim.pid)
    said = ground.run(f"""
import ctypes, resource, signal
for pid in (os.getppid(), {os.getpid()}, {victim.pid}):
    if pid > 2:  # with a process namespace there are others of these numbers
        print(tried(os.kill, pid, 0))
pid = {victim.pid}
print(tried(os.kill, pid, signal.SIGTERM))
print(tried(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGTERM)))
print(tried(resource.prlimit, pid, resource.RLIMIT_CPU, (1, 1)))
print(tried(os.setpriority, os.PRIO_PROCESS, pid, 19))
print(tried(os.sched_setscheduler, pid, os.SCHED_IDLE, os.sched_param(0)))
print("DONE" if ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0 else "")
""")
    assert "DONE" not in said, said
    assert victim.poll() is None
    assert os.getpriority(os.PRIO_PROCESS, victim.pid) == nice
    assert os.sched_getscheduler(victim.pid) == os.SCHED_OTHER
    assert resource_limits(victim.pid) == limits


def resource_limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


DAEMON = """
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(int(sys.argv[1]))
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(300)", {mark!r}])
        os._exit(0)
daemon(); daemon()
import time
time.sleep(0.3)
"""


def marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):  # it ended while it was looked at
            if mark in (process.info["cmdline"] or ()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def until(condition: Callable[[], object], seconds: float = 200.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def mark() -> str:
    return f"treewright-mark-{os.getpid()}-{time.monotonic_ns()}"


@pytest.mark.parametrize("how", ["leaves", "is ended"])
def test_a_daemon_does_not_outlive_its_sandbox(ground: Ground, mark: str, how: str) -> None:
    rest = "" if how == "leaves" else "\ntime.sleep(300)"
    with ground.open(DAEMON.format(mark=mark) + rest) as process:
        if how == "leaves":
            process.finish(deadline=time.monotonic() + 200)
        else:
            assert until(lambda: len(marked(mark)) == 2)
    assert not marked(mark)


DRIVER = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import test_tiers
from pathlib import Path
from train.sandbox.base import find_sandbox
ground = test_tiers.Ground(find_sandbox(sys.argv[3]), Path(sys.argv[4]))
with ground.open(sys.argv[5]) as process:
    process.finish(deadline=time.monotonic() + 100)
"""


@pytest.mark.slow
def test_a_killed_driver_leaves_nothing(ground: Ground, mark: str) -> None:
    program = DAEMON.format(mark=mark) + "\ntime.sleep(300)"
    arguments = [str(HOUSE), str(HOUSE / "tests" / "train"), ground.sandbox.tier, str(ground.stage), program]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], cwd=HOUSE)
    try:
        assert until(lambda: len(marked(mark)) == 2)
        below = psutil.Process(driver.pid).children(recursive=True)
        assert len(below) >= 3
        time.sleep(0.6)  # whatever looks after the sandbox has done so
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    assert until(lambda: not marked(mark))
    assert until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in below))


@pytest.mark.slow
def test_processes_are_counted_and_a_bomb_is_cleared_away(ground: Ground, mark: str) -> None:
    said = ground.run(f"""
import time
count = 0
while count < 500:
    try:
        if os.fork() == 0:
            time.sleep(300)
    except OSError:
        break
    count += 1
print(count < {PROCESSES} or count)
""")
    if ground.sandbox.tier == "bwrap" or os.geteuid() == 0:
        assert said.split() == ["True"]
    else:
        assert said.split()[0] == "True" or int(said) < PROCESSES + 32, "the user's others are counted as they were"
    bomb = f"""
import time
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", '''
import os
while True:
    try: os.fork(); os.setsid()
    except OSError: pass
''', {mark!r}])
time.sleep(1)
"""
    with ground.open(bomb) as process:
        process.finish(deadline=time.monotonic() + 200)
    assert not marked(mark)


# ---------------------------------------------------------------- scratch space

FILL = """
import time
kept = []
for number in range(40):
    with open(f"fill-{number}", "wb") as file:
        file.write(bytes(2_000_000))
        file.flush()
        AFTER
    time.sleep(0.05)
time.sleep(3)
print("all was written")
"""


@pytest.mark.parametrize("after", ["pass", "os.unlink(file.name); kept.append(os.dup(file.fileno()))"])
def test_scratch_space_is_bounded(ground: Ground, after: str) -> None:
    ended = ground.ended(FILL.replace("AFTER", after))
    assert ended.outcome == "crashed"
    assert "No space left on device" in ended.reason, ended.reason


def test_limits_that_cannot_be_raised_again(ground: Ground) -> None:
    said = ground.run("""
import resource
for name in ("CORE", "NICE", "RTPRIO", "MSGQUEUE", "NOFILE"):
    limit = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(limit)
    try:
        resource.setrlimit(limit, (hard, hard + 1)); hard = "raised"
    except ValueError:
        pass
    print(name, hard)
""")
    # A core of one byte at most is none at all, also for a program that cores are piped to.
    assert said.splitlines() == ["CORE 1", "NICE 0", "RTPRIO 0", "MSGQUEUE 0", "NOFILE 4096"]


def test_one_file_is_bounded(ground: Ground) -> None:
    said = ground.run(f"print(tried(lambda: open('large', 'wb').truncate({FILE_MB}_000_001)))")
    assert said.split() == ["OSError"]


def test_whatever_it_leaves_is_removed_and_nothing_is_followed(ground: Ground, open_folder: Path) -> None:
    """Links, pipes, closed folders, and folders nested deeper than a path may be long."""
    kept = open_folder / "kept"
    kept.write_text("here to stay")
    kept.chmod(0o640)
    program = f"""
os.symlink({str(open_folder)!r}, "folder-link")
os.symlink({str(kept)!r}, "file-link")
os.mkfifo("pipe")
os.mkdir("closed"); open("closed/inside", "w").close(); os.symlink({str(kept)!r}, "closed/link")
tried(os.chmod, "closed", 0)
for _ in range(3000):
    os.mkdir("d" * 20)
    os.chdir("d" * 20)
os._exit(7)
"""
    assert ground.ended(program).outcome == "crashed"
    assert sorted(path.name for path in ground.stage.iterdir()) == ["candidate", "library"]
    assert kept.read_text() == "here to stay"
    assert kept.stat().st_mode & 0o777 == 0o640


# ---------------------------------------------------------------- whole evaluations


@pytest.mark.slow
def test_all_of_it_holds_for_an_ordinary_user(commoner: tuple[Path, Path]) -> None:
    """This file again, by a user with an interpreter and a copy of our packages that are open to everybody."""
    house, python = commoner
    (house / "tests/train").mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, house / "tests/train")
    from nobody import as_nobody  # not at the top: the copy of this file is run without tests/support

    words = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "-W", "ignore", "tests/train"]
    done = as_nobody([str(python), "-m", "pytest", *words], house, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@pytest.mark.slow
def test_no_other_process_can_be_touched_under_an_old_landlock_by_root(
    ground: Ground, victim: subprocess.Popen[bytes]
) -> None:
    """Landlock 1, as of Linux 5.13: a user of its own stands in for what is not handled yet."""
    if os.geteuid() != 0 or ground.sandbox.tier != "landlock":
        pytest.skip("for root alone")
    ground = replace(ground, sandbox=replace(ground.sandbox, version=1))
    test_no_other_process_can_be_touched(ground, victim)
