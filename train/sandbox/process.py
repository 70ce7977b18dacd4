"""One sandboxed process, supervised by the thread that launched it: messages, output, resources, deadlines, its end.

Deadlines are on the monotonic clock, which cannot be set, or depend on the CPU time used (``UsageDeadline``). The
monotonic clock stops while the machine sleeps, as the candidate does. If only the search is stopped (SIGSTOP, Ctrl-Z),
the candidate runs on: when a deadline passes during such a standstill, it is unknown whether the candidate kept it, and
the evaluation is ``lost``.

Each early end is an ``Aborted`` with an outcome and a reason that the reader can act on. The launching thread must stay
in this module's calls while the process runs, since ``--die-with-parent`` follows the thread.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

import psutil

from prepare.wire import Frame, MalformedFrame, OversizedFrame, encode
from train.sandbox.abort import Aborted, aborted_by_exit
from train.sandbox.cgroup import MemoryGroup, MemoryGroups
from train.sandbox.channel import PolledChannel
from train.sandbox.environment import KILLED_FIRST, Contained, killed_first
from train.sandbox.fork_server import Fork
from train.sandbox.log import OutputReader, error_line
from train.sandbox.monitor import ResourceMonitor, ResourceUsage

_CHECK_SECONDS = 0.08  # between two checks of memory and CPU time
_STANDSTILL_SECONDS = 2.0  # a wait longer than asked for by this: this process did not run
_KILL_SECONDS = 2.0  # for the processes of a sandbox to be gone, once killed
_KEEPER_SECONDS = 20.0  # for a keeper to end all processes and to empty the scratch folder


class UsageDeadline(Protocol):
    """A deadline that depends on what the process does, such as an amount of CPU time."""

    def earliest(self, now: float) -> float:
        """Return a time (monotonic seconds) before which it cannot pass; ``now`` if it has passed."""
        ...


class SandboxProcess:
    """A running sandboxed process. Use as a context manager: on leaving, all of its processes have ended."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        ours: socket.socket,
        theirs: socket.socket,
        *,
        label: str,
        contained: Contained,
        memory_mb: int,
        log_bytes: int,
        cancelled: threading.Event,
        groups: MemoryGroups | None = None,
        fork: Fork | None = None,
    ) -> None:
        """Launch ``command`` and take over both sockets. Raises OSError if the launch fails.

        ``label``: names the process in reasons. ``contained``: see ``environment.Contained`` and ``kill``.
        ``groups``: limits memory by a memory group; None: memory is measured (see ``train.sandbox.memory``).
        ``fork``: what forks the worker into the sandbox that ``command`` makes; None: ``command`` starts it.
        """
        self.label = label
        self.launched = time.monotonic()
        self.stalled = 0.0
        """Seconds in which this process did not run while it should have supervised the sandbox."""
        self._contained = contained
        self._cancelled = cancelled
        self._channel = PolledChannel(ours)
        self._next_check = 0.0
        self._kill_begun = self._killed = False
        try:
            self._process, output, group = _launch(command, environment, theirs, memory_mb, groups, fork)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._output = OutputReader(output, log_bytes)
        self._monitor = ResourceMonitor(self._process.pid, label, memory_mb, group, contained is True)

    def __enter__(self) -> SandboxProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def assign(self, label: str, cancelled: threading.Event) -> None:
        """Name a process that was started ahead, and have ``cancelled`` end it."""
        self.label, self._cancelled = label, cancelled
        self._monitor.label = label

    @property
    def usage(self) -> ResourceUsage:
        """Resources used until the last check."""
        return self._monitor.usage

    def measure_cpu(self) -> ResourceUsage:
        """Measure the CPU time now; return the resources used."""
        self._monitor.measure_cpu()
        return self.usage

    def measure_last(self) -> None:
        """Measure before its end."""
        self._monitor.measure_last()

    @property
    def log(self) -> str:
        """Its output, cut in the middle. Untrusted."""
        return self._output.text

    # ------------------------------------------------------------ messages

    def send(
        self,
        message: dict[str, object],
        payload: bytes = b"",
        *,
        deadline: UsageDeadline | float,
        fds: Sequence[int] = (),
    ) -> None:
        """Send one frame, with file descriptors if given. Raises Aborted at the deadline or if the process ended."""
        data = memoryview(encode(message, payload))
        late = f"{self.label}: it did not read its input in time"
        while data:
            self._poll(deadline, late, writing=True)
            if self._channel.closed:
                raise self._unexpected_end()
            try:
                data = data[self._channel.write(data, fds) :]
                fds = ()
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise self._unexpected_end() from None

    def receive(
        self, *, deadline: UsageDeadline | float, max_payload: int, late: str, too_large: str | None = None
    ) -> Frame:
        """Return the next frame.

        Raises Aborted: ``timed_out`` with ``late`` as the reason at the deadline, ``invalid`` for a malformed frame,
        and with ``too_large`` as the reason, if given, for a payload above ``max_payload`` bytes.
        """
        while True:
            try:
                if (frame := self._channel.next_frame(max_payload)) is not None:
                    return frame
            except MalformedFrame as error:
                large = isinstance(error, OversizedFrame) and too_large is not None
                raise Aborted("invalid", f"{self.label}: {too_large if large else error}", not large) from error
            if self._channel.closed:
                raise self._unexpected_end()
            self._poll(deadline, late)

    def finish(self, *, deadline: float) -> None:
        """Wait until the process has exited by itself. Raises Aborted at the deadline, or for an exit status but 0.

        A process that has closed the socket has until the deadline to exit, since a busy machine needs seconds to tear
        down an interpreter with torch in it.
        """
        late = f"{self.label}: it did not end in time"
        while not self._channel.closed:
            self._poll(deadline, late)
            self._channel.discard()
        while self._process.poll() is None and not self._is_stopped():
            self._poll(deadline, late)
        if self._wait(0.0) != 0:
            raise self._unexpected_end()

    # ------------------------------------------------------------ supervision

    def _poll(self, deadline: UsageDeadline | float, late: str, writing: bool = False) -> None:
        """Wait once for messages and output, and read them. Checks cancellation, the deadline and resources first."""
        if self._cancelled.is_set():
            raise Aborted("lost", "the search was stopped while it ran")
        now = time.monotonic()
        until = deadline if isinstance(deadline, int | float) else deadline.earliest(now)
        if now >= until:
            raise Aborted("timed_out", late)
        self._check_resources(now)
        ended = self._process.poll() is not None
        listening = self._channel.readable
        poll = select.poll()  # not select.select, which is limited to descriptors below 1,024
        if events := self._channel.events(writing):
            poll.register(self._channel, events)
        if self._output.readable:
            poll.register(self._output, select.POLLIN)
        patience = 0.01 if ended else max(0.0, min(self._next_check, until) - now)
        ready = dict(poll.poll(math.ceil(1000 * patience)))
        self._check_standstill(time.monotonic() - now - patience, until)
        if self._output.fileno() in ready:
            self._output.read()
        if listening and ready.get(self._channel.fileno(), 0) & ~select.POLLOUT:
            self._channel.read()
        elif listening and ended:
            self._channel.closed = True  # a process left behind may hold the socket open; no message can come

    def _check_resources(self, now: float) -> None:
        if now >= self._next_check:
            self._next_check = now + _CHECK_SECONDS
            self._output.allow_more()
            self._monitor.check()

    def _check_standstill(self, seconds: float, deadline: float) -> None:
        """Count a wait that was ``seconds`` too long. Raises Aborted if the deadline passed in a standstill."""
        if seconds < _STANDSTILL_SECONDS:
            return
        self.stalled += seconds
        if time.monotonic() >= deadline:
            raise Aborted(
                "lost",
                f"{self.label}: the search itself did not run for {seconds:.0f} s (it was stopped, or the machine "
                "was), so it is unknown whether the time limit was kept",
            )

    # ------------------------------------------------------------ the end

    def _wait(self, seconds: float) -> int | None:
        """Return the exit status, None if still running; drains output, since a full pipe would block the process."""
        end = time.monotonic() + seconds
        while (status := self._process.poll()) is None and time.monotonic() < end:
            self._output.drain(1, 0.02)
        self._output.drain(64)
        return status

    def _unexpected_end(self) -> Aborted:
        """Explain why the socket was closed."""
        status = self._wait(3.0)
        if self._monitor.was_oom_killed():
            return self._monitor.out_of_memory()
        if status is not None:
            return aborted_by_exit(self.label, status, error_line(self.log), namespaced=self._contained is True)
        if self._is_stopped():
            return Aborted("lost", f"{self.label}: the sandbox was stopped from outside (SIGSTOP)")
        return Aborted("crashed", f"{self.label}: it closed its session without an answer")

    def _is_stopped(self) -> bool:
        """Return whether the sandbox itself is stopped, which no process inside can do."""
        with contextlib.suppress(psutil.Error):
            return self._contained is True and psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED
        return False

    def begin_kill(self) -> None:
        """Send SIGKILL to the first process inside, with which all end: ``kill`` waits until they are gone."""
        if self._contained is True and not self._kill_begun and self._process.poll() is None:
            self._kill_begun = self._monitor.kill_namespace()

    def kill(self) -> None:
        """End all processes of the sandbox and wait until they are gone. May be called twice.

        In a process namespace the inside is killed first: its first process can end only when all others in there are
        dead, and bubblewrap, its parent, exits after it. That exit is a proof, which killing bubblewrap is not. A
        keeper is asked to end with SIGTERM, and exits when no process is left below it.
        """
        if self._killed:
            return
        if self._contained == "keeper" and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.terminate()
                self._process.send_signal(signal.SIGCONT)  # it may have been stopped
                self._process.wait(_KEEPER_SECONDS)
        if not self._kill_namespace():
            self._kill_all()
        if (group := self._monitor.group) is not None:
            group.kill()
            group.remove()
        self._output.drain(64)
        self._output.close()
        self._channel.close()
        self._killed = True

    def _kill_namespace(self) -> bool:
        """Kill the inside of a process namespace, unless it has been. Return whether nothing can be left of it."""
        self.begin_kill()
        if self._kill_begun:
            _await_exit(self._process, _KILL_SECONDS)
        return self._kill_begun and self._process.poll() is not None

    def _kill_all(self) -> None:
        """Kill the process and all descendants, one by one."""
        if self._process.poll() is None:
            inside = self._monitor.processes()[1:]
            if self._contained and inside:
                self._monitor.kill_seen()
                _await_exit(self._process, 0.0 if self._kill_begun else _KILL_SECONDS)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._monitor.kill_seen()  # without a sandbox: processes that have left the tree


