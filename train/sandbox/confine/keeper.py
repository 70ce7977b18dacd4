"""The keeper: first process of a Landlock sandbox, which starts the worker in it and kills all descendants in the end.

    python -I -S -c BOOT LIBRARY SPECIFICATION COMMAND...

The keeper is trusted and is not confined itself. Orphaned processes of the sandbox become its children
(PR_SET_CHILD_SUBREAPER), so none can leave by ending its parents. It exits when the worker has ended, on SIGTERM, or
when its own parent is gone; before that it kills every remaining process and empties the scratch folder. If the keeper
itself is killed (SIGKILL), the worker dies with it, but children of the worker may not.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from . import TASKS_BEFORE
from .filters import Unconfinable
from .landlock import DEVICE, READ, SCRATCH, Ruleset
from .system import CAPABILITY_HEADER, PR_CAP_AMBIENT

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from confine.keeper import main; main(sys.argv[2], sys.argv[3:])"

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER = 1, 8, 36
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_READ_SEARCH = 2

_CHECK_SECONDS = 0.25  # between two checks of the scratch folder
_SHARE = 50  # a check takes at most 1/50 of the time, since the keeper runs on the candidate's cores
_MOST_ENTRIES, _MOST_DEPTH = 50_000, 40
_HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


@dataclass(frozen=True)
class Specification:
    """Parameters from ``train.sandbox.landlock``, passed as JSON."""

    parent: int
    """The process whose end also ends the sandbox."""
    version: int
    """Landlock ABI."""
    user: int | None
    """User to switch to; None: stay the same user."""
    search: bool
    """Keep CAP_DAC_READ_SEARCH, to pass folders closed to that user; Landlock still restricts the readable files."""
    readable: Sequence[str]
    devices: Sequence[str]
    folder: str
    """Folder in which the scratch folder is created."""
    scratch_mb: int
    environment: Mapping[str, str]


class _ScratchFull(Exception):
    """The scratch folder exceeds a limit."""


def main(text: str, command: list[str]) -> NoReturn:
    """Run ``command`` in the sandbox of the JSON specification; exit with its status (128 + signal if killed)."""
    specification = Specification(**json.loads(text))
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    system.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != specification.parent:
        os._exit(1)
    scratch = f"{specification.folder}/scratch-{os.getpid()}"
    os.mkdir(scratch, 0o700)
    top = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if specification.user is not None:
        os.fchown(top, specification.user, specification.user)
    status = 1
    try:
        status = _supervise(_start(specification, scratch, command), top, specification)
    except _ScratchFull as full:
        _end_all()
        print(f"OSError: [Errno 28] No space left on device: {full}", file=sys.stderr, flush=True)
    finally:
        _end_all()
        with contextlib.suppress(OSError), _acting_as(specification.user):
            _empty(top)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(status)


# ---------------------------------------------------------------- start


def _start(specification: Specification, scratch: str, command: list[str]) -> int:
    """Start the worker in the sandbox; return its process number."""
    keeper = os.getpid()
    environment = {**specification.environment, "HOME": scratch, "TMPDIR": scratch}
    if specification.user is None:
        environment[TASKS_BEFORE] = str(_tasks_of(os.getuid()))
    if (worker := os.fork()) != 0:
        return worker
    try:
        os.setsid()
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")  # killed first if the machine runs out of memory, before the keeper and the search
        rules = Ruleset(specification.version)
        rules.allow_all(specification.readable, READ)
        rules.allow_all(specification.devices, DEVICE)
        rules.allow(scratch, SCRATCH)
        if specification.user is not None:
            _become(specification.user, specification.search)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which would clear it
        if os.getppid() != keeper:
            os._exit(1)
        os.chdir(scratch)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        rules.enforce()
        os.execve(command[0], command, environment)
    except OSError as error:  # includes Unconfinable
        print(f"the sandbox could not be made: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _become(user: int, search: bool) -> None:
    """Switch irreversibly to a user that owns nothing, without groups; ``search``: keep CAP_DAC_READ_SEARCH only."""
    system = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(user, user, user)
    if search:
        system.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(user, user, user)
    if search:
        bits = 1 << _CAP_DAC_READ_SEARCH
        if system.capset(CAPABILITY_HEADER, struct.pack("=6I", bits, bits, bits, 0, 0, 0)) != 0 or (
            system.prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0) != 0
        ):
            raise Unconfinable(f"CAP_DAC_READ_SEARCH could not be passed on: {os.strerror(ctypes.get_errno())}")


def _tasks_of(user: int) -> int:
    """Count the visible processes and threads of a user."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # ended meanwhile
            if os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


# ---------------------------------------------------------------- supervision


