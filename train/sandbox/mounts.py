"""Mount options of bubblewrap for the files that a sandbox sees: of this machine's own, or of an image in memory.

``OwnFiles`` mounts folders of this machine as they are. What the kernel remembers of these files (pages in memory,
names that were looked up, locks) is then shared by all sandboxes, so one can tell another what it has seen.
``ImageFiles`` mounts ``train.sandbox.image`` through overlays, which every sandbox has of its own.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from prepare.bubblewrap import system_links, system_mounts
from train.hardware.slots import Slot
from train.sandbox.environment import site_folders
from train.sandbox.image.files import is_left_out
from train.sandbox.image.folder import Image
from train.sandbox.image.snapshots import covers

LIBRARY, SITE, PYTHON, CANDIDATE = "/library", "/site", "/python", "/candidate"
_FACTS = "/facts"


@dataclass(frozen=True)
class OwnFiles:
    """This machine's /usr, interpreter and packages."""

    def options(self, stage: Path) -> list[str]:
        """Return the options that mount everything, ``stage`` included."""
        folders = [(Path(sys.base_prefix), PYTHON), *sites(), *_staged(stage)]
        return [*self._system(), *(word for source, target in folders for word in _bind(str(source), target))]

    def again(self) -> list[str]:
        """Return the options that mount the same in a sandbox inside the one made with ``options``."""
        targets = (PYTHON, *(target for _, target in sites()), LIBRARY, CANDIDATE)
        return [*self._system(), *(word for target in targets for word in _bind(target, target))]

    def proc(self, slot: Slot, *, inside: bool) -> list[str]:
        """Return the options that mount /proc; ``inside``: in a sandbox inside that of ``options``."""
        return ["--proc", "/proc"]

    def library_path(self, slot: Slot) -> str:
        """Return the folders of libraries that programs do not find by themselves."""
        return f"{PYTHON}/lib"

    def devices(self, slot: Slot) -> list[str]:
        """Return the options that mount /dev, from which an inner sandbox takes what it shows."""
        return ["--dev-bind", "/dev", "/dev"]

    def leaves_out(self, place: Path) -> bool:
        """Return whether a place below a mounted folder is not mounted."""
        return False

    def _system(self) -> list[str]:
        """Return the options for the system's libraries."""
        # Tells the dynamic linker of libraries elsewhere under /usr; it holds names only.
        cache = ["--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        return [*system_mounts(), *cache]


@dataclass(frozen=True)
class ImageFiles:
    """The files of an image in memory."""

    image: Image

    def options(self, stage: Path) -> list[str]:
        """As ``OwnFiles.options``."""
        folders = [*self._folders(), *_staged(stage), (self.image.snapshots, _FACTS)]
        return [*(word for source, target in folders for word in self._overlay(source, target)), *system_links()]

    def again(self) -> list[str]:
        """As ``OwnFiles.again``."""
        targets = (*(target for _, target in self._folders()), LIBRARY, CANDIDATE)
        return [*(word for target in targets for word in _bind(target, target)), *system_links()]

    def proc(self, slot: Slot, *, inside: bool) -> list[str]:
        """As ``OwnFiles.proc``: copies of a few files alone, or for a GPU's driver a real one, in part covered."""
        if slot.gpu is None:
            return _bind(_FACTS, "/proc") if inside else self._overlay(self.image.snapshots, "/proc")
        facts = _FACTS if inside else str(self.image.snapshots)
        return ["--proc", "/proc", *(word for name, path in covers() for word in _bind(f"{facts}/{name}", path))]

    def library_path(self, slot: Slot) -> str:
        """As ``OwnFiles.library_path``. Without /proc torch's helper programs do not find the libraries beside them."""
        folders = [f"{PYTHON}/lib", *(f"{target}/torch/lib" for _, target in sites() if slot.gpu is None)]
        return os.pathsep.join(folders)

    def devices(self, slot: Slot) -> list[str]:
        """As ``OwnFiles.devices``. Device files in an overlay have locks of their own."""
        if self.image.devices is None or slot.gpu is not None:
            return ["--dev-bind", "/dev", "/dev"]
        return self._overlay(self.image.devices, "/dev")

    def leaves_out(self, place: Path) -> bool:
        """As ``OwnFiles.leaves_out``: some installed packages are not in an image."""
        return is_left_out(place)

    def _folders(self) -> list[tuple[Path, str]]:
        inside = [("python", PYTHON), *((name, f"/{name}") for name in self.image.sites())]
        inside += [(f"system/{name}", f"/{name}") for name in self.image.system()]
        return [(self.image.folder / name, target) for name, target in inside]

    def _overlay(self, source: Path, target: str) -> list[str]:
        """Return the options of a read-only overlay, which must have two layers."""
        return ["--overlay-src", str(self.image.empty), "--overlay-src", str(source), "--ro-overlay", target]


def sites() -> tuple[tuple[Path, str], ...]:
    """Return the folders of installed packages with their paths inside the sandbox."""
    return tuple((folder, f"{SITE}{i or ''}") for i, folder in enumerate(site_folders()))


def _staged(stage: Path) -> list[tuple[Path, str]]:
    return [(stage / "library", LIBRARY), (stage / "candidate", CANDIDATE)]


def _bind(source: str, target: str) -> list[str]:
    return ["--ro-bind", source, target]
