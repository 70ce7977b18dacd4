"""The first process of a sandbox made of Landlock: it starts the worker in it, and takes all its descendants along.

    python -I -S -c BOOT LIBRARY SPECIFICATION COMMAND...

The keeper is ours and stays outside of what it enforces. All that loses its parent in the sandbox becomes its child
(PR_SET_CHILD_SUBREAPER), so nothing can leave by ending its parents. It ends when the worker has ended, on SIGTERM, or
when its own parent is gone, and each time it first ends every process that is left and empties the scratch folder.
Where it is killed itself (SIGKILL), the worker dies with it, and others that the worker has started may not.
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

BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from confine.keeper import main; main(sys.argv[2], sys.argv[3:])"

_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_CHILD_SUBREAPER, _PR_CAP_AMBIENT = 1, 8, 36, 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522

_LOOK_SECONDS = 0.25  # between two looks at the scratch folder
_SHARE = 50  # a look takes a fiftieth of the time at most: the keeper runs on the cores of its candidate
_MOST_ENTRIES, _MOST_DEPTH = 50_000, 40
_HANDLED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


@dataclass(frozen=True)
class Specification:
    """What ``train.sandbox.base`` asks for; it travels as JSON."""

    parent: int
    """The process that must live."""
    version: int
    """Of Landlock."""
    user: int | None
    """To become this user; None: to stay who we are."""
    search: bool
    """With the right to pass folders that are closed to that user (CAP_DAC_READ_SEARCH); Landlock bounds it."""
    readable: Sequence[str]
    devices: Sequence[str]
    folder: str
    """Where the scratch folder is made."""
    scratch_mb: int
    environment: Mapping[str, str]


class _ScratchFull(Exception):
    """More in the scratch folder than is allowed."""


def main(specification: str, command: list[str]) -> NoReturn:
    """Run ``command`` in the sandbox; leave with its exit status (128 + the signal that ended it)."""
    asked = Specification(**json.loads(specification))
    signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    system.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != asked.parent:
        os._exit(1)
    scratch = f"{asked.folder}/scratch-{os.getpid()}"
    os.mkdir(scratch, 0o700)
    top = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if asked.user is not None:
        os.fchown(top, asked.user, asked.user)
    status = 1
    try:
        status = _watch(_start(asked, scratch, command), top, asked)
    except _ScratchFull as full:
        _end_all()
        print(f"OSError: [Errno 28] No space left on device: {full}", file=sys.stderr, flush=True)
    finally:
        _end_all()
        with contextlib.suppress(OSError), _acting_as(asked.user):
            _empty(top)
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(status)


# ---------------------------------------------------------------- the start


def _start(asked: Specification, scratch: str, command: list[str]) -> int:
    """The process number of the worker."""
    keeper = os.getpid()
    environment = {**asked.environment, "HOME": scratch, "TMPDIR": scratch}
    if asked.user is None:
        environment[TASKS_BEFORE] = str(_tasks_of(os.getuid()))
    if (worker := os.fork()) != 0:
        return worker
    try:
        os.setsid()
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")  # the first to go when the machine's memory ends, before the keeper and the search
        rules = Ruleset(asked.version)
        rules.allow_all(asked.readable, READ)
        rules.allow_all(asked.devices, DEVICE)
        rules.allow(scratch, SCRATCH)
        if asked.user is not None:
            _become(asked.user, asked.search)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
        if os.getppid() != keeper:
            os._exit(1)
        os.chdir(scratch)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        rules.enforce()
        os.execve(command[0], command, environment)
    except OSError as error:  # Unconfinable is one, too
        print(f"the sandbox could not be made: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def _become(user: int, search: bool) -> None:
    """For good: a user that owns nothing, in no group, without a capability (or with the one that is named)."""
    system = ctypes.CDLL(None, use_errno=True)
    os.setgroups([])
    os.setresgid(user, user, user)
    if search:
        system.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(user, user, user)
    if search:
        bits = 1 << _CAP_DAC_READ_SEARCH
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        if system.capset(header, struct.pack("=6I", bits, bits, bits, 0, 0, 0)) != 0 or (
            system.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_READ_SEARCH, 0, 0) != 0
        ):
            raise Unconfinable(f"CAP_DAC_READ_SEARCH could not be passed on: {os.strerror(ctypes.get_errno())}")


def _tasks_of(user: int) -> int:
    """Processes and threads of a user, as far as this process can see them."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # gone meanwhile
            if os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