def _supervise(worker: int, top: int, specification: Specification) -> int:
    """Wait until the worker has ended, or an end was requested; return the exit status. Raises _ScratchFull."""
    next_check = time.monotonic() + _CHECK_SECONDS
    while True:
        heard = signal.sigtimedwait(_HANDLED, max(0.0, next_check - time.monotonic()))
        if heard is not None and heard.si_signo != signal.SIGCHLD:
            return 128 + heard.si_signo
        for process, status in _reaped():
            if process == worker:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        if (began := time.monotonic()) >= next_check:
            if os.getppid() != specification.parent:  # in case the signal of the parent's death was missed
                return 128 + signal.SIGTERM
            _check_scratch(top, specification)
            # A folder that takes long to check is checked less often.
            next_check = time.monotonic() + max(_CHECK_SECONDS, _SHARE * (time.monotonic() - began))


def _reaped() -> Iterator[tuple[int, int]]:
    """Yield number and status of children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            yield ended


def _check_scratch(top: int, specification: Specification) -> None:
    """Check the scratch folder, and unlinked files that are still open, where visible. Raises _ScratchFull."""
    held, _ = _within(top, 0, 0)
    held += _nameless(os.fstat(top).st_dev)
    if held > specification.scratch_mb * 1_000_000:
        raise _ScratchFull(f"its scratch folder held {held / 1e6:,.0f} MB; {specification.scratch_mb:,} MB are allowed")


def _within(folder: int, entries: int, depth: int) -> tuple[int, int]:
    """Return the bytes on disk below an open folder, and ``entries`` plus the number of files and folders there."""
    held = 0
    if depth > _MOST_DEPTH:
        raise _ScratchFull(f"its scratch folder holds folders nested more than {_MOST_DEPTH} deep")
    with os.scandir(folder) as listing:
        for entry in listing:
            if (entries := entries + 1) > _MOST_ENTRIES:
                raise _ScratchFull(f"its scratch folder held more than {_MOST_ENTRIES:,} files and folders")
            try:
                facts = entry.stat(follow_symlinks=False)
                held += facts.st_blocks * 512
                if not stat.S_ISDIR(facts.st_mode):
                    continue
                inner = os.open(entry.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            except PermissionError:
                raise _ScratchFull(
                    f"its scratch folder holds {entry.name[:80]!r}, which cannot be looked into"
                ) from None
            except OSError:
                continue  # removed or replaced meanwhile
            try:
                more, entries = _within(inner, entries, depth + 1)
                held += more
            finally:
                os.close(inner)
    return held, entries


def _nameless(device: int) -> int:
    """Return the bytes of unlinked files on ``device`` that are still open in the sandbox."""
    found: dict[int, int] = {}
    for process in _descendants():
        with contextlib.suppress(OSError):  # ended, or not readable
            for number in os.listdir(f"/proc/{process}/fd"):
                facts = os.stat(f"/proc/{process}/fd/{number}")
                if facts.st_nlink == 0 and facts.st_dev == device and stat.S_ISREG(facts.st_mode):
                    found[facts.st_ino] = facts.st_blocks * 512
    return sum(found.values())


@contextlib.contextmanager
def _acting_as(user: int | None) -> Iterator[None]:
    """Access files as the sandbox's user. Only at the end, because it clears PR_SET_PDEATHSIG."""
    if user is None:
        yield
        return
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


# ---------------------------------------------------------------- end


def _end_all() -> None:
    """Kill every descendant and wait until there is none. Multiplying processes are all stopped first."""
    pause = 0.001
    while True:
        stopped: set[int] = set()
        for _ in range(20):  # stopped processes count towards the process limit, so new ones run out
            new = _descendants() - stopped
            if not new:
                break
            _signal(new, signal.SIGSTOP)
            stopped |= new
        _signal(stopped | _descendants(), signal.SIGKILL)
        for _ in _reaped():
            continue
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
            continue
        return


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _descendants() -> set[int]:
    """Return all descendants, including zombies."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as facts:
            parent = int(facts.read().rpartition(b")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _empty(top: int) -> None:
    """Empty an open folder. Nested folders are moved up first, so depth and path length do not matter."""
    moved = 0
    prefix = f".{os.urandom(8).hex()}-"
    while names := os.listdir(top):
        for name in names:
            if not _is_folder(name, top):
                os.unlink(name, dir_fd=top)
                continue
            os.chmod(name, 0o700, dir_fd=top)  # no process is left that could replace it by a link
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
            try:
                for child in os.listdir(inner):
                    if _is_folder(child, inner):
                        os.chmod(child, 0o700, dir_fd=inner)
                        moved += 1
                        os.rename(child, f"{prefix}{moved}", src_dir_fd=inner, dst_dir_fd=top)
                    else:
                        os.unlink(child, dir_fd=inner)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
