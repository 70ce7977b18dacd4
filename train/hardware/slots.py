"""Slots: where one candidate at a time runs, with a device, its own cores, and a thread count.

The device is what torch finds: ``cuda`` with GPUs (AMD's included), else ``mps`` on a Mac, else ``cpu``. Facts that a
platform does not tell (a GPU's UUID, its device file, cores that a process can be pinned to) are None or empty.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prepare.output import many
from prepare.presets import has_device_files

_MOST = 1024
"""Slots of a machine, or threads of a slot, at most."""


@dataclass(frozen=True)
class Slot:
    """A device with cores and threads, which runs one evaluation at a time."""

    index: int
    device: str
    """``cpu``, ``cuda`` or ``mps``, as the candidate sees it; the GPU's number is ``gpu``."""
    gpu: int | None
    """torch's number of the GPU in this process; None without one."""
    cores: tuple[int, ...]
    threads: int
    uuid: str | None = None
    """The GPU's UUID, which is the same in every process, unlike its number."""
    minor: int | None = None
    """Number of the GPU's device file: N of ``/dev/nvidiaN``, or of ``/dev/dri/renderDN`` for AMD."""
    visible_id: str | None = None
    """The GPU's entry in this process's CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES, if set."""
    amd: bool = False
    """Whether torch was built for AMD's GPUs (ROCm)."""

    @property
    def width(self) -> int:
        """Number of cores that the slot's threads share: its CPU seconds per wall second, at most."""
        return len(self.cores) or self.threads

    @property
    def visible_name(self) -> str:
        """The GPU in a child's CUDA_VISIBLE_DEVICES; torch's number depends on what is visible in this process."""
        return self.uuid or self.visible_id or str(self.gpu)

    @property
    def file_number(self) -> int | None:
        """Best known number of the GPU's device file."""
        if self.minor is not None:
            return self.minor
        return int(self.visible_id) if self.visible_id is not None and self.visible_id.isdigit() else self.gpu


