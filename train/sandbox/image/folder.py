"""The image: a folder in memory (tmpfs) with every file that sandboxes mount, made once and used by all searches.

Sandboxes mount it through an overlay of their own each (see ``train.sandbox.base``). Pages of a tmpfs are always in
memory and it keeps no memory of names that do not exist, so neither tells what another sandbox has read; and locks
belong to the files of an overlay, so no other sandbox sees them.

All images of a user lie in ``/dev/shm/treewright-UID``, closed to other users. A process that uses an image holds a
shared lock on the file beside it; the last one removes it when it exits. An image that a killed process has left is
used or removed by the next. Before an image is used, sizes and times of all its files are compared with the originals.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import hashlib
import itertools
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from train.sandbox.environment import site_folders
from train.sandbox.image import elf, files, manifest
from train.sandbox.image.files import image_files
from train.sandbox.image.snapshots import write_snapshots

SHARED_MEMORY = Path(manifest.SHARED_MEMORY)
KEEP = "TREEWRIGHT_KEEP_IMAGE"
"""Environment variable: leave the image for the next search, which then starts some seconds earlier."""
_EMPTY, _SNAPSHOTS, _DEVICES = "empty", "facts", "dev"
_LEAST_ROOM = 256 << 20  # bytes of /dev/shm left over for others
_SHARE = 3  # an image may take a third of the machine's free memory
_DEVICE_NUMBERS = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}


class NoImage(OSError):
    """No image can be kept in memory here; the message says why."""


@dataclass(frozen=True)
class Image:
    """A complete image that this process has locked."""

    folder: Path

    @property
    def empty(self) -> Path:
        """An empty folder."""
        return self.folder / _EMPTY

    @property
    def snapshots(self) -> Path:
        """Constant copies of files of /proc; see ``train.sandbox.image.snapshots``."""
        return self.folder / _SNAPSHOTS

    @property
    def devices(self) -> Path | None:
        """Device files (null, zero ...), whose locks would be shared otherwise; None: only root can make them."""
        return self.folder / _DEVICES if (self.folder / _DEVICES).is_dir() else None

    def sites(self) -> list[str]:
        """Return the names of the folders of installed packages."""
        return [f"site{number or ''}" for number, _ in enumerate(site_folders())]

    def system(self) -> list[str]:
        """Return the names of the system's top-level folders in it (usr, on some systems lib and others)."""
        return sorted(os.listdir(self.folder / "system"))


@functools.cache
def find_image(shared_memory: Path = SHARED_MEMORY) -> Image:
    """Return this machine's image, made if there is none yet, until this process exits. Raises NoImage."""
    try:
        top = _top(shared_memory)
        with _locked(top / "lock"):
            folder = _usable(top, f"image-{_fingerprint()}")
            _remove_unused(top, keep=folder)
            if not folder.is_dir():
                _build(folder)
            users = _lock(folder.with_suffix(".users"), fcntl.LOCK_SH)
    except OSError as error:
        raise error if isinstance(error, NoImage) else NoImage(f"no image in {shared_memory}: {error}") from error
    atexit.register(_leave, top, folder, users)
    return Image(folder)


def stages(shared_memory: Path = SHARED_MEMORY) -> Path:
    """Return the folder in memory for staged candidates, closed to other users. Raises NoImage."""
    folder = _top(shared_memory) / "stages"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _top(shared_memory: Path) -> Path:
    """Return this user's folder, which nobody else may own or enter. Raises NoImage."""
    if not _in_memory(shared_memory):
        raise NoImage(f"{shared_memory} is not kept in memory (expected a tmpfs)")
    top = Path(manifest.top_of(str(shared_memory)))
    with contextlib.suppress(FileExistsError):
        top.mkdir(mode=0o700)
    facts = top.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise NoImage(f"{top} is not a folder of this user alone (mode 700); remove it")
    return top


def _in_memory(folder: Path) -> bool:
    """Return whether ``folder`` is the mount point of a tmpfs."""
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        return any(line.split()[1:3] == [str(folder), "tmpfs"] for line in mounts)


