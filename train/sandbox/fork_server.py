"""Fork servers: a process for each slot that has imported the worker's packages and forks the workers of its sandboxes.

A sandbox is made by bubblewrap as always; only the worker inside is not started anew but forked, which takes 10 ms
instead of the one to two seconds in which torch is imported. See ``train.sandbox.confine.forks`` for the other side.
A server never runs a candidate, so what it passes on is the same for all: its memory as it is after the imports.

Servers are used where sandboxes have files of their own and the kernel counts their memory and CPU time, and only if
this process is root. Elsewhere every worker is started anew.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from train.hardware.slots import Slot, pinned
from train.sandbox.base import Bubblewrap, Sandbox
from train.sandbox.cgroup import MemoryGroup, MemoryGroups
from train.sandbox.environment import SandboxCommand
from train.sandbox.stage import new_stage

IMPORT_SECONDS = 120.0
"""For a worker or a server to start and to import its packages, from a cold disk too."""
_FORK_SECONDS = 20.0


class ForkServer:
    """A running fork server. Thread-safe."""

    def __init__(self, command: SandboxCommand, ours: socket.socket, theirs: socket.socket, slot: Slot) -> None:
        """Start it, and return without waiting for it. Takes over both sockets. Raises OSError."""
        self._lock = threading.Lock()
        self._control = ours
        self._ready = False
        try:
            with pinned(slot.cores):
                self._process = subprocess.Popen(
                    command.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,  # not /dev/null: Python takes what its workers inherit for a pipe, too
                    stderr=subprocess.STDOUT,
                    env=command.environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        finally:
            theirs.close()

    def wait(self) -> bool:
        """Wait until it has imported its packages; return False if it has ended."""
        with self._lock, contextlib.suppress(OSError):
            if not self._ready:
                self._control.settimeout(IMPORT_SECONDS)
                self._read(1)
                self._control.settimeout(_FORK_SECONDS)
                self._ready = True
            return self._process.poll() is None
        return False

    def fork(self, passed: Sequence[int]) -> int:
        """Fork a guide with these descriptors, after ``wait``; return its process number. Raises OSError."""
        with self._lock:
            socket.send_fds(self._control, [b"\n"], list(passed))
            return int.from_bytes(self._read(4), sys.byteorder)

    def _read(self, size: int) -> bytes:
        if len(data := self._control.recv(size)) != size:
            raise OSError(f"the fork server has ended: {self._said()}")
        return data

    def _said(self) -> str:
        """Return the end of what it has printed, which is nothing unless it fails."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.communicate(timeout=2.0)[0].decode(errors="replace")[-500:].strip()
        return "it says nothing"

    def close(self) -> None:
        """End it; sandboxes whose workers it has forked go on."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        with self._process:  # closes its output, and waits
            self._process.kill()


class Fork:
    """The fork of one sandbox's worker: the sandbox is launched with ``theirs`` to keep it, then the worker begins."""

    def __init__(self, server: ForkServer, sandbox: Bubblewrap, slot: Slot) -> None:
        self._server, self._sandbox, self._slot = server, sandbox, slot
        self._ours, self.theirs = socket.socketpair()
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # tells the guide which process keeps it

    def wrap(self, stage: Path, scratch_mb: int) -> SandboxCommand:
        """Return the command that makes the sandbox, as ``Sandbox.wrap`` does, and keeps it for the worker."""
        return self._sandbox.hold(stage, self._slot, scratch_mb)

    def begin(self, session: socket.socket, output: int, group: MemoryGroup | None) -> None:
        """Fork the worker, and have it join the sandbox when that is complete. Raises OSError."""
        reading, writing = os.pipe()
        try:
            guide = self._server.fork((session.fileno(), output, self._ours.fileno(), reading))
            if group is not None:
                group.add(guide)  # before it does anything
            os.write(writing, b"\n")
        finally:
            os.close(reading)
            os.close(writing)

    def close(self) -> None:
        """Close what the processes have got."""
        self._ours.close()
        self.theirs.close()


class ForkServers:
    """The fork servers of an evaluator, by slot."""

    def __init__(self, sandbox: Sandbox, groups: MemoryGroups | None, stage_library: Callable[[Path], None]) -> None:
        """``stage_library``: fills a folder as for a sandbox, but for the candidate."""
        self._sandbox = sandbox if isinstance(sandbox, Bubblewrap) and groups is not None else None
        self._stage_library = stage_library
        self._running: dict[int, tuple[ForkServer, tempfile.TemporaryDirectory[str]]] = {}

    def start(self, slot: Slot) -> None:
        """Start the slot's server, and return without waiting for it. Without effect where workers cannot be forked."""
        if self._sandbox is None or not self._sandbox.forks(slot) or slot.index in self._running:
            return
        folder = new_stage(self._sandbox)
        self._stage_library(Path(folder.name))
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = self._sandbox.fork_server(Path(folder.name), theirs.fileno(), slot)
        self._running[slot.index] = ForkServer(command, ours, theirs, slot), folder

    def fork(self, slot: Slot) -> Fork | None:
        """Return a fork by the slot's server, or None if none is running: one that has ended is not replaced."""
        if self._sandbox is None or (running := self._running.get(slot.index)) is None:
            return None
        if running[0].wait():
            return Fork(running[0], self._sandbox, slot)
        self.end(slot)
        return None

    def end(self, slot: Slot) -> None:
        """End the slot's server."""
        if running := self._running.pop(slot.index, None):
            server, folder = running
            server.close()
            folder.cleanup()
