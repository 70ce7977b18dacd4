"""A fork server: start Python and its packages once, then fork the worker of each sandbox that bubblewrap has made.

    worker.py CONTROL LIBRARY SITES CANDIDATE TIER fork

The server runs outside of all sandboxes as the user of one slot. It sees the files that its sandboxes see, and never
reads or runs anything of a candidate. For each sandbox it forks a guide, which joins the sandbox's namespaces, forks
the worker there, waits for it, and tells its status to the process that keeps the sandbox (HOLD). Only the worker runs
a candidate. Like a process that bubblewrap has started, it has no capabilities and no descriptors but its socket and
its output.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as signal, which imports enum for names of numbers
import contextlib
import fcntl
import gc
import os
import struct
import sys

from .filters import forbid_new_privileges
from .system import CAPABILITY_HEADER, PR_CAP_AMBIENT, error_number, process_control, system_call

TYPE_CHECKING = False  # as typing has it, which takes as long to import as an interpreter to start
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterator
    from typing import NoReturn

HOLD = 'echo >&0; read status; exit "${status:-1}"'
"""Script for ``/bin/sh -c``: tell the socket on its input that the sandbox is complete, and exit with the status that
comes from there."""

PASSED = 4
"""Descriptors of a request: the worker's socket and output, the socket to HOLD, and a pipe that says when to begin."""

_SCM_CREDENTIALS = 2
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group
_SETNS = {"x86_64": 308, "aarch64": 268}  # system call numbers
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOST_CAPABILITIES = 64
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 4
_NS_GET_USERNS = 0xB701
_NAMESPACES = ("ipc", "uts", "net", "cgroup", "pid", "mnt")  # the last one changes the root folder


def serve_forks(control: int, prepare: Callable[[], object]) -> int:
    """Call ``prepare``, then fork a guide for each request, until the other end closes.

    Return in a worker: the descriptor of its socket.
    """
    from _socket import socket

    server = socket(fileno=control)
    with _ended_by_hanging_up(server):
        prepare()
    gc.collect()
    gc.freeze()  # a collection would write to, and so copy, what all workers share
    server.send(b"\n")
    while True:
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody waits for guides
        passed = _passed(server)
        guide = os.fork()
        if guide == 0:
            server.close()
            return _guide(*passed)
        for descriptor in passed:
            os.close(descriptor)
        server.send(guide.to_bytes(4, sys.byteorder))


@contextlib.contextmanager
def _ended_by_hanging_up(server: socket) -> Iterator[None]:
    """End this process at once if the other end closes, which is seen only between two requests otherwise."""
    from _socket import MSG_DONTWAIT, MSG_PEEK

    before = fcntl.fcntl(server.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(server.fileno(), fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(server.fileno(), fcntl.F_SETFL, before | os.O_ASYNC)  # SIGIO, which ends who does not handle it
    with contextlib.suppress(BlockingIOError):
        if not server.recv(1, MSG_PEEK | MSG_DONTWAIT):
            os._exit(0)  # closed before
    yield
    fcntl.fcntl(server.fileno(), fcntl.F_SETFL, before)


def _passed(server: socket) -> tuple[int, ...]:
    """Return the descriptors of the next request; exit where there is none any more."""
    from _socket import CMSG_SPACE

    data, passed, _flags, _address = server.recvmsg(1, CMSG_SPACE(PASSED * 4))
    if not data:
        os._exit(0)
    return tuple(int(each) for each in struct.unpack(f"{PASSED}i", passed[0][2]))


def _guide(session: int, output: int, holder: int, begin: int) -> int:
    """Fork the worker inside the sandbox and wait for it; return in the worker."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    try:
        if not os.read(begin, 1):
            os._exit(1)  # the launch was given up
        _join(_process_behind(holder))
        worker = os.fork()
    except BaseException as error:  # noqa: BLE001 - printed: it explains why the sandbox did not start
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
        os._exit(1)  # which closes the socket of HOLD
    if worker == 0:
        return _become_worker(session)
    os.closerange(0, holder)
    os.closerange(holder + 1, os.sysconf("SC_OPEN_MAX"))
    _tell_status(worker, holder)


def _process_behind(holder: int) -> int:
    """Return the process at the other end of a socket, when it has said something. Raises OSError if it has ended."""
    from _socket import CMSG_SPACE, SOL_SOCKET, socket

    end = socket(fileno=os.dup(holder))
    data, said, _flags, _address = end.recvmsg(1, CMSG_SPACE(_CREDENTIALS.size))
    end.close()
    for level, kind, content in said if data else ():
        if (level, kind) == (SOL_SOCKET, _SCM_CREDENTIALS):
            process, user, _group = _CREDENTIALS.unpack(content)
            if user == os.getuid():
                return int(process)
    raise OSError("the sandbox has ended before it was complete")


def _join(process: int) -> None:
    """Enter the namespaces of another process of this user. Raises OSError.

    First the user namespace that owns the others, in which this process then has all capabilities; in the end that of
    the process itself, which can be another one below it.
    """
    opened = [os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in (*_NAMESPACES, "user")]
    own = [os.stat(f"/proc/self/ns/{name}").st_ino for name in _NAMESPACES]
    owner = fcntl.ioctl(opened[_NAMESPACES.index("mnt")], _NS_GET_USERNS)
    others = [each for each, mine in zip(opened, own, strict=False) if os.fstat(each).st_ino != mine]
    inner = opened[-1:] if os.fstat(opened[-1]).st_ino != os.fstat(owner).st_ino else []
    for namespace in (owner, *others, *inner):
        if system_call(_SETNS[os.uname().machine], namespace, 0) != 0:
            raise OSError(error_number(), f"setns: {os.strerror(error_number())}")


def _become_worker(session: int) -> int:
    """Leave everything behind that a process started by bubblewrap would not have; return the socket's descriptor."""
    os.setsid()
    os.chdir("/tmp")
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(session, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    _drop_capabilities()
    forbid_new_privileges()
    if numbers := sys.modules.get("numpy.random"):
        numbers.seed()  # it was seeded once, when it was imported
    return 3


def _drop_capabilities() -> None:
    """Give up all capabilities, irreversibly. Raises OSError."""
    process_control(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for number in range(_MOST_CAPABILITIES):
        process_control(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for those that the kernel does not know
    if system_call(_CAPSET[os.uname().machine], CAPABILITY_HEADER, bytes(24)) != 0:
        raise OSError(error_number(), f"capset: {os.strerror(error_number())}")


def _tell_status(worker: int, holder: int) -> NoReturn:
    """Wait for the worker and have the sandbox end with its status: 128 and the signal, if a signal has ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    try:
        os.write(holder, b"%d\n" % (code if code >= 0 else 128 - code))
    except OSError:  # the sandbox has been ended
        pass
    finally:
        os._exit(0)
