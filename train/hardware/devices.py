"""GPUs as the driver knows them: which device file is whose, how much of its memory is in use, and whose turn it is.

A slot's device is leased: one candidate at a time runs on it, in this process and in all others of this user
(``Leases``), and it must be as empty as before the last candidate when the next one comes. What other processes leave
of the device is looked at before each candidate and becomes part of the record (``Load``): a training beside somebody
else's is slower. It is read with ``nvidia-smi``; where there is none (AMD's GPUs, a Mac's), nothing is measured and
nothing is verified, and ``neighbours`` says so. During a lease one ``nvidia-smi`` prints the memory in use once a
second; that takes none of the candidate's time on the device.
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
"""Memory in use may be that much above what it was before the last candidate: less than the context of one process."""
_OCCUPIED_MB = 1000.0  # an idle device has less: what the driver and a desktop need
_EMPTY_SECONDS = 15.0  # for the driver to take back what an ended process had
_ANSWER_SECONDS = 20.0  # nvidia-smi wakes a sleeping driver
BUSY = 0.1
"""Share of the time in which somebody else's kernels ran, from which a person is told of it."""
_SAMPLE_SECONDS = 1.2
"""A utilisation is that of the last second at most: after so long it is no more the last candidate's."""


class DeviceInUse(Exception):
    """A device is not free for the next candidate; the message says what is on it. The machine's failure."""


@dataclass(frozen=True)
class Load:
    """What is on a device, all processes together."""

    used_mb: float
    busy: float | None = None
    """Share of the last second in which a kernel ran, in [0, 1]; None where it is not told."""


@dataclass(frozen=True)
class Nvidia:
    """``nvidia-smi``, and the few questions that are asked of it."""

    command: str = "nvidia-smi"

    @property
    def there(self) -> bool:
        return shutil.which(self.command) is not None

    def load(self, uuid: str) -> Load | None:
        """What is on a device now; None if nvidia-smi is missing or does not say."""
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
        return _load(done.stdout) if done.returncode == 0 else None

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
        return [
            self.command,
            "--query-gpu=memory.used,utilization.gpu",
            "--format=csv,noheader,nounits",
            f"--id={uuid}",
        ]


class GpuMeter:
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
            if (load := _load(line)) is not None:
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
    """A slot that one candidate has for itself. ``peak_mb`` is known when the lease is over."""

    before_mb: float | None = None
    """In use on the device before the candidate came."""
    peak_mb: float | None = None
    """The most that was in use on the device beyond that; None without a GPU, or where it cannot be told."""
    others_busy: float | None = None
    """Share of the time in which other processes computed on the device before the candidate came, in [0, 1]."""

    @property
    def metrics(self) -> dict[str, float]:
        """What others had of the device, for the record; empty where it is not known."""
        facts = {"device_others_mb": self.before_mb, "device_others_busy": self.others_busy}
        return {name: value for name, value in facts.items() if value is not None}


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
        load = self._emptied(uuid, cancelled)
        lease = Lease() if load is None else Lease(load.used_mb, None, self._others_busy(uuid, load, cancelled))
        meter = GpuMeter(self.nvidia, uuid)
        try:
            with meter:
                yield lease
        finally:
            if meter.peak_mb is not None and lease.before_mb is not None:
                lease.peak_mb = max(0.0, meter.peak_mb - lease.before_mb)

    def _emptied(self, uuid: str, cancelled: threading.Event) -> Load | None:
        """Wait until the device is as empty as it was before; what is on it then."""
        until = time.monotonic() + self.patience
        while (load := self.nvidia.load(uuid)) is not None:
            used = load.used_mb
            floor = self._floor.get(uuid, used)
            if used <= floor + SLACK_MB:
                self._floor[uuid] = min(floor, used)
                return load
            if time.monotonic() >= until or cancelled.wait(0.2):
                raise DeviceInUse(
                    f"the GPU {uuid} has {used:,.0f} MB in use, where {floor:,.0f} MB were before the last candidate, "
                    f"and did not become empty within {self.patience:g} s; nvidia-smi shows what is on it"
                )
        return None

    def _others_busy(self, uuid: str, load: Load, cancelled: threading.Event) -> float | None:
        """How busy the device is while no candidate of ours is on it: one that looks busy is looked at twice."""
        if load.busy is None or load.busy < BUSY:
            return load.busy
        cancelled.wait(_SAMPLE_SECONDS)
        again = self.nvidia.load(uuid)
        return load.busy if again is None or again.busy is None else min(load.busy, again.busy)

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


def neighbours(slots: Sequence[Slot], nvidia: Nvidia = Nvidia()) -> list[str]:
    """What to tell a person, before a search begins, of other processes on its GPUs; a sentence each."""
    gpus = [slot for slot in slots if slot.gpu is not None]
    if not gpus:
        mps = any(slot.device == "mps" for slot in slots)
        return ["the memory and the load of an mps device are not measured: nothing tells them"] if mps else []
    if any(slot.amd for slot in gpus) or not nvidia.there:
        return [
            f"memory and load of the GPU{'s' if len(gpus) > 1 else ''} are not measured, since there is no nvidia-smi "
            "for them: whether others compute beside a candidate is not noticed, and peak_device_mb stays empty"
        ]
    found = []
    for slot in gpus:
        load = nvidia.load(slot.uuid) if slot.uuid is not None else None
        if load is not None and ((load.busy or 0.0) >= BUSY or load.used_mb > _OCCUPIED_MB):
            busy = "" if load.busy is None else f" and keep it {load.busy:.0%} busy"
            found.append(
                f"other processes have {load.used_mb:,.0f} MB of GPU {slot.gpu} ({slot.uuid}){busy}: candidates beside "
                "them are slower, by a different amount each time. What was there before each training is recorded "
                "(metrics device_others_mb, device_others_busy)"
            )
    return found


def _load(text: str) -> Load | None:
    """``4, 17``: mebibytes and per cent; the second may be missing or in words."""
    used, _, busy = text.partition(",")
    try:
        megabytes = float(used.strip()) * 1.048576
    except ValueError:
        return None
    try:
        return Load(megabytes, float(busy.strip()) / 100.0)
    except ValueError:
        return Load(megabytes)