def _fingerprint() -> str:
    """Return a name for the installed software: interpreter, packages, system libraries, and our choice of files."""
    parts = [sys.version, sys.base_prefix, *map(_facts, (files.__file__, elf.__file__, "/etc/ld.so.cache"))]
    for folder in site_folders():
        parts += [_facts(folder), *sorted(map(_facts, folder.glob("*.dist-info")))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _facts(path: str | Path) -> str:
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return f"{path} missing"
    return f"{path} {facts.st_size if stat.S_ISREG(facts.st_mode) else 0} {facts.st_mtime_ns}"


# ---------------------------------------------------------------- locks


def _lock(path: Path, kind: int) -> int:
    """Return an open descriptor that holds the lock. Raises BlockingIOError for LOCK_NB if another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _leave(top: Path, folder: Path, users: int) -> None:
    """Give up this process's use of an image, and remove it if no other process uses it."""
    if not os.environ.get(KEEP):
        with contextlib.suppress(OSError), _locked(top / "lock"):
            os.close(users)
            _remove_unused(top)


def remove_unused(shared_memory: Path = SHARED_MEMORY) -> None:
    """Remove images of this user that no process uses."""
    with contextlib.suppress(OSError), _locked(_top(shared_memory) / "lock"):
        _remove_unused(_top(shared_memory))


def _usable(top: Path, name: str) -> Path:
    """Return an intact image or a name for a new one. One that is not intact may be in use, so it stays."""
    return next(
        folder
        for number in itertools.count()
        if not (folder := top / f"{name}-{number}").is_dir() or _is_intact(folder)
    )


def _remove_unused(top: Path, keep: Path | None = None) -> None:
    """Remove images that no process uses, and what an interrupted build has left. The caller holds the lock."""
    for building in top.glob("building-*"):
        shutil.rmtree(building, ignore_errors=True)
    for users in top.glob("image-*.users"):
        folder = users.with_suffix("")
        if folder == keep:
            continue
        with contextlib.suppress(BlockingIOError):
            os.close(_lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB))
            shutil.rmtree(folder, ignore_errors=True)
            users.unlink()


# ---------------------------------------------------------------- contents


def _is_intact(folder: Path) -> bool:
    """Return whether the image has all of its files, with the sizes and times of the originals.

    As they are now, or were when this command began.
    """
    return str(folder) in manifest.begun() or manifest.is_intact(str(folder))


def _build(folder: Path) -> None:
    """Copy all files. Raises NoImage if there is no room, OSError if a file cannot be read."""
    chosen = image_files()
    _check_room(folder.parent, sum(path.stat().st_size for path in chosen.values()))
    building = folder.with_name(f"building-{os.getpid()}")
    try:
        for name in (_EMPTY, _SNAPSHOTS, "system/etc"):
            (building / name).mkdir(mode=0o755, parents=True)
        write_snapshots(building / _SNAPSHOTS)
        _make_devices(building / _DEVICES)
        _copy_all(chosen, building)
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _copy_all(chosen: Mapping[str, Path], building: Path) -> None:
    listed, made = {}, set[str]()
    for place, source in chosen.items():
        target = f"{building}/{place}"
        if (parent := os.path.dirname(target)) not in made:
            os.makedirs(parent, mode=0o755, exist_ok=True)
            made.add(parent)
        facts = os.stat(source)
        shutil.copyfile(source, target)
        os.chmod(target, 0o755 if facts.st_mode & 0o100 else 0o644)
        os.utime(target, ns=(facts.st_mtime_ns, facts.st_mtime_ns))  # compiled modules are valid for one time
        listed[place] = [str(source), facts.st_size, facts.st_mtime_ns]
    (building / manifest.MANIFEST).write_text(json.dumps(listed))


def _make_devices(folder: Path) -> None:
    """Create the device files; no folder if this user may not."""
    folder.mkdir(mode=0o755)
    try:
        for name, (major, minor) in _DEVICE_NUMBERS.items():
            os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            (folder / name).chmod(0o666)
    except OSError:
        shutil.rmtree(folder)


def _check_room(top: Path, size: int) -> None:
    """Raise NoImage if the image would fill /dev/shm, or take too much of the machine's memory or of our group's."""
    facts = os.statvfs(top)
    room = facts.f_bavail * facts.f_frsize - _LEAST_ROOM
    free = min(_free_memory(), _group_limit()) / _SHARE
    if size > min(room, free):
        raise NoImage(
            f"an image of {size / 1e6:,.0f} MB has no room in {top} ({max(room, 0) / 1e6:,.0f} MB) or in memory "
            f"({free / 1e6:,.0f} MB, a third of what is free)"
        )


def _free_memory() -> int:
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return next(int(words[1]) * 1024 for words in fields if words[0] == "MemAvailable:")


def _group_limit() -> float:
    """Return the memory limit of a container, infinite if there is none or it is not shown."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return float((Path("/sys/fs/cgroup") / name).read_text())
    return float("inf")