def _await_exit(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a process has exited, at most so long. ``Popen.wait`` looks up to 50 ms late."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:  # gone; or a kernel without these descriptors
        descriptor = -1
    if descriptor >= 0:
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * seconds)
        finally:
            os.close(descriptor)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds if descriptor < 0 else 0.05)


def _launch(
    command: Sequence[str],
    environment: Mapping[str, str],
    theirs: socket.socket,
    memory_mb: int,
    groups: MemoryGroups | None,
    fork: Fork | None,
) -> tuple[subprocess.Popen[bytes], IO[bytes], MemoryGroup | None]:
    """Start ``command`` in a new memory group, if ``groups`` is given; return it, its output and its group.

    Raises OSError, and leaves no process and no group then.
    """
    with contextlib.ExitStack() as undo:
        group = groups.create(memory_mb) if groups is not None else None
        if group is not None:
            undo.callback(group.remove)
            undo.callback(group.kill)
        reading, writing = os.pipe()
        output = undo.enter_context(os.fdopen(reading, "rb", 0))
        try:
            process = subprocess.Popen(
                [*_prelude(group), *command],
                stdin=subprocess.DEVNULL if fork is None else fork.theirs.fileno(),
                stdout=writing,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(theirs.fileno(),) if fork is None else (),
                start_new_session=True,
            )
            undo.callback(_end, process)
            if fork is not None:
                fork.begin(theirs, writing, group)
        finally:
            os.close(writing)
            if fork is not None:
                fork.close()
        undo.pop_all()
    return process, output, group


def _end(process: subprocess.Popen[bytes]) -> None:
    """End bubblewrap, with which all in its sandbox end."""
    process.kill()
    process.wait()


def _prelude(group: MemoryGroup | None) -> list[str]:
    """Return the shell command that enters the group and raises the OOM score before it executes the real command.

    So no instruction of the command runs outside of the group, and if the machine runs out of memory, the kernel kills
    the candidate before the search.
    """
    return killed_first() if group is None else group.entered(KILLED_FIRST)
