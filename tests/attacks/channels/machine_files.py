"""Files of the kernel that a sandbox can open, and what each says now: run inside a sandbox."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

_MOST = 1 << 16
TOPS = ("/proc", "/sys")


def machine_files() -> list[str]:
    """Return the paths of all files under /proc and /sys but those of other processes."""
    found = [f"/proc/self/{name}" for name in os.listdir("/proc/self") if name != "exe"]
    for top in TOPS:
        for folder, folders, names in os.walk(top):
            if folder == "/proc":
                folders[:] = [name for name in folders if not name.isdigit()]
            found += [os.path.join(folder, name) for name in names]
    return found


def say(paths: Iterable[str]) -> dict[str, str]:
    """Return a digest of the beginning of every file that can be read."""
    found = {}
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            found[path] = hashlib.md5(os.read(descriptor, _MOST), usedforsecurity=False).hexdigest()[:8]
        except OSError:
            pass
        finally:
            os.close(descriptor)
    return found
