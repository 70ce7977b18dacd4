"""Memory measured from outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from train.sandbox import memory


def test_a_file_system_is_measured_by_one_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The root of a sandbox that is being made changes between two looks: a host's disk is no scratch folder."""
    root = tmp_path / "root"
    root.symlink_to("/proc")
    real = os.statvfs

    def later(path: int | str) -> os.statvfs_result:
        root.unlink()
        root.symlink_to("/usr")
        return real(path)

    monkeypatch.setattr(os, "statvfs", later)
    device, used = memory.usage(str(root))
    assert (device, used) == (os.stat("/proc").st_dev, 0)
