"""A slot is where one candidate at a time may run: a device, the cores that go with it, its thread count."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    """One evaluation at a time runs here."""

    index: int
    device: str
    """``cpu`` or ``cuda``: what the candidate sees; the number of the GPU is ``gpu``."""
    gpu: int | None
    cores: tuple[int, ...]
    threads: int


def make_slots(count: int | None, threads: int | None = None) -> tuple[Slot, ...]:
    """One slot per visible GPU; without a GPU one slot per core, each with one thread.

    One thread a slot is quieter and gives twice the throughput of two threads on a small model (measured).
    ``count`` overrides the number; slots then share devices and cores in turn. Raises ValueError for less than 1.
    """
    if count is not None and count < 1:
        raise ValueError(f"executor.slots is {count}; expected a positive number, or null to let the machine decide")
    cores = usable_cores()
    gpus = visible_gpus()
    if gpus:
        count = count or len(gpus)
        share = max(1, len(cores) // count)
        return tuple(
            Slot(
                index=i,
                device="cuda",
                gpu=gpus[i % len(gpus)],
                cores=_share(cores, i, share),
                threads=threads or share,
            )
            for i in range(count)
        )
    threads = threads or 1
    count = count or max(1, len(cores) // threads)
    return tuple(
        Slot(index=i, device="cpu", gpu=None, cores=_share(cores, i, threads), threads=threads) for i in range(count)
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


def visible_gpus() -> tuple[int, ...]:
    """Numbers of the CUDA devices that torch sees; empty on a machine without one."""
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/dev/dxg").exists():
        return ()  # importing torch to hear the same takes a second and a half
    import torch

    return tuple(range(torch.cuda.device_count())) if torch.cuda.is_available() else ()


def hardware_tag(slot: Slot) -> str:
    """Device, count or threads, driver and torch: scores of different tags are never compared."""
    release = version("torch").split("+")[0]
    if slot.gpu is None:
        return f"{_cpu_name()} x{slot.threads} thread{'s' if slot.threads > 1 else ''} / torch {release}"
    import torch

    return f"{torch.cuda.get_device_name(slot.gpu)} x1 / cuda {torch.version.cuda} / torch {release}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return " ".join(line.split(":", 1)[1].split())
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()
