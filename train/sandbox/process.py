"""One sandboxed process, watched by the thread that launched it: its socket, its output, its memory, the clock.

Memory is limited by the kernel where a memory group can be made, and watched from here where not; a group also lists
what is to be killed in the end. Budgets are counted on the monotonic clock, which nobody can set. That clock stands
still while the machine sleeps, as the candidate does. Where the search alone is stopped (SIGSTOP, Ctrl-Z), the
candidate runs on and its time passes: if a deadline lies in such a standstill, nobody can tell whether it was kept,
and the evaluation is ``lost``.

Every way in which it can end early is an ``Aborted`` with the outcome and a reason that a person can act on. The
launching thread must stay in here while the process runs: ``--die-with-parent`` follows the thread.

What the process sends is bounded at this end: bytes that are not taken yet wait in the socket and in the pipe, so a
flood stops its sender and costs us neither memory nor time.
"""

from __future__ import annotations

import array
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
from dataclasses import dataclass

import psutil

from archive.records import Outcome
from prepare.wire import Decoder, Frame, MalformedFrame, OversizedFrame, encode
from train.sandbox import memory
from train.sandbox.cgroup import ENTER, MemoryGroup, MemoryGroups
from train.sandbox.environment import Contained
from train.sandbox.log import TailBuffer, last_line
from train.sandbox.process_tree import descendants

_WATCH_SECONDS = 0.08  # between two looks at memory and cpu
_CHUNK = 1 << 20
_OUTPUT_PER_WATCH = 1 << 20  # bytes of output read between two looks; a program that prints more is held up
_STANDSTILL_SECONDS = 2.0  # without a look, though one was due: this process did not run
_EXPENDABLE = 500  # of 1,000 at most: how readily the kernel ends a process when memory runs out
_KILL_SECONDS = 2.0  # for the processes of a sandbox to be gone, once killed
_KEEPER_SECONDS = 20.0  # for a keeper to end all and to empty the scratch folder


class Aborted(Exception):
    """The process ended, or was ended, before it did what was asked.

    ``violation``: no honest mistake looks like that (see ``archive.records.Failed``).
    """

    def __init__(self, outcome: Outcome, reason: str, violation: bool = False) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.violation = violation


@dataclass
class Usage:
    """What the process tree has used so far."""

    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0


