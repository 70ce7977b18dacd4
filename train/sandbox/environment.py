"""Parts common to all sandboxes: environment variables, packages, the staged library, and a probe."""

from __future__ import annotations

import compileall
import contextlib
import functools
import os
import py_compile
import shutil
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archive.records import Trust
from train.hardware.slots import Slot
from train.hardware.vendors import vendor_of

Tier = Literal["bwrap", "bwrap-shared", "landlock", "none"]
"""How candidates are kept apart, best first; ``bwrap-shared``: bubblewrap without an image of files in memory."""

Contained = bool | Literal["keeper"]
"""How all processes of a sandbox are ended.

True: by a process namespace, whose end kills every process inside. "keeper": by the first process, on SIGTERM.
False: not at all.
"""

INTERPRETER_OPTIONS = ("-P", "-s", "-S")
"""Of Python in a sandbox: no folder of the script or the user on the path, no start-up hooks. The environment, which is
ours alone, counts: it fixes the order of sets (PYTHONHASHSEED)."""

HOUSE = Path(__file__).resolve().parents[2]
KILLED_FIRST = "{ echo 500 >/proc/self/oom_score_adj; } 2>/dev/null; "
"""Shell script: set how readily, of 1,000, the kernel kills this process when the machine runs out of memory. Not every
system has the file."""
FIRST_UID = 1_918_000_000  # first of the user numbers that no machine assigns


@dataclass(frozen=True)
class SandboxCommand:
    """Command line and environment that start the worker in a sandbox."""

    command: tuple[str, ...]
    environment: dict[str, str]


def killed_first() -> list[str]:
    """Return the beginning of a command line: be killed before the search, and execute what follows."""
    return ["/bin/sh", "-c", f'{KILLED_FIRST}exec "$@"', "launch"]


def trust_in(tier: str, device: str) -> Trust:
    """Return how far an audited score can be trusted that was made in this tier, on ``cpu`` or ``cuda:0``.

    Only ``bwrap`` hides from a sandbox what the kernel remembers of the files that another one has used, and only
    without a GPU: its drivers need /proc and the machine's devices.
    """
    return "audited" if tier == "bwrap" and not device.startswith("cuda") else "audited_shared"


def environment_for(slot: Slot) -> dict[str, str]:
    """Return the complete environment of a candidate. It holds no keys and no secrets."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "USER": "candidate",  # torch.compile asks for the user's name, which is in no password file
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": str(slot.threads),
        "MKL_NUM_THREADS": str(slot.threads),
        "OPENBLAS_NUM_THREADS": str(slot.threads),
    }
    if slot.gpu is None:  # its compilers would wait for each other computing: see ``shared_waits`` of the filter
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    return {**environment, **vendor_of(slot).environment(slot)}


@functools.cache
def site_folders() -> tuple[Path, ...]:
    """Return the folders of installed packages: one, or two on systems that separate platform-specific ones."""
    paths = sysconfig.get_paths()
    folders = dict.fromkeys(Path(paths[name]).resolve() for name in ("platlib", "purelib"))
    return tuple(folder for folder in folders if folder.is_dir())


def stage_library(stage: Path, worker: Path | None = None, modules: Sequence[str] | None = None) -> None:
    """Copy what every sandbox mounts (``prepare``, ``confine``, the worker), readable by any user.

    ``worker``: the script, which imports ``worker_process``; None: none. ``modules``: those of ``prepare`` to copy,
    whose ``__init__`` is then empty, with compiled files of all (``worker`` has a function ``main``, and is run by
    ``start.py``); None: all of ``prepare``, and nothing is compiled.
    """
    library = stage / "library"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(HOUSE / "train/sandbox/confine", library / "confine", ignore=ignored)
    if modules is None:
        shutil.copytree(HOUSE / "prepare", library / "prepare", ignore=ignored)
    else:
        (library / "prepare").mkdir()
        (library / "prepare" / "__init__.py").touch()  # without one, all folders on the path are searched
        for name in modules:
            shutil.copy(HOUSE / "prepare" / f"{name}.py", library / "prepare")
    if worker is not None:
        shutil.copy(worker, library / ("worker.py" if modules is None else "compiled_worker.py"))
        shutil.copy(HOUSE / "train/sandbox/worker_process.py", library)
    if modules is not None:
        shutil.copy(HOUSE / "train/sandbox/start.py", library / "worker.py")
        # A sandbox cannot write what it compiles: each would compile everything anew.
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(library, quiet=1, invalidation_mode=unchecked)
    for path in (library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


PROBE_SCRIPT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from confine import filters; "
    "filters.install(filters.FilterOptions(sockets=True, other_processes=True, metadata=True))"
)
"""Script that installs a filter in a sandbox, to test that both can be made. Its argument: the library folder."""


_PATIENCE = 10.0
"""Seconds for the test of a sandbox, which takes 0.1 to 0.3 s on a machine that is not busy."""


def probe(inside: Callable[[Path, Slot], SandboxCommand]) -> str | None:
    """Run the command that ``inside`` returns for a stage and a slot; return None if it succeeds, else its error."""
    slot = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
    with tempfile.TemporaryDirectory(prefix="treewright-probe-", ignore_cleanup_errors=True) as folder:
        stage = Path(folder)
        stage.chmod(0o711)
        stage_library(stage)
        (stage / "candidate").mkdir(mode=0o755)
        tried = inside(stage, slot)
        try:
            return _tried(tried)
        except OSError as error:
            return str(error)


def _tried(tried: SandboxCommand) -> str | None:
    """Run a command; return None if it succeeds, else its error. Gives up after ``_PATIENCE``. Raises OSError."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            tried.command,
            env=tried.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            status = process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what it has launched
            return f"{tried.command[0]} did not answer for {_PATIENCE:g} s, where a few tenths are usual"
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    return None if status == 0 else (words or f"exit status {status}")
