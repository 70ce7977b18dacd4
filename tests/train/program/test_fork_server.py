"""Workers that a fork server forks into sandboxes. These tests launch sandboxes: what they are shows only there."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from scorers import task_of
from underway import shared_and_writable

from archive.records import Request, Scored
from train.hardware.slots import make_slots
from train.program.evaluator import ProgramEvaluator
from train.sandbox.base import Bubblewrap, Sandbox, find_sandbox
from train.sandbox.cgroup import find_groups
from train.sandbox.confine.forks import serve_forks
from train.sandbox.factory import SandboxLauncher
from train.sandbox.process import SandboxProcess

(SLOT,) = make_slots(1)
SEED = """
import os, random, sys
import numpy
def answer():
    found = [os.getppid(), os.getcwd(), sorted(os.environ.items()), sys.argv[6:], sys.executable]
    return found, [random.random(), numpy.random.random(), numpy.random.default_rng().random()]
"""
SCORER = """
import json, prepare
def score(candidate, case):
    return prepare.Score(1.0, certificate=json.dumps(candidate.call("answer")))
"""
STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "SigIgn")
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


@pytest.fixture
def launcher(tmp_path: Path, best_sandbox: Sandbox) -> Iterator[SandboxLauncher]:  # type: ignore[type-arg]
    """Launches sandboxes of a program; its fork server is running."""
    if not (isinstance(best_sandbox, Bubblewrap) and best_sandbox.forks(SLOT) and find_groups() is not None):
        pytest.skip("no worker is forked here: it takes root, memory groups and an image of files in memory")
    evaluator = ProgramEvaluator(task_of(tmp_path / "task", SCORER, seed=SEED), best_sandbox)
    evaluator._host._forks.start(SLOT)
    yield evaluator._host._launcher(SLOT)
    evaluator.release(SLOT)


def ready(launcher: SandboxLauncher, forked: bool) -> SandboxProcess:  # type: ignore[type-arg]
    """A sandbox whose worker is confined."""
    by = launcher if forked else replace(launcher, forks=None)
    process = by.launch("a sandbox", threading.Event())
    by.greet(process, {}, time.monotonic() + 60)
    process.receive(deadline=time.monotonic() + 60, max_payload=0, late="late")
    return process


def worker_of(process: SandboxProcess) -> psutil.Process:
    """The process that runs the candidate: in the innermost process namespace, and not the first one there."""
    assert process._monitor.group is not None
    inside = [psutil.Process(number) for number in process._monitor.group.processes()]
    return max(inside, key=lambda each: (len(status(each)["NSpid"].split()), each.name().startswith("python")))


def status(process: psutil.Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def seen_from_outside(process: psutil.Process) -> dict[str, object]:
    """What the kernel lets a process do, and what it has."""
    folder = Path(f"/proc/{process.pid}")
    facts = status(process)
    mounts = [line.split() for line in (folder / "mountinfo").read_text().splitlines()]
    return {
        **{name: facts[name] for name in STATUS},
        "levels": len(facts["NSpid"].split()),
        "limits": (folder / "limits").read_text(),
        "mounts": [(words[4], words[5]) for words in mounts],
        "open": sorted(os.readlink(each).partition(":")[0] for each in (folder / "fd").iterdir()),
        "oom": (folder / "oom_score_adj").read_text(),
        "cores": process.cpu_affinity(),
        "own": [os.readlink(folder / f"ns/{name}") != os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES],
    }


def test_a_forked_worker_is_confined_as_one_that_bubblewrap_has_started(
    launcher: SandboxLauncher,  # type: ignore[type-arg]
) -> None:
    with ready(launcher, forked=False) as started, ready(launcher, forked=True) as forked:
        expected, found = seen_from_outside(worker_of(started)), seen_from_outside(worker_of(forked))
        assert worker_of(forked).ppid() != worker_of(started).ppid()
        assert found == expected
        assert found["own"] == [True] * len(NAMESPACES)
        assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == "0" * 16
        assert os.getsid(worker_of(forked).pid) == worker_of(forked).pid  # no terminal
        assert found["open"] == ["/dev/null", "pipe", "pipe", "socket"]


def test_a_server_shares_no_memory_that_its_workers_can_write(launcher: SandboxLauncher) -> None:  # type: ignore[type-arg]
    """One such page would be a way from each worker to all later ones."""
    assert launcher.forks is not None
    assert launcher.forks.fork(SLOT) is not None
    server, _stage = launcher.forks._running[SLOT.index]
    assert shared_and_writable(psutil.Process(server._process.pid)) == []


def test_two_forked_workers_share_no_namespace_and_end_alone(
    launcher: SandboxLauncher,  # type: ignore[type-arg]
) -> None:
    with ready(launcher, forked=True) as one, ready(launcher, forked=True) as other:
        inside = worker_of(one), worker_of(other)
        for name in NAMESPACES:
            assert len({os.readlink(f"/proc/{each.pid}/ns/{name}") for each in inside}) == 2
        one.kill()
        assert [each.is_running() for each in inside] == [False, True]
        assert other.running


def test_a_candidate_finds_what_it_finds_elsewhere_and_draws_other_numbers(tmp_path: Path, launcher: object) -> None:
    evaluator = ProgramEvaluator(task_of(tmp_path / "two", SCORER, seed=SEED), find_sandbox("auto"))

    def found(number: int, parent: int) -> tuple[object, list[float]]:
        request = Request(f"n{number}", "r", number, {"main.py": SEED}, 1, "screen")
        scored = evaluator.evaluate(request, SLOT, threading.Event(), lambda *_: None)
        assert isinstance(scored, Scored), scored
        assert scored.certificate is not None
        seen, drawn = json.loads(json.loads(scored.certificate))
        assert seen[0] == parent, "0: its parent is outside of the sandbox"
        return seen[1:], drawn

    started = found(1, parent=1)
    evaluator._host._forks.start(SLOT)
    one, other = found(2, parent=0), found(3, parent=0)
    evaluator.release(SLOT)
    assert one[0] == other[0] == started[0]
    assert len({*one[1], *other[1]}) == 6


def test_where_a_server_ends_workers_are_started(launcher: SandboxLauncher) -> None:  # type: ignore[type-arg]
    assert launcher.forks is not None
    launcher.forks._running[SLOT.index][0]._control.shutdown(socket.SHUT_RDWR)
    with ready(launcher, forked=True) as process:
        assert status(worker_of(process))["NSpid"]
    assert launcher.forks.fork(SLOT) is None


def test_a_server_whose_search_is_killed_ends_while_it_imports() -> None:
    """In a process of its own, which the signal ends."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    if (child := os.fork()) == 0:
        ours.close()
        serve_forks(theirs.fileno(), lambda: theirs.send(b"importing") and time.sleep(600))
    theirs.close()
    ours.recv(9)
    ours.close()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGIO
