"""GPU leases, and the memory and load of GPUs as ``nvidia-smi`` reports them.

A slot's device is leased (``Leases``) to one candidate at a time, among all searches of this user. A lease begins when
the device is as empty as before the last candidate. Memory use and load of other processes are measured before each
candidate and recorded (``DeviceLoad``), because they slow a candidate down. Without ``nvidia-smi`` (AMD, Apple) nothing
is measured or checked, and ``gpu_warnings`` says so. During a lease one ``nvidia-smi`` process reports the memory in
use once a second, which takes no time of the candidate's on the device.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from train.hardware.slots import Slot

SLACK_MB = 256.0
"""Allowed growth of the memory in use since before the last candidate; smaller than one process's CUDA context."""
_OCCUPIED_MB = 1000.0  # an idle device uses less: driver and desktop
_EMPTY_SECONDS = 15.0  # for the driver to reclaim an ended process's memory
_ANSWER_SECONDS = 20.0  # nvidia-smi may have to wake the driver
BUSY_THRESHOLD = 0.1
"""Utilisation by other processes from which the user is warned, in [0, 1]."""
_UTILIZATION_SECONDS = 1.2
"""Seconds after which a utilisation, an average over at most the last second, excludes the last candidate."""


class DeviceInUse(Exception):
    """A device is not free for the next candidate; the message says what is in use. The machine's failure."""


@dataclass(frozen=True)
class DeviceLoad:
    """Memory in use and utilisation of a device, all processes together."""

    used_mb: float
    utilization: float | None = None
    """Share of the last second in which a kernel ran, in [0, 1]; None if not reported."""


