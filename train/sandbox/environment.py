"""What every sandbox is made of, whichever tier: the environment, the packages, the devices of a candidate."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from train.hardware.slots import Slot

Tier = Literal["bwrap", "landlock", "none"]
Contained = bool | Literal["keeper"]
"""True: a process namespace, whose end takes every process inside with it; "keeper": its first process sees to that,
and SIGTERM asks it to; False: nothing does."""

HOUSE = Path(__file__).resolve().parents[2]
NOBODY = 1_918_000_000  # the first of the users that no machine has


@dataclass(frozen=True)
class Inside:
    """How to start the worker: the whole command line, and what its arguments call things."""

    command: tuple[str, ...]
    environment: dict[str, str]


def environment_for(slot: Slot) -> dict[str, str]:
    """The whole environment of a candidate: no key and no secret of ours is in it."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "candidate",  # torch.compile asks who it is, and this user is in no password file
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(slot.threads),
        "MKL_NUM_THREADS": str(slot.threads),
        "OPENBLAS_NUM_THREADS": str(slot.threads),
    }
    if slot.gpu is None:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    elif slot.amd:
        environment["HIP_VISIBLE_DEVICES"] = slot.name
    else:
        # The candidate sees one device, by its UUID: a number would count what is visible there. torch calls it cuda:0.
        environment["CUDA_VISIBLE_DEVICES"] = slot.name
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return environment


def site_folders() -> tuple[Path, ...]:
    """The folders of installed packages: one, or two on systems that part them."""
    paths = sysconfig.get_paths()
    folders = dict.fromkeys(Path(paths[name]).resolve() for name in ("platlib", "purelib"))
    return tuple(folder for folder in folders if folder.is_dir())


def gpu_devices(slot: Slot) -> list[str]:
    """The device files that a candidate may use; none without a GPU."""
    if slot.gpu is None:
        return []
    if slot.amd:  # which of its files is whose torch does not tell: all, and the environment names one
        return ["/dev/kfd", "/dev/dri"]
    return [f"/dev/{name}" for name in (f"nvidia{slot.file_number}", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")]


def gpu_facts(slot: Slot) -> list[str]:
    """Folders in which an AMD GPU's driver tells what there is: ROCm finds no device without them. Facts only."""
    return ["/sys/class/kfd", "/sys/class/drm", "/sys/devices"] if slot.amd else []


def stage_library(stage: Path) -> None:
    """Copy what every sandbox mounts of ours (``prepare``, ``confine``, the worker) to where any user may read it."""
    library = stage / "library"
    for package in ("prepare", "train/sandbox/confine"):
        target = library / Path(package).name
        shutil.copytree(HOUSE / package, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    shutil.copy(HOUSE / "train" / "language_model" / "worker.py", library / "worker.py")
    for path in (library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


TRIAL = (
    "import sys; sys.path.insert(0, sys.argv[1]); from confine import filters; "
    "filters.install(filters.Strictness(sockets=True, other_processes=True, metadata=True))"
)
"""What is tried in a sandbox to see that it can be made here, and a filter in it. Its argument is the library."""


def probe(inside: Callable[[Path, Slot], Inside]) -> str | None:
    """Run what ``inside`` makes of a stage and a slot: None if it ends well, else what it said."""
    slot = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
    with tempfile.TemporaryDirectory(prefix="treewright-probe-", ignore_cleanup_errors=True) as folder:
        stage = Path(folder)
        stage.chmod(0o711)
        stage_library(stage)
        (stage / "candidate").mkdir(mode=0o755)
        tried = inside(stage, slot)
        try:
            done = subprocess.run(
                tried.command,
                env=tried.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit status {done.returncode}")
