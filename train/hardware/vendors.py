"""Vendor-specific facts of a slot's device: hardware tag, environment variables, device files. One class per vendor.

Only CPUs have been run. NVIDIA (CUDA), AMD (ROCm) and Apple (MPS) are tested with stand-ins; see
docs/gpus-and-clusters.md.
"""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from prepare.clock import Clock
from prepare.output import many
from train.hardware.slots import Slot, visible_ids


class Vendor(Protocol):
    """Facts of one vendor's devices."""

    def tag(self, slot: Slot) -> str:
        """Return device, count or threads, driver and torch: scores of different tags are never compared."""
        ...

    def environment(self, slot: Slot) -> dict[str, str]:
        """Return the variables that make only this slot's device visible to a candidate."""
        ...

    def device_files(self, slot: Slot) -> list[str]:
        """Return the device files that a candidate may open."""
        ...

    def info_folders(self) -> list[str]:
        """Return the folders that the vendor's libraries must read to find a device. They hold no user data."""
        ...


class Cpu:
    """No GPU."""

    def tag(self, slot: Slot) -> str:
        threads = many(slot.threads, "thread")
        return f"{_cpu_name()} x{threads} / torch {_torch()}"

    def environment(self, slot: Slot) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""}

    def device_files(self, slot: Slot) -> list[str]:
        return []

    def info_folders(self) -> list[str]:
        return []


class Apple(Cpu):
    """The GPU of a Mac (MPS), which has no number and no device file."""

    def tag(self, slot: Slot) -> str:
        return f"{_cpu_name()} mps x1 / {platform.platform(terse=True)} / torch {_torch()}"


class Nvidia:
    """NVIDIA's GPUs (CUDA)."""

    def tag(self, slot: Slot) -> str:
        import torch

        driver = f"driver {driver_version()} / cuda {torch.version.cuda}"
        return f"{torch.cuda.get_device_name(slot.gpu)} x1 / {driver} / torch {_torch()}"

    def environment(self, slot: Slot) -> dict[str, str]:
        # A UUID where known: a number would count the devices that are visible in the sandbox. torch calls it cuda:0.
        return {"CUDA_VISIBLE_DEVICES": slot.visible_name, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}

    def device_files(self, slot: Slot) -> list[str]:
        return [f"/dev/{name}" for name in (f"nvidia{slot.file_number}", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")]

    def info_folders(self) -> list[str]:
        return []


class Amd:
    """AMD's GPUs (ROCm), which torch calls ``cuda``, too."""

    def tag(self, slot: Slot) -> str:
        import torch

        return f"{torch.cuda.get_device_name(slot.gpu)} x1 / rocm {torch.version.hip} / torch {_torch()}"

    def environment(self, slot: Slot) -> dict[str, str]:
        return {"HIP_VISIBLE_DEVICES": slot.visible_name}

    def device_files(self, slot: Slot) -> list[str]:
        return ["/dev/kfd", "/dev/dri"]  # torch does not tell which file is whose; the environment selects the device

    def info_folders(self) -> list[str]:
        return ["/sys/class/kfd", "/sys/class/drm", "/sys/devices"]


def vendor_of(slot: Slot) -> Vendor:
    """Return the vendor of a slot's device."""
    if slot.gpu is None:
        return Apple() if slot.device == "mps" else Cpu()
    return Amd() if slot.amd else Nvidia()


CPU_TIME = " / CPU time"
"""End of the hardware tag of scores whose training seconds are CPU seconds (``prepare.clock``)."""


def hardware_tag(slot: Slot, clock: Clock = "wall") -> str:
    """Return the hardware tag of scores made on this slot (see ``Vendor.tag``), with the clock of their training."""
    return vendor_of(slot).tag(slot) + (CPU_TIME if clock == "cpu" else "")


def require_same_hardware(slots: Sequence[Slot]) -> None:
    """Raise ValueError if the slots have different hardware tags, whose scores could not be compared."""
    kinds: dict[str, list[int]] = {}
    for slot in slots:
        if slot.gpu is not None:
            kinds.setdefault(hardware_tag(slot), []).append(slot.gpu)
    if len(kinds) > 1:
        found = "; ".join(f"{tag}: GPU {', '.join(map(str, gpus))}" for tag, gpus in kinds.items())
        ids = visible_ids()
        most = max(kinds.values(), key=len)
        names = ",".join(ids[gpu] if gpu < len(ids) else str(gpu) for gpu in most)
        raise ValueError(
            f"this machine has GPUs of different kinds ({found}), and scores of different hardware are not compared. "
            f"Choose those of one kind with CUDA_VISIBLE_DEVICES={names}"
        )


def driver_version(file: Path = Path("/sys/module/nvidia/version")) -> str:
    """Return the version of NVIDIA's driver; ``unknown`` if the kernel does not show it."""
    try:
        return file.read_text().strip()
    except OSError:
        return "unknown"


@functools.cache  # 3 ms, for each evaluation
def _torch() -> str:
    return version("torch").split("+")[0]


@functools.cache
def _cpu_name() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()