@dataclass(frozen=True)
class NvidiaSmi:
    """Queries of ``nvidia-smi``."""

    command: str = "nvidia-smi"

    @property
    def available(self) -> bool:
        return shutil.which(self.command) is not None

    def load(self, uuid: str) -> DeviceLoad | None:
        """Return the current load of a device; None if nvidia-smi is missing or does not report it."""
        try:
            done = subprocess.run(
                self._query(uuid),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return _parse_load(done.stdout) if done.returncode == 0 else None

    def stream(self, uuid: str) -> subprocess.Popen[str] | None:
        """Start a process that prints the load every second until it is killed; None if nvidia-smi is missing."""
        try:
            return subprocess.Popen(
                [*self._query(uuid), "--loop-ms=1000"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except OSError:
            return None

    def _query(self, uuid: str) -> list[str]:
        return [
            self.command,
            "--query-gpu=memory.used,utilization.gpu",
            "--format=csv,noheader,nounits",
            f"--id={uuid}",
        ]


class GpuMeter:
    """Measures the peak memory of a device. Use as a context manager."""

    def __init__(self, nvidia: NvidiaSmi, uuid: str) -> None:
        self.peak_mb: float | None = None
        self._process = nvidia.stream(uuid)
        self._thread: threading.Thread | None = None
        if self._process is not None and self._process.stdout is not None:
            self._thread = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
            self._thread.start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            if (load := _parse_load(line)) is not None:
                self.peak_mb = load.used_mb if self.peak_mb is None else max(self.peak_mb, load.used_mb)

    def __enter__(self) -> GpuMeter:
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
    """Exclusive use of a slot by one candidate. ``peak_mb`` is set when the lease ends."""

    before_mb: float | None = None
    """Memory in use on the device before the candidate started."""
    peak_mb: float | None = None
    """Peak memory in use minus ``before_mb``; None without a GPU, or if not measured."""
    others_utilization: float | None = None
    """Utilisation of the device by other processes before the candidate started, in [0, 1]."""

    @property
    def metrics(self) -> dict[str, float]:
        """Use of the device by other processes, for the record; empty if not measured."""
        facts = {"device_others_mb": self.before_mb, "device_others_busy": self.others_utilization}
        return {name: value for name, value in facts.items() if value is not None}


@dataclass
class Leases:
    """Grants leases of slots and devices. Thread-safe; one for all slots of a process."""

    nvidia: NvidiaSmi = field(default_factory=NvidiaSmi)
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    """Folder of the lock files, one per GPU, shared by all searches of this machine."""
    empty_seconds: float = _EMPTY_SECONDS
    _leased: set[str] = field(default_factory=set)
    _idle_mb: dict[str, float] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def lease(self, slot: Slot, cancelled: threading.Event) -> Iterator[Lease]:
        """Lease the slot. Waits while another search of this user runs a candidate on the same device.

        Raises DeviceInUse if the device does not become empty or ``cancelled`` is set while waiting. Raises
        RuntimeError, which is a bug, if this process already leases the slot or device.
        """
        keys = {f"slot {slot.index}", *([f"GPU {slot.uuid}"] if slot.uuid else [])}
        with self._guard:
            if clash := keys & self._leased:
                raise RuntimeError(f"{', '.join(sorted(clash))} is taken: one candidate at a time runs in a slot")
            self._leased |= keys
        try:
            if slot.uuid is None:
                yield Lease()
            else:
                with self._file_lock(slot.uuid, cancelled):
                    yield from self._measured(slot.uuid, cancelled)
        finally:
            with self._guard:
                self._leased -= keys

    def _measured(self, uuid: str, cancelled: threading.Event) -> Iterator[Lease]:
        load = self._wait_until_empty(uuid, cancelled)
        lease = Lease() if load is None else Lease(load.used_mb, None, self._others_utilization(uuid, load, cancelled))
        meter = GpuMeter(self.nvidia, uuid)
        try:
            with meter:
                yield lease
        finally:
            if meter.peak_mb is not None and lease.before_mb is not None:
                lease.peak_mb = max(0.0, meter.peak_mb - lease.before_mb)

    def _wait_until_empty(self, uuid: str, cancelled: threading.Event) -> DeviceLoad | None:
        """Wait until the device is as empty as before the last candidate; return its load then."""
        until = time.monotonic() + self.empty_seconds
        while (load := self.nvidia.load(uuid)) is not None:
            used = load.used_mb
            idle = self._idle_mb.get(uuid, used)
            if used <= idle + SLACK_MB:
                self._idle_mb[uuid] = min(idle, used)
                return load
            if time.monotonic() >= until or cancelled.wait(0.2):
                raise DeviceInUse(
                    f"the GPU {uuid} has {used:,.0f} MB in use, {idle:,.0f} MB before the last candidate, "
                    f"and did not become empty within {self.empty_seconds:g} s; nvidia-smi shows what is on it"
                )
        return None

    def _others_utilization(self, uuid: str, load: DeviceLoad, cancelled: threading.Event) -> float | None:
        """Return the utilisation while no candidate runs; a busy device is measured twice."""
        if load.utilization is None or load.utilization < BUSY_THRESHOLD:
            return load.utilization
        cancelled.wait(_UTILIZATION_SECONDS)
        again = self.nvidia.load(uuid)
        if again is None or again.utilization is None:
            return load.utilization
        return min(load.utilization, again.utilization)

    @contextlib.contextmanager
    def _file_lock(self, uuid: str, cancelled: threading.Event) -> Iterator[None]:
        """Hold the GPU's lock file among this user's searches. Lock files of other users are ignored."""
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


def gpu_warnings(slots: Sequence[Slot], nvidia: NvidiaSmi = NvidiaSmi()) -> list[str]:
    """Return warnings about other processes on the slots' GPUs, one sentence each."""
    gpus = [slot for slot in slots if slot.gpu is not None]
    if not gpus:
        mps = any(slot.device == "mps" for slot in slots)
        return ["memory and load of an mps device are not measured, since macOS does not report them"] if mps else []
    if any(slot.amd for slot in gpus) or not nvidia.available:
        return [
            f"memory and load of the GPU{'s' if len(gpus) > 1 else ''} are not measured, since there is no nvidia-smi "
            "for them: other processes beside a candidate go unnoticed, and peak_device_mb stays empty"
        ]
    found = []
    for slot in gpus:
        load = nvidia.load(slot.uuid) if slot.uuid is not None else None
        if load is not None and ((load.utilization or 0.0) >= BUSY_THRESHOLD or load.used_mb > _OCCUPIED_MB):
            busy = "" if load.utilization is None else f" and keep it {load.utilization:.0%} busy"
            found.append(
                f"other processes have {load.used_mb:,.0f} MB of GPU {slot.gpu} ({slot.uuid}){busy}: candidates beside "
                "them are slowed by a varying amount. Their use before each evaluation is recorded "
                "(metrics device_others_mb, device_others_busy)"
            )
    return found


def _parse_load(text: str) -> DeviceLoad | None:
    """Parse ``4, 17`` (MiB, per cent); the second value may be missing or not a number."""
    used, _, busy = text.partition(",")
    try:
        megabytes = float(used.strip()) * 1.048576
    except ValueError:
        return None
    try:
        return DeviceLoad(megabytes, float(busy.strip()) / 100.0)
    except ValueError:
        return DeviceLoad(megabytes)
