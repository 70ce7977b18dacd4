"""Folders in which the files of sandboxes are staged, named by the process that made them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from train.sandbox import owner
from train.sandbox.base import Sandbox

_PREFIX = "treewright-"


def new_stage(sandbox: Sandbox) -> tempfile.TemporaryDirectory[str]:
    """Create an empty staging folder, which any user can pass through; removed by ``cleanup``, at the latest at exit.

    See ``train.sandbox.base`` for what it holds.
    """
    prefix = f"{_PREFIX}{owner.tag()}-"
    folder = tempfile.TemporaryDirectory(prefix=prefix, dir=sandbox.stages, ignore_cleanup_errors=True)
    Path(folder.name).chmod(0o711)  # the sandbox's user passes through it
    return folder


def remove_stale_stages(sandbox: Sandbox) -> None:
    """Remove staging folders of processes that were killed; each folder's name identifies its process."""
    for parent in (Path(tempfile.gettempdir()), sandbox.stages):
        for folder in [] if parent is None else parent.glob(f"{_PREFIX}*-*"):
            _remove_stale(folder)


def _remove_stale(folder: Path) -> None:
    status = owner.status(folder.name.removeprefix(_PREFIX))
    if status is None or status == "alive":
        return
    with contextlib.suppress(OSError):  # removed meanwhile, or owned by another user
        facts = folder.lstat()
        # Unknown: from before a reboot or from another container with this folder. No evaluation takes a day.
        done = status == "dead" or facts.st_mtime < time.time() - 86_400
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and done:
            shutil.rmtree(folder)
