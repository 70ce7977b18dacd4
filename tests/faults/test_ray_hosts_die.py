"""Hosts of a real Ray cluster: real sandboxes inside them, and nodes of different hardware."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from launching import HOUSE, toy_conf
from ledger import gone
from pretending import HARDWARE, PretendedRay
from ray_nodes import RayNodes
from underway import until

from archive.records import Evaluation, Failed, Request, Scored
from prepare.load import task_from
from search import factory, settings
from search.config import Config
from train.executors.base import ExecutorError, evaluator_from
from train.executors.ray.executor import RayExecutor
from train.sandbox.base import find_sandbox

pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.xdist_group("ray")]

CANDIDATES = HOUSE / "tests" / "train" / "candidates"
PATIENCE = 180.0


@pytest.fixture
def nodes(cluster: RayNodes) -> Iterator[RayNodes]:
    with cluster.having(1, gpus=0):
        yield cluster


def request(name: str, source: str) -> Request:
    return Request(name, "run", 0, {"train.py": source}, 11, "screen")


def landed(executor: RayExecutor, count: int = 1) -> list[Evaluation]:
    found: list[Evaluation] = []
    until(lambda: len(found) >= count or found.extend(executor.wait(0.5)), PATIENCE)
    return found


def made(config: Config, kind: type[RayExecutor]) -> RayExecutor:
    task = task_from(config.task)
    task.prepare()
    evaluator = evaluator_from(config.evaluator, task, find_sandbox(config.sandbox))
    return kind.of(config.execution, evaluator, kind.find_slots(config.executor.options))


def test_candidates_run_in_our_sandboxes_there_and_end_with_their_host(
    tmp_path: Path, nodes: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREEWRIGHT_CACHE", str(tmp_path / "cache"))
    overrides = ["task=toy", "executor=ray", f"executor.address={nodes.address}", "executor.slots=1"]
    config = settings.config_for(overrides, factory.device_for, str(toy_conf(tmp_path)))
    with made(config, RayExecutor) as executor:
        executor.submit(request("honest", (CANDIDATES / "bigram.py").read_text()))
        (scored,) = landed(executor)
        assert isinstance(scored, Scored), scored
        assert (scored.trust, scored.conditions) == ("audited", executor.conditions)
        assert scored.sandbox in ("bwrap", "landlock")
        assert scored.device.startswith("cpu@")
        assert "x1 thread / torch" in scored.conditions.hardware

        executor.submit(request("sleeper", (CANDIDATES / "never_starts.py").read_text()))
        until(lambda: len(sandboxes(nodes)) >= 2, PATIENCE)
        processes = sandboxes(nodes)
        (worker,) = {process.parent() for process in processes if process.parent() not in processes}
        assert worker is not None
        worker.send_signal(signal.SIGKILL)
        gone(processes)
        (lost,) = landed(executor)
        assert isinstance(lost, Failed)
        assert (lost.outcome, lost.request.node_id) == ("lost", "sleeper")
        assert "the Ray worker on" in lost.reason

        executor.submit(request("again", (CANDIDATES / "bigram.py").read_text()))
        assert [each.outcome for each in landed(executor)] == ["scored"], "another worker has taken its place"
    until(lambda: sandboxes(nodes) == [], PATIENCE)


def sandboxes(nodes: RayNodes) -> list[psutil.Process]:
    """Return the processes that the workers of the cluster have started."""
    nodes.look()
    found = []
    for process in nodes.seen.values():
        try:
            if "ray::Worker" in " ".join(process.cmdline()):
                found += process.children(recursive=True)
        except psutil.Error:
            continue
    return [process for process in found if process.is_running()]


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_nodes_of_different_hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused; one chosen, and only its nodes used even when a host is lost; or compared all the same."""
    monkeypatch.syspath_prepend(str(HOUSE / "tests" / "search"))
    with RayNodes(nodes=0) as nodes:
        nodes.add(cpus=2, gpus=1, **{HARDWARE: "H100"})
        nodes.add(cpus=2, gpus=2, **{HARDWARE: "A100"})
        words = ["executor=ray", f"executor.address={nodes.address}", "sandbox=none", "task.seconds=0.01"]
        stub = {"_target_": "stub_evaluator.StubEvaluator", "delay": 1.0}
        config = settings.config_for(words, "cpu", evaluator=stub)
        with pytest.raises(ExecutorError, match=r"2 slots of 'A100'; 1 slot of 'H100'\. Scores of different hardware"):
            made(config, PretendedRay)
        until(lambda: nodes.workers() == [])

        config = config.changed(executor={**config.executor.plain, "hardware": "H1"})
        source = factory.seed_files(task_from(config.task))["train.py"]
        with made(config, PretendedRay) as executor:
            assert (executor.free, executor.conditions.hardware) == (1, "H100")
            executor.submit(request("a", source))
            until(lambda: len(nodes.workers()) == 1)  # those that were sent away have gone
            (worker,) = nodes.workers()
            os.kill(worker.pid, signal.SIGKILL)
            assert [each.outcome for each in landed(executor)] == ["lost"]
            executor.submit(request("a", source))
            (scored,) = landed(executor)
            assert (scored.outcome, scored.conditions.hardware) == ("scored", "H100")

        config = config.changed(executor={**config.executor.plain, "hardware": None, "mixed": True})
        with made(config, PretendedRay) as executor:
            for name in "abc":
                executor.submit(request(name, source))
            found = landed(executor, 3)
        assert {each.conditions for each in found} == {executor.conditions}
        assert sorted(each.device.partition(" ")[2] for each in found) == ["(A100)", "(A100)", "(H100)"]
