"""Choose and apply the preset of a task for a device.

Presets and devices have the same names: a kind (``cpu``, ``cuda``, ``mps``), or a kind with the memory of the device in
GB (10^9 bytes), ``cuda_24gb``. A task's ``presets`` map such a name to the values that differ on that device.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_NAME = re.compile(r"([a-z]+)(?:_(\d+)gb)?")
_SLACK = 0.92
"""Share of a preset's memory that a device must report: devices sold as 24 GB report 22 to 25 GB."""


def device_name(kind: str, memory_bytes: int | None = None) -> str:
    """Return the name of a device of ``kind``, with its memory if known."""
    return kind if memory_bytes is None else f"{kind}_{round(memory_bytes / 1e9)}gb"


def chosen(presets: Collection[str], device: str) -> str | None:
    """Return the preset for a device: the largest of its kind that fits the device's memory; None if there is none.

    If none fits, or the memory is unknown: the preset of its kind without a memory, else the smallest. A kind without
    presets uses that of ``cpu``, except ``cuda``, for which the task's own values are meant. Raises ValueError for an
    invalid name.
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
        raise ValueError(f"{name!r} is not a device; expected for example cpu, cuda or cuda_24gb (task.presets)")
    return found[1], int(found[2]) if found[2] else None


def with_preset(
    task: Mapping[str, Any], preset: Mapping[str, Any], own: Mapping[str, Any], typed: Collection[str] = ()
) -> dict[str, Any]:
    """Return the task's values, replaced by those of the preset at every level of nesting.

    A value is kept if the user typed it (``typed``: dotted keys), or if it differs from the task file's (``own``),
    since then an experiment has set it.
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
    """Return whether a device file of NVIDIA, WSL or ROCm (torch calls it cuda) exists: torch may find a GPU."""
    return any(devices.glob("nvidia[0-9]*")) or any((devices / name).exists() for name in ("dxg", "kfd"))


def this_machine() -> str:
    """Return the name of the device on which a program would run here: ``cuda`` with its memory, else ``cpu``."""
    if not has_device_files():
        return "cpu"  # avoids importing torch, which takes 1.5 s
    import torch

    return with_memory("cuda") if torch.cuda.is_available() else "cpu"


def with_memory(kind: str) -> str:
    """Return the device name of a kind, with the smallest device's memory, since one preset serves all devices."""
    if kind != "cuda":
        return kind
    import torch

    devices = range(torch.cuda.device_count())
    return device_name(kind, min((torch.cuda.get_device_properties(i).total_memory for i in devices), default=None))
