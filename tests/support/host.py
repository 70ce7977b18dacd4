"""What an evaluation may not change outside its sandbox: checked in a tenth of a second after each attack."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from launching import HOUSE
from ledger import STAGES, gone

from train.sandbox import owner
from train.sandbox.cgroup import MemoryGroups
from train.sandbox.environment import site_folders

_PACKAGES = ("archive", "conf", "operators", "prepare", "search", "tests/train/candidates", "train")
PATIENCE = 10.0
"""Seconds for processes to be gone."""


class Host:
    """The state of this machine before an evaluation. Evaluate ``with host.watching()``, then call ``untouched()``."""

    def __init__(self, groups: MemoryGroups | None, *folders: Path) -> None:
        """``folders``: whose files must stay as they are, beside our own packages."""
        self._groups = groups
        self._folders = (*folders, *(HOUSE / name for name in _PACKAGES))
        self._before = self._children()
        self._stages = self._staged()
        self._files = self._digests()
        self._environment = self._variables()
        self.seen: dict[int, psutil.Process] = {}
        """Processes of the evaluation, as far as they were seen."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the processes below this one, five times a second."""
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.2):
            self._look()

    def _look(self) -> None:
        self.seen |= {number: each for number, each in self._children().items() if number not in self._before}

    def untouched(self) -> None:
        """No process of it, no folder, no memory group; files and environment as before."""
        self._look()
        gone(list(self.seen.values()), PATIENCE)
        assert self._staged() <= self._stages
        if self._groups is not None:
            assert list(self._groups.base.glob(f"treewright-{owner.tag()}-*")) == []
        changed = {path for path, digest in self._digests().items() ^ self._files.items()}
        assert changed == set()
        assert self._variables() == self._environment

    @staticmethod
    def _staged() -> set[Path]:
        return {
            each
            for folder in (Path(tempfile.gettempdir()), STAGES)
            for each in folder.glob(f"treewright-{owner.tag()}-*")
        }

    @staticmethod
    def _children() -> dict[int, psutil.Process]:
        return {each.pid: each for each in psutil.Process().children(recursive=True)}

    def _digests(self) -> dict[Path, str]:
        paths = [path for folder in self._folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
        paths += [path for folder in site_folders() for path in folder.glob("*.p*")]  # hooks: *.pth, *.py
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}

    @staticmethod
    def _variables() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
