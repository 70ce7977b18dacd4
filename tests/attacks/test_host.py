"""The look at the host after each attack sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from host import Host

from train.sandbox import owner


def test_nothing_done_is_untouched(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("as it was")
    host = Host(None, tmp_path)
    with host.watching():
        subprocess.run(["sleep", "0.3"], check=True)
    assert host.seen
    host.untouched()


@pytest.mark.slow
def test_a_process_that_is_left_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.PATIENCE", 0.1)
    host = Host(None)
    process = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(AssertionError, match="sleep"):
            host.untouched()
    finally:
        process.kill()
        process.wait()
    host.untouched()


@pytest.mark.parametrize("change", ["write", "add", "remove", "variable", "folder"])
def test_a_change_is_seen(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, stage = tmp_path / "texts" / "text", tmp_path / f"treewright-{owner.tag()}-x"
    text.parent.mkdir()
    text.write_text("as it was")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    host = Host(None, text.parent)
    changes = {
        "write": lambda: text.write_text("another"),
        "add": lambda: text.with_name("more").write_text(""),
        "remove": text.unlink,
        "variable": lambda: monkeypatch.setitem(os.environ, "PATH", "/somewhere"),
        "folder": stage.mkdir,
    }
    changes[change]()
    with pytest.raises(AssertionError):
        host.untouched()
