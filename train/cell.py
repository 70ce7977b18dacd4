"""One sandboxed process, watched by the thread that launched it: its socket, its output, its memory, the clock.

Every way in which it can end early is an ``Ended`` with the outcome and a reason that a person can act on. The
launching thread must stay in here while the process runs: ``--die-with-parent`` follows the thread.
"""

from __future__ import annotations

import array
import contextlib
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
from prepare.wire import Decoder, Frame, MalformedFrame, encode

_WATCH_SECONDS = 0.08  # between two looks at memory and cpu
_CHUNK = 1 << 20


class Ended(Exception):
    """The process ended, or was ended, before it did what was asked."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason


@dataclass
class Usage:
    """What the process tree has used so far."""

    peak_memory_mb: float = 0.0
    cpu_seconds: float = 0.0


class TailBuffer:
    """Keeps the first quarter and the last three quarters of ``limit`` bytes of output; the middle is dropped."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 4
        self._tail_limit = limit - limit // 4
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[max(0, room) :]
        if (excess := len(self._tail) - self._tail_limit) > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return f"{head}\n... {self._dropped:,} bytes left out ...\n{tail}" if self._dropped else head + tail


class Cell:
    """A running sandboxed process. Use as a context manager: on leaving, nothing of it is left running."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        ours: socket.socket,
        theirs: socket.socket,
        *,
        what: str,
        memory_mb: int,
        log_bytes: int,
        cancelled: threading.Event,
    ) -> None:
        self.what = what
        self.usage = Usage()
        self._log = TailBuffer(log_bytes)
        self._memory_mb = memory_mb
        self._cancelled = cancelled
        self._socket = ours
        self._socket.setblocking(False)
        self._decoder = Decoder(0)
        self._next_watch = 0.0
        self._gone_cpu = 0.0
        self._cpu_by_pid: dict[int, float] = {}
        self._hung_up = False
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._output_open = True

    def __enter__(self) -> Cell:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What it printed, cut in the middle. Untrusted."""
        return self._log.text()

    # ------------------------------------------------------------ messages

    def send(self, message: dict[str, object], payload: bytes = b"", *, deadline: float, fd: int | None = None) -> None:
        """Send one frame, with a file descriptor if given. Raises Ended at the deadline or if it is gone."""
        data = memoryview(encode(message, payload))
        while data:
            self._pump(deadline, f"it did not take what it was sent within its time ({self.what})", writing=True)
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

    def receive(self, *, deadline: float, max_payload: int, late: str) -> Frame:
        """The next frame. Raises Ended: ``timed_out`` at the deadline with ``late`` as the reason, or as it came."""
        self._decoder.max_payload = max_payload
        while True:
            try:
                if (frame := self._decoder.next()) is not None:
                    return frame
            except MalformedFrame as error:
                raise Ended("invalid", f"{self.what}: {error}") from error
            if self._hung_up:
                raise self._gone()
            self._pump(deadline, late)

    def finish(self, *, deadline: float) -> None:
        """Wait until it has left by itself. Raises Ended if it does not, or left with an error."""
        while not self._hung_up:
            self._pump(deadline, f"it did not end within its time ({self.what})")
            self._decoder = Decoder(0)  # whatever it still says is not read
        if self._wait(2.0) != 0:
            raise self._gone()

    # ------------------------------------------------------------ watching

    def _pump(self, deadline: float, late: str, writing: bool = False) -> None:
        """Wait for one round of readiness; read what is there; look after memory, the clock and a cancellation."""
        if self._cancelled.is_set():
            raise Ended("lost", "the search was stopped while it ran")
        now = time.monotonic()
        if now >= deadline:
            raise Ended("timed_out", late)
        self._watch(now)
        door = self._socket.fileno()
        sources = [*([] if self._hung_up else [door]), *([self._output] if self._output_open else [])]
        patience = max(0.0, min(_WATCH_SECONDS, deadline - now))
        ready, _, _ = select.select(sources, [door] if writing else [], [], patience)
        if self._output in ready:
            self._read_output()
        if door in ready:
            try:
                data = self._socket.recv(_CHUNK)
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
        if data:
            self._log.feed(data)
        else:
            self._output_open = False

    def _watch(self, now: float) -> None:
        if now < self._next_watch:
            return
        self._next_watch = now + _WATCH_SECONDS
        resident, seen = 0, dict[int, float]()
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(self._process.pid)
            for process in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # it may end between the listing and the look
                    resident += process.memory_info().rss
                    times = process.cpu_times()
                    seen[process.pid] = times.user + times.system
        self._gone_cpu += sum(cpu for pid, cpu in self._cpu_by_pid.items() if pid not in seen)
        self._cpu_by_pid = seen
        self.usage.cpu_seconds = self._gone_cpu + sum(seen.values())
        self.usage.peak_memory_mb = max(self.usage.peak_memory_mb, resident / 1e6)
        if resident / 1e6 > self._memory_mb:
            raise Ended(
                "out_of_memory",
                f"{self.what}: it used {resident / 1e6:,.0f} MB of memory, all processes together; "
                f"{self._memory_mb:,} MB are allowed",
            )

    # ------------------------------------------------------------ the end

    def _wait(self, seconds: float) -> int | None:
        """The exit status once it has ended; output is drained meanwhile, so that a full pipe cannot hold it."""
        end = time.monotonic() + seconds
        while (status := self._process.poll()) is None and time.monotonic() < end:
            if self._output_open and select.select([self._output], [], [], 0.02)[0]:
                self._read_output()
            elif not self._output_open:
                time.sleep(0.01)
        while self._output_open and select.select([self._output], [], [], 0)[0]:
            self._read_output()
        return status

    def _gone(self) -> Ended:
        """Why it hung up: told from the exit status and the last line that it printed."""
        status = self._wait(3.0)
        last = last_line(self.log)
        if status is None:
            return Ended("crashed", f"{self.what}: it closed its session without an answer")
        if _speaks_of_memory(last):
            return Ended("out_of_memory", f"{self.what}: {last}")
        if last.startswith(("bwrap:", "setpriv:")):
            return Ended("lost", f"the sandbox could not be made: {last}")
        if status < 0 or status > 128:
            number = -status if status < 0 else status - 128
            name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
            hint = " (perhaps by the system, for want of memory)" if number == signal.SIGKILL else ""
            return Ended("crashed", f"{self.what}: it was ended by {name}{hint}")
        if status == 0:
            return Ended("crashed", f"{self.what}: it left before it had answered (exit status 0)")
        return Ended("crashed", f"{self.what}: {last}" if last else f"{self.what}: exit status {status}")

    def kill(self) -> None:
        """End the whole process group, and with it the sandbox's process namespace; wait for it."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.wait()
        while self._output_open and select.select([self._output], [], [], 0)[0]:
            self._read_output()
        if self._process.stdout is not None:
            self._process.stdout.close()
            self._output_open = False
        self._socket.close()


def last_line(log: str) -> str:
    """The last line with something in it: of a Python traceback, the error itself. Without control characters."""
    for line in reversed(log.splitlines()):
        if cleaned := "".join(c for c in line if c.isprintable()).strip():
            return cleaned[:300]
    return ""


def _speaks_of_memory(line: str) -> bool:
    return line.startswith(("MemoryError", "torch.OutOfMemoryError")) or "can't allocate memory" in line
