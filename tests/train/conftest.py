"""Fixtures of the tests of sandboxes: an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from train.sandbox.environment import site_folders

HOUSE = Path(__file__).resolve().parents[2]


def reachable(path: Path) -> bool:
    """Anybody may go there."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.is_dir())


@pytest.fixture
def commoner() -> Iterator[tuple[Path, Path]]:
    """A copy of our packages and an interpreter, both open to a user that owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("the other tests are run as an ordinary user already")
    interpreter = Path("/usr/bin") / f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = site_folders()[0]
    if not interpreter.exists() or not reachable(site):
        pytest.skip(f"needs {interpreter}, and {site} to be open to everybody")
    folder = Path(tempfile.mkdtemp(prefix="treewright-commoner-"))
    try:
        subprocess.run([interpreter, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        packages = folder / "venv/lib" / interpreter.name / "site-packages"
        packages.rmdir()
        packages.symlink_to(site)
        for name in ("prepare", "train", "archive", "tests/train/candidates"):
            shutil.copytree(HOUSE / name, folder / "house" / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("tests/conftest.py", "tests/support/composing.py"):
            shutil.copy(HOUSE / name, folder / "house/tests")
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        yield folder / "house", folder / "venv/bin/python"
    finally:
        shutil.rmtree(folder)