# ---------------------------------------------------------------- the watch


def _watch(worker: int, top: int, asked: Specification) -> int:
    """Until the worker has ended (its status) or the end was asked for. Raises _ScratchFull."""
    next_look = time.monotonic() + _LOOK_SECONDS
    while True:
        patience = max(0.0, next_look - time.monotonic())
        heard = signal.sigtimedwait(_HANDLED, patience)
        if heard is not None and heard.si_signo != signal.SIGCHLD:
            return 128 + heard.si_signo
        for process, status in _reaped():
            if process == worker:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        if (began := time.monotonic()) >= next_look:
            if os.getppid() != asked.parent:  # should its end not have been signalled
                return 128 + signal.SIGTERM
            _look(top, asked)
            # A folder that takes long to look through is looked at more seldom.
            next_look = time.monotonic() + max(_LOOK_SECONDS, _SHARE * (time.monotonic() - began))


def _reaped() -> Iterator[tuple[int, int]]:
    """Children that have ended: number and status."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0] != 0:
            yield ended


def _look(top: int, asked: Specification) -> None:
    """Raises _ScratchFull. Files that have no name any more are seen where the system shows who has them open."""
    held, _ = _within(top, 0, 0)
    held += _nameless(os.fstat(top).st_dev)
    if held > asked.scratch_mb * 1_000_000:
        raise _ScratchFull(f"its scratch folder held {held / 1e6:,.0f} MB; {asked.scratch_mb:,} MB are allowed")


def _within(folder: int, entries: int, depth: int) -> tuple[int, int]:
    """Bytes on disk below an open folder, and ``entries`` plus how many files and folders there are."""
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
                continue  # gone, or something else by now
            try:
                more, entries = _within(inner, entries, depth + 1)
                held += more
            finally:
                os.close(inner)
    return held, entries


def _nameless(device: int) -> int:
    """Bytes of files on ``device`` that have been removed and are still open in the sandbox."""
    found: dict[int, int] = {}
    for process in _descendants():
        with contextlib.suppress(OSError):  # gone, or not ours to see
            for number in os.listdir(f"/proc/{process}/fd"):
                facts = os.stat(f"/proc/{process}/fd/{number}")
                if facts.st_nlink == 0 and facts.st_dev == device and stat.S_ISREG(facts.st_mode):
                    found[facts.st_ino] = facts.st_blocks * 512
    return sum(found.values())


@contextlib.contextmanager
def _acting_as(user: int | None) -> Iterator[None]:
    """With the rights of the sandbox's user on files. For the end alone: it cancels PR_SET_PDEATHSIG."""
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


# ---------------------------------------------------------------- the end


def _end_all() -> None:
    """End every descendant and wait until there is none. A group that multiplies is stopped as a whole first."""
    pause = 0.001
    while True:
        stopped: set[int] = set()
        for _ in range(20):  # stopped processes count against their limit, so that what is left to be born runs out
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
    """All processes below this one; those that have ended and are not yet reaped are among them."""
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
    """Remove all that is in an open folder. Folders are moved up first: no depth and no length of a path matters."""
    moved = 0
    prefix = f".{os.urandom(8).hex()}-"
    while names := os.listdir(top):
        for name in names:
            if not _is_folder(name, top):
                os.unlink(name, dir_fd=top)
                continue
            os.chmod(name, 0o700, dir_fd=top)  # nobody is left who could put a link there now
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
