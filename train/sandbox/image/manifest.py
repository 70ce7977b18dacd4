"""The manifest of an image: whether all of its files are there, as the originals are now.

That takes a quarter of a second. So a command that will need an image begins it in a process of its own (``begin``),
while it imports and composes what it needs before. Hence no other module of this project is imported here, and the file
is a script as well:

    python -I -S manifest.py FOLDER        # prints the names of the intact images in FOLDER, as JSON
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess

MANIFEST = "manifest.json"
SHARED_MEMORY = "/dev/shm"
_SECONDS = 20.0
"""Longest wait for the other process, after which the files are compared in this one."""

_begun: list[subprocess.Popen[bytes]] = []
"""The process of ``begin``, until ``begun`` is called."""


def top_of(shared_memory: str) -> str:
    """Return this user's folder of images."""
    return os.path.join(shared_memory, f"treewright-{os.geteuid()}")


def is_intact(folder: str) -> bool:
    """Return whether an image has all of its files, with the sizes and times of the originals as they are now."""
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
        return all(
            _size_and_time(f"{folder}/{place}") == expected == _size_and_time(source)
            for place, (source, *expected) in manifest.items()
        )
    except (OSError, ValueError):
        return False


def _size_and_time(path: str) -> list[int]:
    facts = os.stat(path)
    return [facts.st_size, facts.st_mtime_ns]


def begin(shared_memory: str = SHARED_MEMORY) -> None:
    """Compare the files of this user's images from now on, in a process of its own; ``begun`` has the result."""
    import subprocess

    if not _begun and sys.platform.startswith("linux") and os.path.isdir(top := top_of(shared_memory)):
        command = [sys.executable, "-I", "-S", __file__, top]
        nothing = subprocess.DEVNULL
        _begun.append(subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing))


def begun() -> frozenset[str]:
    """Wait for what ``begin`` has begun, and forget it; return the paths of the images that it found intact."""
    import subprocess

    if not _begun:
        return frozenset()
    with _begun.pop() as process:
        try:
            said, _ = process.communicate(timeout=_SECONDS)
            return frozenset(json.loads(said)) if process.returncode == 0 else frozenset()
        except (subprocess.TimeoutExpired, ValueError):
            process.kill()
            return frozenset()


def give_up() -> None:
    """End what ``begin`` has begun, if nothing has asked for it."""
    if _begun:
        _begun[0].kill()
        begun()


if __name__ == "__main__":
    images = [entry.path for entry in os.scandir(sys.argv[1]) if entry.name.startswith("image-") and entry.is_dir()]
    print(json.dumps([folder for folder in images if is_intact(folder)]))