class SandboxProcess:
    """A running sandboxed process. Use as a context manager: on leaving, nothing of it is left running."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        ours: socket.socket,
        theirs: socket.socket,
        *,
        what: str,
        contained: Contained,
        memory_mb: int,
        log_bytes: int,
        cancelled: threading.Event,
        groups: MemoryGroups | None = None,
    ) -> None:
        """Launch ``command``. Owns both sockets from here on. Raises OSError if there is no process to be had.

        ``contained``: what sees to it that nothing outlives the sandbox (see ``surroundings.Contained`` and ``kill``).
        ``groups``: where its memory group is made; None: memory is watched (see ``train.sandbox.memory``).
        """
        self.what = what
        self._contained = contained
        self.usage = Usage()
        self.launched = time.monotonic()
        self._log_bytes = log_bytes
        self._log = TailBuffer(log_bytes)
        self._memory_mb = memory_mb
        self._cancelled = cancelled
        self._socket = ours
        self._socket.setblocking(False)
        self._decoder = Decoder(0)
        self._next_watch = 0.0
        self.stalled = 0.0
        """Seconds in which this process did not run, though it was to look after the cell."""
        self._gone_cpu = 0.0
        self._cpu_by_pid: dict[int, float] = {}
        self._seen: dict[int, psutil.Process] = {}
        self._hung_up = False
        self._output_left = _OUTPUT_PER_WATCH
        self._group: MemoryGroup | None = None
        try:
            self._group = groups.make(memory_mb) if groups is not None else None
            self._process = subprocess.Popen(
                [*_prelude(self._group), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            if self._group is not None:
                self._group.remove()
            raise
        finally:
            theirs.close()
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._output_open = True

    def __enter__(self) -> SandboxProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it printed, cut in the middle. Untrusted."""
        return self._log.text()

    def forget_output(self) -> None:
        """Drop what it has printed so far."""
        self._drain(64)
        self._log = TailBuffer(self._log_bytes)

    # ------------------------------------------------------------ messages

    def send(self, message: dict[str, object], payload: bytes = b"", *, deadline: float, fd: int | None = None) -> None:
        """Send one frame, with a file descriptor if given. Raises Ended at the deadline or if it is gone."""
        data = memoryview(encode(message, payload))
        late = f"{self.what}: it did not take what it was sent within its time"
        while data:
            self._pump(deadline, late, writing=True)
            if self._hung_up:
                raise self._gone()
            try:
                if fd is None:
                    data = data[self._socket.send(data[:_CHUNK]) :]
                else:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
                    data = data[self._socket.sendmsg([data], rights) :]
                    fd = None
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise self._gone() from None

    def receive(self, *, deadline: float, max_payload: int, late: str, too_large: str | None = None) -> Frame:
        """The next frame. Raises Ended: ``timed_out`` at the deadline with ``late`` as the reason, or as it came.

        ``too_large``: the reason, if more than ``max_payload`` bytes are on their way.
        """
        self._decoder.max_payload = max_payload
        while True:
            try:
                if (frame := self._decoder.next()) is not None:
                    return frame
            except MalformedFrame as error:
                large = isinstance(error, OversizedFrame) and too_large is not None
                raise Aborted("invalid", f"{self.what}: {too_large if large else error}", not large) from error
            if self._hung_up:
                raise self._gone()
            self._pump(deadline, late)

    def finish(self, *, deadline: float) -> None:
        """Wait until it has left by itself. Raises Ended if it does not, or left with an error."""
        while not self._hung_up:
            self._pump(deadline, f"{self.what}: it did not end within its time")
            self._decoder = Decoder(0)  # whatever it still says is not read
        if self._wait(2.0) != 0:
            raise self._gone()

    # ------------------------------------------------------------ watching

    def _pump(self, deadline: float, late: str, writing: bool = False) -> None:
        """Wait for one round of readiness; read what is there; look after memory, the clock and a cancellation."""
        if self._cancelled.is_set():
            raise Aborted("lost", "the search was stopped while it ran")
        now = time.monotonic()
        if now >= deadline:
            raise Aborted("timed_out", late)
        self._watch(now)
        ended = self._process.poll() is not None
        listening = not self._hung_up and not self._decoder.full
        door, poll = self._socket.fileno(), select.poll()  # not select.select, which knows only 1,024 descriptors
        if listening or writing:
            poll.register(door, (select.POLLIN if listening else 0) | (select.POLLOUT if writing else 0))
        if self._output_open and self._output_left > 0:
            poll.register(self._output, select.POLLIN)
        patience = 0.01 if ended else max(0.0, min(self._next_watch, deadline) - now)
        ready = dict(poll.poll(math.ceil(1000 * patience)))
        self._stood_still(time.monotonic() - now - patience, deadline)
        if self._output in ready:
            self._read_output()
        if listening and ready.get(door, 0) & ~select.POLLOUT:
            self._read_socket()
        elif listening and ended:
            self._hung_up = True  # a process that it left behind may hold the socket open; nothing more is awaited

    def _stood_still(self, seconds: float, deadline: float) -> None:
        """A wait took so much longer than was asked for. Raises Ended if a deadline has passed in it."""
        if seconds < _STANDSTILL_SECONDS:
            return
        self.stalled += seconds
        if time.monotonic() >= deadline:
            raise Aborted(
                "lost",
                f"{self.what}: the search itself stood still for {seconds:.0f} s (it was stopped, or the machine was), "
                "so nobody can tell whether the time was kept",
            )

    def _read_socket(self) -> None:
        try:
            data = self._socket.recv(_CHUNK)  # plain recv: the kernel drops descriptors that are sent along
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if data:
            self._decoder.feed(data)
        else:
            self._hung_up = True

    def _read_output(self) -> None:
        try:
            data = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return
        self._output_left -= len(data)
        if data:
            self._log.feed(data)
        else:
            self._output_open = False

    def _watch(self, now: float) -> None:
        if now < self._next_watch:
            return
        self._next_watch = now + _WATCH_SECONDS
        self._output_left = _OUTPUT_PER_WATCH
        processes = self._processes()
        self._count_cpu(processes)
        if self._group is not None and self._group.kills():
            raise self._out_of_memory(float(self._memory_mb))
        held = (self._group.held() if self._group is not None else self._seen_memory(processes)) / 1e6
        self.usage.peak_memory_mb = max(self.usage.peak_memory_mb, held)
        if held > self._memory_mb:
            raise self._out_of_memory(held)

    def _out_of_memory(self, held_mb: float) -> Aborted:
        if self._group is not None and self._group.kills() and not self._group.was_full():
            return Aborted(
                "out_of_memory",
                f"{self.what}: the whole machine ran out of memory, and the kernel ended it; it had used "
                f"{self.usage.peak_memory_mb:,.0f} MB, and {self._memory_mb:,} MB are allowed",
            )
        self.usage.peak_memory_mb = max(self.usage.peak_memory_mb, held_mb)
        return Aborted(
            "out_of_memory",
            f"{self.what}: it used {held_mb:,.0f} MB of memory, all processes, shared memory and scratch files "
            f"together; {self._memory_mb:,} MB are allowed",
        )

    def _count_cpu(self, processes: Sequence[psutil.Process]) -> None:
        seen = dict[int, float]()
        for process in processes:
            with contextlib.suppress(psutil.Error):  # it may end between the listing and the look
                times = process.cpu_times()
                seen[process.pid] = times.user + times.system
        self._gone_cpu += sum(cpu for pid, cpu in self._cpu_by_pid.items() if pid not in seen)
        self._cpu_by_pid = seen
        self.usage.cpu_seconds = self._gone_cpu + sum(seen.values())

    def _seen_memory(self, processes: Sequence[psutil.Process]) -> float:
        """Bytes that the processes hold, as far as can be seen. Shared pages are told apart only when it matters."""
        in_files = memory.files(processes)
        held = float(in_files)
        for process in processes:
            with contextlib.suppress(psutil.Error):
                held += memory.resident(process)
        if held / 1e6 > self._memory_mb:
            held = min(held, memory.shared_once(processes, in_files))
        return held

    def _processes(self) -> list[psutil.Process]:
        """The launched process and all that descend from it; they are remembered, to be killed in the end."""
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self._process.pid)
            found = [parent, *descendants(parent)]
            self._seen.update((process.pid, process) for process in found[1:])
            return found
        return []

    # ------------------------------------------------------------ the end

    def _wait(self, seconds: float) -> int | None:
        """The exit status once it has ended; output is drained meanwhile, so that a full pipe cannot hold it."""
        end = time.monotonic() + seconds
        while (status := self._process.poll()) is None and time.monotonic() < end:
            self._drain(1, patience=0.02)
        self._drain(64)
        return status

    def _drain(self, reads: int, patience: float = 0.0) -> None:
        """Read what it printed, ``reads`` times at most: what it left behind may print for ever."""
        for _ in range(reads):
            if not self._output_open:
                time.sleep(patience)
                return
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            if not poll.poll(1000 * patience):
                return
            self._read_output()

    def _gone(self) -> Aborted:
        """Why it hung up: told from the exit status and the last line that it printed."""
        status = self._wait(3.0)
        last = last_line(self.log)
        if self._group is not None and self._group.kills():
            return self._out_of_memory(float(self._memory_mb))
        if status is None:
            if self._stopped():
                return Aborted("lost", f"{self.what}: somebody has stopped the sandbox (SIGSTOP)")
            return Aborted("crashed", f"{self.what}: it closed its session without an answer")
        if status < 0 and self._contained is True:  # what it does to itself comes as a positive status from in there
            return Aborted("lost", f"{self.what}: the sandbox was ended from outside, by {_signal_name(-status)}")
        if _speaks_of_memory(last):
            return Aborted("out_of_memory", f"{self.what}: {last}")
        if status < 0 or status > 128:
            signalled = _signal_name(-status if status < 0 else status - 128)
            return Aborted("crashed", f"{self.what}: it was ended by {signalled}")
        if status == 0:
            return Aborted("crashed", f"{self.what}: it left before it had answered (exit status 0)")
        return Aborted("crashed", f"{self.what}: {last}" if last else f"{self.what}: exit status {status}")

    def _stopped(self) -> bool:
        """Whether the sandbox itself stands still. Nobody in it can do that."""
        with contextlib.suppress(psutil.Error):
            return self._contained is True and psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED
        return False

    def kill(self) -> None:
        """End everything that runs in it, and wait until it is gone. May be called twice.

        Of a sandbox the inside comes first: its first process can only end when all others in there are dead, and
        bubblewrap, its parent, ends by itself after it. So that end is a proof, which killing bubblewrap would not be.
        A keeper is asked, and ends when nothing is left below it.
        """
        if self._contained == "keeper" and self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.terminate()
                self._process.send_signal(signal.SIGCONT)  # it may have been stopped
                self._process.wait(_KEEPER_SECONDS)
        if self._process.poll() is None:
            inside = self._processes()[1:]
            if self._contained and inside:
                self._kill_seen()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_KILL_SECONDS)
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
        self._kill_seen()  # without a sandbox: what has left the process tree
        if self._group is not None:
            self._group.kill()
            self._group.remove()
        self._drain(64)
        if self._process.stdout is not None:
            self._process.stdout.close()
            self._output_open = False
        self._socket.close()

    def _kill_seen(self) -> None:
        for process in self._seen.values():
            with contextlib.suppress(psutil.Error):  # gone; or, in a sandbox made as root, not ours to signal
                process.kill()  # psutil makes sure that the number has not passed to another process


def _prelude(group: MemoryGroup | None) -> list[str]:
    """What comes before the command, so that nothing of it ever runs without.

    It is in its group; and should the whole machine run out of memory, the kernel picks it before the search.
    """
    first = f"{{ echo {_EXPENDABLE} >/proc/self/oom_score_adj; }} 2>/dev/null; "  # not every system has it
    if group is None:
        return ["/bin/sh", "-c", first + 'exec "$@"', "launch"]
    return ["/bin/sh", "-c", first + ENTER, str(group.door)]


def _signal_name(number: int) -> str:
    """The signal, with what it usually means to the author of a program."""
    hints = {
        signal.SIGKILL: " (perhaps by the system, for want of memory)",
        signal.SIGSEGV: " (perhaps it wrote to the training data, which is read-only: clone what you change)",
        signal.SIGBUS: " (perhaps its scratch space in /tmp or /dev/shm is full)",
    }
    known = {int(each): each for each in signal.Signals}
    if (name := known.get(number)) is None:
        return f"signal {number}"
    return name.name + hints.get(name, "")


def _speaks_of_memory(line: str) -> bool:
    return line.startswith(("MemoryError", "torch.OutOfMemoryError")) or "can't allocate memory" in line
