"""A slot is where one candidate at a time may run: a device, the cores that go with it, its thread count.

torch chooses the device: ``cuda`` where it finds GPUs (it calls AMD's so, too), else ``mps`` on a Mac, else ``cpu``.
What a platform does not tell (a GPU's UUID, its device file, cores that a process may be kept on) is None or empty, and
whoever uses it does without.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from prepare.presets import has_device_files


@dataclass(frozen=True)
class Slot:
    """One evaluation at a time runs here."""

    index: int
    device: str
    """``cpu``, ``cuda`` or ``mps``: what the candidate sees; the number of the GPU is ``gpu``."""
    gpu: int | None
    """torch's number for it in this process; None without one that has a number."""
    cores: tuple[int, ...]
    threads: int
    uuid: str | None = None
    """The GPU's name for itself: no other numbering of the same device goes by it."""
    minor: int | None = None
    """The number of the GPU's file: N of ``/dev/nvidiaN``; of ``/dev/dri/renderDN`` on AMD's."""
    visible: str | None = None
    """What the environment of this process calls the GPU, where it names some of several (CUDA_VISIBLE_DEVICES)."""
    amd: bool = False
    """Whether torch was built for AMD's GPUs (ROCm)."""

    @property
    def name(self) -> str:
        """What a process of its own is to call the GPU: torch's number counts what is visible here, not there."""
        return self.uuid or self.visible or str(self.gpu)

    @property
    def file_number(self) -> int | None:
        """Of the GPU's device file, as well as it is known."""
        if self.minor is not None:
            return self.minor
        return int(self.visible) if self.visible is not None and self.visible.isdigit() else self.gpu


