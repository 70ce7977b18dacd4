"""What a sandbox sees of /proc: constant copies of a few files.

The kernel's counters (/proc/stat, meminfo, loadavg and others) tell what other sandboxes do, and a sandbox can move
them. So can what a process sees of itself: smaps and pagemap tell which pages of a file others have mapped, fdinfo how
many events the machine has. Programs read some files for facts that stay the same: the number of cores, the size of the
memory. A GPU's driver needs a real /proc; there the counters are covered.
"""

from __future__ import annotations

import os
from pathlib import Path

_COPIED = ("cpuinfo", "meminfo", "stat", "version", "filesystems")
_CONSTANT = {
    "loadavg": "0.00 0.00 0.00 1/1 1\n",
    "uptime": "1.00 1.00\n",
    "nothing": "",
}
_OWN = ("self", "thread-self", "mounts", "net")  # links to what a process sees of itself
_FOR_GPUS = ("driver", "devices", "modules", "bus", "cmdline", "misc")
NOTHING = "nothing"
EMPTY_FOLDER = "empty"


def write_snapshots(folder: Path) -> None:
    """Write the constant files of /proc to ``folder``, with an empty file and an empty folder for the others."""
    for name in _COPIED:
        (folder / name).write_bytes(Path("/proc", name).read_bytes() if os.path.exists(f"/proc/{name}") else b"")
    for name, text in _CONSTANT.items():
        (folder / name).write_text(text)
    for path in folder.iterdir():
        path.chmod(0o444)
    (folder / EMPTY_FOLDER).mkdir(mode=0o755)


def covers() -> list[tuple[str, str]]:
    """Return what covers each entry of /proc that is not of one process, nor a driver's: name of the copy, path."""
    found = []
    for name in sorted(os.listdir("/proc")):
        if name.isdigit() or name in _OWN or name in _FOR_GPUS:
            continue
        path = f"/proc/{name}"
        if name in _COPIED or name in _CONSTANT:
            found.append((name, path))
        elif name == "sys":
            found.append((EMPTY_FOLDER, f"{path}/fs"))
        else:
            found.append((EMPTY_FOLDER if os.path.isdir(path) else NOTHING, path))
    return found
