"""Descendants are found through forks and threads, as psutil finds them; what is no descendant is not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import psutil
import pytest

from train.sandbox.process_tree import descendants

TREE = """
import subprocess, sys, threading, time
def child(depth):
    code = sys.argv[1] if depth else "import time; time.sleep(60)"
    subprocess.Popen([sys.executable, "-c", code, "import time; time.sleep(60)"])
child(0)
thread = threading.Thread(target=child, args=(1,)); thread.start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def tree():
    """A process with a child of its own, and one started by another of its threads that has a child, too."""
    inner = 'import subprocess, sys, time; subprocess.Popen([sys.executable, "-c", sys.argv[1]]); time.sleep(60)'
    process = subprocess.Popen([sys.executable, "-c", TREE, inner], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    everything = psutil.Process(process.pid)
    while len(everything.children(recursive=True)) < 3:
        assert process.poll() is None
    yield everything
    for each in [*everything.children(recursive=True), everything]:
        each.kill()
    process.communicate()


def test_all_descendants_are_found(tree: psutil.Process) -> None:
    found = {each.pid for each in descendants(tree)}
    assert found == {each.pid for each in tree.children(recursive=True)}
    assert len(found) == 3
    assert os.getpid() not in found


def test_a_process_that_is_gone_has_none() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    known = psutil.Process(process.pid)
    process.wait()
    with contextlib.suppress(psutil.NoSuchProcess):
        assert descendants(known) == []


def test_without_the_kernels_lists_all_processes_are_looked_at(
    tree: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert len(descendants(tree)) == 3
