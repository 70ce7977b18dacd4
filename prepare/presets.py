"""Which preset of a task fits a device.

Presets and devices have the same names: a kind (``cpu``, ``cuda``, ``mps``), or a kind with the memory of the device in
GB (10^9 bytes), ``cuda_24gb``. A task's ``presets`` say what changes for whom.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_NAME = re.compile(r"([a-z]+)(?:_(\d+)gb)?")
_SLACK = 0.92
"""A device of 24 GB shows 22 to 25 GB: it may have that share of what a preset's name says."""


def device_name(kind: str, memory_bytes: int | None = None) -> str:
    """The name of a device of ``kind``; without its memory where that is not known."""
    return kind if memory_bytes is None else f"{kind}_{round(memory_bytes / 1e9)}gb"


def chosen(presets: Collection[str], device: str) -> str | None:
    """The preset for a device: of its kind the one for the most memory that the device has; None if there is none.

    Where it has less memory than any of them wants, or does not say how much: the one that names no memory, else the
    smallest. A kind that has no preset takes that of ``cpu``, but for ``cuda``: for that a task's own values are meant.
    """
    kind, memory = _parts(device)
    sizes: dict[int, str] = {}
    for name in presets:
        other, size = _parts(name)
        if other == kind:
            sizes[size or 0] = name
    if not sizes:
        return "cpu" if kind not in ("cpu", "cuda") and "cpu" in presets else None
    fitting = [size for size in sizes if size * _SLACK <= (memory or 0)]
    return sizes[max(fitting) if fitting else min(sizes)]


def _parts(name: str) -> tuple[str, int | None]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is no device; expected for example cpu, cuda or cuda_24gb (task.presets)")
    return found[1], int(found[2]) if found[2] else None


def with_preset(
    task: Mapping[str, Any], preset: Mapping[str, Any], own: Mapping[str, Any], typed: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a task with those of a preset in place of the task file's own, level by level.

    A value stays that was typed (``typed``: dotted keys), or that differs from the file's (``own``): an experiment has
    set it.
    """
    result = dict(task)
    for key, value in preset.items():
        if key in typed:
            continue
        if isinstance(value, Mapping):
            below = [word.removeprefix(f"{key}.") for word in typed if word.startswith(f"{key}.")]
            result[key] = with_preset(result.get(key) or {}, value, own.get(key) or {}, below)
        elif result.get(key) == own.get(key):
            result[key] = value
    return result


def has_device_files(devices: Path = Path("/dev")) -> bool:
    """Return whether torch could find a GPU here: a device file of NVIDIA, WSL, or ROCm (which torch calls cuda)."""
    return any(devices.glob("nvidia[0-9]*")) or any((devices / name).exists() for name in ("dxg", "kfd"))


def this_machine() -> str:
    """The device on which a program would run here: the first GPU that torch sees, else ``cpu``."""
    if not has_device_files():
        return "cpu"  # importing torch to hear the same takes a second and a half
    import torch

    return with_memory("cuda") if torch.cuda.is_available() else "cpu"


def with_memory(kind: str) -> str:
    """The name of this machine's devices of a kind: with the memory of the smallest, since one preset is for all."""
    if kind != "cuda":
        return kind
    import torch

    devices = range(torch.cuda.device_count())
    return device_name(kind, min((torch.cuda.get_device_properties(i).total_memory for i in devices), default=None))
