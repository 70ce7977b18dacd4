"""GPUs as the driver knows them: which device file is whose, how much of its memory is in use, and whose turn it is.

A slot's device is leased: one candidate at a time runs on it, in this process and in all others of this user
(``Leases``), and it must be as empty as before the last candidate when the next one comes. Memory in use is read with
``nvidia-smi``; where there is none, nothing is measured and nothing is verified. During a lease one ``nvidia-smi``
prints the memory in use once a second; that takes none of the candidate's time on the device.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from train.slots import Slot

SLACK_MB = 256.0
"""Memory in use may be that much above what it was before the last candidate: less than the context of one process."""
_EMPTY_SECONDS = 15.0  # for the driver to take back what an ended process had
_ANSWER_SECONDS = 20.0  # nvidia-smi wakes a sleeping driver


class DeviceInUse(Exception):
    """A device is not free for the next candidate; the message says what is on it. The machine's failure."""


@dataclass(frozen=True)
class Nvidia:
    """``nvidia-smi``, and the few questions that are asked of it."""

    command: str = "nvidia-smi"

    def used_mb(self, uuid: str) -> float | None:
        """Memory in use on a device, all processes together; None if nvidia-smi is missing or does not say."""
        try:
            done = subprocess.run(
                self._ask(uuid),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return _megabytes(done.stdout) if done.returncode == 0 else None

    def watch(self, uuid: str) -> subprocess.Popen[str] | None:
        """One that prints the memory in use every second, until it is ended or nobody reads; None if it is missing."""
        try:
            return subprocess.Popen(
                [*self._ask(uuid), "--loop-ms=1000"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            return None

    def _ask(self, uuid: str) -> list[str]:
        return [self.command, "--query-gpu=memory.used", "--format=csv,noheader,nounits", f"--id={uuid}"]


class Meter:
    """The peak of a device's memory while it runs. Use as a context manager."""

    def __init__(self, nvidia: Nvidia, uuid: str) -> None:
        self.peak_mb: float | None = None
        self._process = nvidia.watch(uuid)
        self._thread: threading.Thread | None = None
        if self._process is not None and self._process.stdout is not None:
            self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._thread.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            if (used := _megabytes(line)) is not None:
                self.peak_mb = used if self.peak_mb is None else max(self.peak_mb, used)

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._thread is not None:
            self._thread.join()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


@dataclass
class Lease:
    """A slot that one candidate has for itself. ``peak_mb`` is known when the lease is over."""

    before_mb: float | None = None
    """In use on the device before the candidate came."""
    peak_mb: float | None = None
    """The most that was in use on the device beyond that; None without a GPU, or where it cannot be told."""


@dataclass
class Leases:
    """Who may use which slot and device. Thread-safe; one for all slots of a process."""

    nvidia: Nvidia = field(default_factory=Nvidia)
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Where searches of this machine meet: a lock file for each GPU."""
    patience: float = _EMPTY_SECONDS
    _taken: set[str] = field(default_factory=set)
    _floor: dict[str, float] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def lease(self, slot: Slot, cancelled: threading.Event) -> Iterator[Lease]:
        """Have the slot alone. Waits while another search's candidate is on its device.

        Raises DeviceInUse if the device does not become empty, or if ``cancelled`` is set before it was free;
        RuntimeError if the slot or its device is leased in this process already, which is a mistake of ours.
        """
        keys = {f"slot {slot.index}", *([f"GPU {slot.uuid}"] if slot.uuid else [])}
        with self._guard:
            if clash := keys & self._taken:
                raise RuntimeError(f"{', '.join(sorted(clash))} is taken: one candidate at a time runs in a slot")
            self._taken |= keys
        try:
            if slot.uuid is None:
                yield Lease()
            else:
                with self._alone(slot.uuid, cancelled):
                    yield from self._measured(slot.uuid, cancelled)
        finally:
            with self._guard:
                self._taken -= keys

    def _measured(self, uuid: str, cancelled: threading.Event) -> Iterator[Lease]:
        lease = Lease(self._emptied(uuid, cancelled))
        meter = Meter(self.nvidia, uuid)
        try:
            with meter:
                yield lease
        finally:
            if meter.peak_mb is not None and lease.before_mb is not None:
                lease.peak_mb = max(0.0, meter.peak_mb - lease.before_mb)

    def _emptied(self, uuid: str, cancelled: threading.Event) -> float | None:
        """Wait until the device is as empty as it was before; memory in use then (MB)."""
        until = time.monotonic() + self.patience
        while (used := self.nvidia.used_mb(uuid)) is not None:
            floor = self._floor.get(uuid, used)
            if used <= floor + SLACK_MB:
                self._floor[uuid] = min(floor, used)
                return used
            if time.monotonic() >= until or cancelled.wait(0.2):
                raise DeviceInUse(
                    f"the GPU {uuid} has {used:,.0f} MB in use, where {floor:,.0f} MB were before the last candidate, "
                    f"and did not become empty within {self.patience:g} s; nvidia-smi shows what is on it"
                )
        return None

    @contextlib.contextmanager
    def _alone(self, uuid: str, cancelled: threading.Event) -> Iterator[None]:
        """Wait for our turn among the searches of this machine. Another user's cannot be waited for."""
        path = self.folder / f"treewright-{uuid}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            yield
            return
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if cancelled.wait(0.2):
                        raise DeviceInUse(
                            f"the search was stopped while another one was using the GPU {uuid}"
                        ) from None
            yield
        finally:
            os.close(descriptor)


def _megabytes(text: str) -> float | None:
    try:
        return float(text.strip()) * 1.048576  # it prints mebibytes
    except ValueError:
        return None