def make_slots(count: int | None, threads: int | None = None) -> tuple[Slot, ...]:
    """One slot per visible GPU; without a GPU one slot per core, each with one thread.

    One thread a slot is quieter and gives twice the throughput of two threads on a small model (measured).
    ``count`` overrides the number; slots of a CPU then share cores in turn (see ``sharing``).
    Raises ValueError for less than 1, and for more than there are GPUs.
    """
    for name, value in (("slots", count), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(
                f"executor.{name} is {value!r}; expected a whole number, or null to let the machine decide"
            )
        if value is not None and value < 1:
            raise ValueError(
                f"executor.{name} is {value}; expected a positive number, or null to let the machine decide"
            )
    cores = usable_cores()
    gpus = visible_gpus()
    if gpus:
        count = count or len(gpus)
        _refuse_more(count, len(gpus), f"torch sees {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}")
        share = max(1, len(cores) // count)
        return tuple(gpu_slot(i, gpus[i], _share(cores, i, share), threads or share) for i in range(count))
    if has_mps():
        _refuse_more(count or 1, 1, "there is one GPU (mps)")
        return (Slot(index=0, device="mps", gpu=None, cores=(), threads=threads or len(cores)),)
    threads = threads or 1
    count = count or max(1, len(cores) // threads)
    return tuple(
        Slot(index=i, device="cpu", gpu=None, cores=_share(cores, i, threads), threads=threads) for i in range(count)
    )


def _refuse_more(count: int, devices: int, told: str) -> None:
    if count > devices:
        raise ValueError(
            f"executor.slots is {count}, and {told}: one candidate at a time runs on a device, since two would slow "
            "each other by chance. Leave executor.slots out"
        )


def gpu_slot(index: int, gpu: int, cores: tuple[int, ...], threads: int) -> Slot:
    """The slot of torch's GPU of that number."""
    amd, shown = is_amd(), _shown()
    uuid, minor = (None, None) if amd else gpu_identity(gpu)
    visible = shown[gpu] if gpu < len(shown) else None
    return Slot(index, "cuda", gpu, cores, threads, uuid, minor, visible, amd)


def _shown() -> list[str]:
    """The GPUs that the environment names, in torch's order; empty where it names none, and all are visible."""
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if listed := os.environ.get(name):
            return [each.strip() for each in listed.split(",")]
    return []


def refuse_unlike(slots: Sequence[Slot]) -> None:
    """Raises ValueError for GPUs of several kinds: scores made on one are never compared with those of another."""
    kinds: dict[str, list[int]] = {}
    for slot in slots:
        if slot.gpu is not None:
            kinds.setdefault(hardware_tag(slot), []).append(slot.gpu)
    if len(kinds) > 1:
        told = "; ".join(f"{tag}: GPU {', '.join(map(str, gpus))}" for tag, gpus in kinds.items())
        shown = _shown()
        most = max(kinds.values(), key=len)
        names = ",".join(shown[gpu] if gpu < len(shown) else str(gpu) for gpu in most)
        raise ValueError(
            f"this machine has GPUs of different kinds ({told}), and scores of different hardware are not compared. "
            f"Choose those of one kind with CUDA_VISIBLE_DEVICES={names}"
        )


def sharing(slots: Sequence[Slot]) -> str | None:
    """What to tell a person of slots that have cores in common, or None. Only asked-for slots do."""
    slots_of = Counter(core for slot in slots for core in slot.cores)
    if not (shared := sorted(core for core, count in slots_of.items() if count > 1)):
        return None
    names = f"core{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
    return (
        f"{len(slots)} slots share {names}: their candidates slow each other, by a different amount each time, and "
        f"scores are as noisy as that. executor.slots={max(1, len(slots_of) // slots[0].threads)} would not"
    )


def usable_cores(groups: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Numbers of the cores that this process may use: by its affinity, and no more than a container's quota pays for.

    A container with a quota of 2 cores on a machine of 64 sees all 64; 64 slots would all be slow, and noisy.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    try:
        quota, period = (groups / "cpu.max").read_text().split()
        allowed = math.floor(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
    return cores[: max(1, allowed)]


def _share(cores: list[int], index: int, size: int) -> tuple[int, ...]:
    begin = index * size % len(cores)
    return tuple(sorted({cores[(begin + k) % len(cores)] for k in range(min(size, len(cores)))}))


def device_kind() -> str:
    """``cuda``, ``mps`` or ``cpu``: what candidates run on here."""
    if visible_gpus():
        return "cuda"
    return "mps" if has_mps() else "cpu"


def visible_gpus(devices: Path = Path("/dev")) -> tuple[int, ...]:
    """Numbers of the GPUs that torch sees, NVIDIA's or AMD's; empty on a machine without one."""
    if not has_device_files(devices):
        return ()  # importing torch to hear the same takes a second and a half
    import torch

    return tuple(range(torch.cuda.device_count())) if torch.cuda.is_available() else ()


def has_mps() -> bool:
    """Whether torch can use the GPU of this Mac."""
    if sys.platform != "darwin":
        return False
    import torch

    return bool(torch.backends.mps.is_available())


def is_amd() -> bool:
    """Whether torch was built for AMD's GPUs."""
    import torch

    return torch.version.hip is not None


def gpu_identity(gpu: int) -> tuple[str | None, int | None]:
    """UUID and device file number of torch's GPU of that number; None for what cannot be told."""
    import torch

    if (found := getattr(torch.cuda.get_device_properties(gpu), "uuid", None)) is None:
        return None, None
    uuid = f"GPU-{found}"
    minor = minor_of(uuid)
    # A part of a GPU (MIG) has a name that the driver does not list; it is left to CUDA's own numbering.
    return (uuid, minor) if minor is not None else (None, None)


def minor_of(uuid: str, folder: Path = Path("/proc/driver/nvidia/gpus")) -> int | None:
    """The number in ``/dev/nvidiaN`` of a device, which is not torch's number for it; None if the driver hides it."""
    for information in sorted(folder.glob("*/information")):
        with contextlib.suppress(OSError, ValueError):
            facts = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
            known = {name.strip(): value.strip() for name, value in facts.items()}
            if known.get("GPU UUID") == uuid:
                return int(known["Device Minor"])
    return None


def driver_version(file: Path = Path("/sys/module/nvidia/version")) -> str:
    """The version of the GPU's driver; ``unknown`` where the kernel does not say."""
    try:
        return file.read_text().strip()
    except OSError:
        return "unknown"


def hardware_tag(slot: Slot) -> str:
    """Device, count or threads, driver and torch: scores of different tags are never compared."""
    release = version("torch").split("+")[0]
    if slot.device == "mps":
        return f"{_cpu_name()} mps x1 / {platform.platform(terse=True)} / torch {release}"
    if slot.gpu is None:
        return f"{_cpu_name()} x{slot.threads} thread{'s' if slot.threads > 1 else ''} / torch {release}"
    import torch

    name = torch.cuda.get_device_name(slot.gpu)
    if slot.amd:
        return f"{name} x1 / rocm {torch.version.hip} / torch {release}"
    return f"{name} x1 / driver {driver_version()} / cuda {torch.version.cuda} / torch {release}"


def _cpu_name() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()