def make_slots(count: int | None, threads: int | None = None) -> tuple[Slot, ...]:
    """Make one slot per visible GPU; without a GPU, one per core with one thread.

    For a small model, one thread per slot is less noisy and has twice the throughput of two threads (measured).
    ``count`` overrides the number of slots; CPU slots then may share cores (see ``shared_cores_warning``).
    Raises ValueError for ``count`` below 1 or above the number of GPUs.
    """
    for name, value in (("slots", count), ("threads", threads)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"executor.{name} is {value!r}; expected a whole number, or null to choose by the machine")
        if value is not None and value < 1:
            raise ValueError(
                f"executor.{name} is {value}; expected a positive number, or null to choose by the machine"
            )
        if value is not None and value > _MOST:
            raise ValueError(
                f"executor.{name} is {value}; expected at most {_MOST:,}, or null to choose by the machine"
            )
    cores = usable_cores()
    gpus = _usable_gpus()
    if gpus:
        count = count or len(gpus)
        _limit_count(count, len(gpus), f"torch sees {many(len(gpus), 'GPU')}")
        share = max(1, len(cores) // count)
        return tuple(gpu_slot(i, gpus[i], _share(cores, i, share), threads or share) for i in range(count))
    if has_mps():
        _limit_count(count or 1, 1, "there is one GPU (mps)")
        return (Slot(index=0, device="mps", gpu=None, cores=(), threads=threads or len(cores)),)
    threads = threads or 1
    count = count or max(1, len(cores) // threads)
    return tuple(
        Slot(index=i, device="cpu", gpu=None, cores=_share(cores, i, threads), threads=threads) for i in range(count)
    )


def _limit_count(count: int, devices: int, found: str) -> None:
    if count > devices:
        raise ValueError(
            f"executor.slots is {count}, and {found}: a device runs one candidate at a time, since two would slow "
            "each other by chance. Leave executor.slots out"
        )


def gpu_slot(index: int, gpu: int, cores: tuple[int, ...], threads: int) -> Slot:
    """Make the slot of a GPU, given by torch's number. Raises ValueError for a MIG partition."""
    amd, ids = is_amd(), visible_ids()
    visible_id = ids[gpu] if gpu < len(ids) else None
    if visible_id is not None and visible_id.startswith("MIG"):
        raise ValueError(
            f"CUDA_VISIBLE_DEVICES names {visible_id}, a partition (MIG) of a GPU; expected a whole GPU, since a "
            "sandbox and a lease are of whole GPUs. Name one with CUDA_VISIBLE_DEVICES (`nvidia-smi -L` lists them)"
        )
    uuid, minor = (None, None) if amd else gpu_identity(gpu)
    if uuid is None and visible_id is not None and visible_id.startswith("GPU-"):
        uuid, minor = visible_id, device_minor(visible_id)
    return Slot(index, "cuda", gpu, cores, threads, uuid, minor, visible_id, amd)


_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_NO_GPU = "NoDevFiles"
"""What Slurm writes for a job without a GPU."""


def visible_ids() -> list[str]:
    """Return the entries of CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES, in torch's order; empty if unset."""
    for name in _VISIBLE:
        if (listed := os.environ.get(name)) and listed != _NO_GPU:
            return [each.strip() for each in listed.split(",")]
    return []


def _usable_gpus() -> tuple[int, ...]:
    """Return ``visible_gpus``. Raises ValueError if torch does not see each GPU that the environment names.

    CUDA hides all GPUs, or those after it, when an entry occurs twice or does not exist; the search would then run on
    the CPU, with another model and other limits, without a word.
    """
    gpus, ids = visible_gpus(), visible_ids()
    if len(gpus) < len(ids) and (gpus or has_device_files()):
        name = next(each for each in _VISIBLE if os.environ.get(each))
        raise ValueError(
            f"{name} is {os.environ[name]!r}, and torch sees {len(gpus)} GPUs with it; expected numbers or UUIDs of "
            f"different GPUs of this machine (`nvidia-smi -L` lists them), or {name}='' to run on the CPU"
        )
    return gpus


def shared_cores_warning(slots: Sequence[Slot]) -> str | None:
    """Return a warning about slots that share cores, or None. Only an explicit ``executor.slots`` causes that."""
    slots_of = Counter(core for slot in slots for core in slot.cores)
    if not (shared := sorted(core for core, count in slots_of.items() if count > 1)):
        return None
    names = f"core{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
    return (
        f"{len(slots)} slots share {names}: their candidates slow each other, by a different amount each time, and "
        f"scores are as noisy as that. executor.slots={max(1, len(slots_of) // slots[0].threads)} would not"
    )


def usable_cores(groups: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the cores that this process may use: its affinity, cut to a container's CPU quota.

    A container with a quota of 2 cores on a 64-core machine sees all 64; 64 slots there would be slow and noisy.
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
    """Return ``cuda``, ``mps`` or ``cpu``: the device of this machine's slots. Raises ValueError."""
    if _usable_gpus():
        return "cuda"
    return "mps" if has_mps() else "cpu"


def visible_gpus(devices: Path = Path("/dev")) -> tuple[int, ...]:
    """Return torch's numbers of the visible GPUs (NVIDIA or AMD); empty without one."""
    if not has_device_files(devices):
        return ()  # saves importing torch, which takes 1.5 s
    import torch

    return tuple(range(torch.cuda.device_count())) if torch.cuda.is_available() else ()


def has_mps() -> bool:
    """Return whether torch can use this Mac's GPU."""
    if sys.platform != "darwin":
        return False
    import torch

    return bool(torch.backends.mps.is_available())


def is_amd() -> bool:
    """Return whether torch was built for AMD's GPUs (ROCm)."""
    import torch

    return torch.version.hip is not None


def gpu_identity(gpu: int) -> tuple[str | None, int | None]:
    """Return UUID and device file number of torch's GPU ``gpu``; None for what is unknown."""
    import torch

    if (found := getattr(torch.cuda.get_device_properties(gpu), "uuid", None)) is None:
        return None, None
    uuid = f"GPU-{found}"
    minor = device_minor(uuid)
    # A MIG partition has a UUID that the driver does not list: CUDA's own numbering is used instead.
    return (uuid, minor) if minor is not None else (None, None)


def device_minor(uuid: str, folder: Path = Path("/proc/driver/nvidia/gpus")) -> int | None:
    """Return N of a GPU's ``/dev/nvidiaN``, which is not torch's number; None if the driver does not show it."""
    for information in sorted(folder.glob("*/information")):
        with contextlib.suppress(OSError, ValueError):
            facts = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
            known = {name.strip(): value.strip() for name, value in facts.items()}
            if known.get("GPU UUID", "").startswith(uuid):  # CUDA takes the beginning of a UUID, too
                return int(known["Device Minor"])
    return None


@contextlib.contextmanager
def pinned(cores: tuple[int, ...]) -> Iterator[None]:
    """Restrict this thread, and processes that it launches meanwhile, to ``cores``; then restore its affinity."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
