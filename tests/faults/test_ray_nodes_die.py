"""Searches on a real Ray cluster of two nodes and four pretended GPUs: what dies, and what is left of it."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from launching import STUB, command, environment
from ledger import evaluations, family, finished, gone, rows, settled
from ray_nodes import MODULES, RayNodes
from underway import until

pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.xdist_group("ray")]

SLOTS = 4
PATIENCE = 180


@pytest.fixture(scope="module")
def nodes(cluster: RayNodes) -> Iterator[RayNodes]:
    with cluster.having(2):
        yield cluster


class Driver:
    """``python -m search`` on the cluster, in a process of its own."""

    def __init__(self, folder: Path, nodes: RayNodes, *words: str, run: str = "night") -> None:
        self.archive, self.diary = folder / "treewright.duckdb", folder / "diary"
        typed = (f"run={run}", "operators=numeric", "executor=pretended", f"executor.address={nodes.address}")
        stub = (f"evaluator.diary={self.diary}", *words)
        self.output = folder / f"output-{time.monotonic_ns()}"
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                command(*STUB, *typed, *stub, stub=False),
                cwd=folder,
                env={**environment(), "PYTHONPATH": MODULES},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def told(self) -> str:
        return self.output.read_text()

    @property
    def landed(self) -> int:
        return len(re.findall(r"^\[ *\d+", self.told, flags=re.MULTILINE))

    def until_landed(self, count: int) -> None:
        until(lambda: self.landed >= count or self.process.poll() is not None, PATIENCE)
        assert self.process.poll() is None, self.told

    def end(self) -> int:
        try:
            return self.process.wait(timeout=PATIENCE)
        finally:
            self.kill()

    def kill(self) -> None:
        for process in family(self.pid):
            process.kill()
        self.process.wait()


def lost(archive: Path) -> list[tuple[Any, ...]]:
    return rows(archive, "SELECT node_id, seed, reason FROM evaluations WHERE outcome = 'lost'")


def test_a_hundred_candidates_and_a_node_that_dies_in_the_middle(tmp_path: Path, nodes: RayNodes) -> None:
    """What it was doing runs again elsewhere, nothing is doubled, and a new node takes its place."""
    driver = Driver(tmp_path, nodes, "budget.evaluations=100", "evaluator.delay=0.5")
    try:
        driver.until_landed(10)
        assert len(nodes.workers()) == SLOTS
        nodes.kill(nodes.nodes.pop())
        driver.until_landed(25)
        nodes.nodes.append(nodes.add())
        until(lambda: len(nodes.workers()) == SLOTS or driver.process.poll() is not None, PATIENCE)
        assert driver.process.poll() is None, driver.told
        assert driver.end() == 0, driver.told
    finally:
        driver.kill()
    assert len(evaluations(driver.archive)) == 100
    settled(driver.archive)
    given_up = lost(driver.archive)
    assert 1 <= len(given_up) <= 2, "what ran on the node, and nothing else"
    assert all("the Ray worker on" in reason for *_, reason in given_up)
    trained = finished(driver.diary)
    assert len(set(trained)) == 100
    assert len(trained) - 100 <= len(given_up), "only what was lost was trained again"
    devices = rows(driver.archive, "SELECT DISTINCT device FROM evaluations")
    assert all(re.fullmatch(r"cuda:[01]@\S+", device) for (device,) in devices)
    nodes.workers_gone()


def test_a_killed_driver_leaves_no_host_and_its_run_goes_on(tmp_path: Path, nodes: RayNodes) -> None:
    words = ("budget.evaluations=60", "evaluator.delay=0.3")
    driver = Driver(tmp_path, nodes, *words)
    try:
        driver.until_landed(15)
        assert len(nodes.workers()) == SLOTS
        driver.process.send_signal(signal.SIGKILL)
        driver.process.wait()
        nodes.workers_gone()
        known = evaluations(driver.archive)
        assert len(known) >= 14
        assert known <= set(finished(driver.diary))
        driver = Driver(tmp_path, nodes, *words)
        assert driver.end() == 0, driver.told
        assert "Resuming run 'night'" in driver.told
    finally:
        driver.kill()
    assert known <= evaluations(driver.archive)
    assert len(evaluations(driver.archive)) == 60
    settled(driver.archive)
    trained = finished(driver.diary)
    assert len(trained) - len(set(trained)) <= SLOTS, "trained again only what was in flight"
    nodes.workers_gone()


def test_ctrl_c_keeps_what_has_ended_and_leaves_no_host(tmp_path: Path, nodes: RayNodes) -> None:
    driver = Driver(tmp_path, nodes, "budget.evaluations=500", "evaluator.delay=0.5")
    try:
        driver.until_landed(8)
        driver.process.send_signal(signal.SIGINT)
        assert driver.end() == 130, driver.told
    finally:
        driver.kill()
    assert "Stopped. All finished evaluations are in the archive" in driver.told
    assert lost(driver.archive) == []
    assert len(evaluations(driver.archive)) >= 8
    nodes.workers_gone()


def test_more_slots_than_there_are_is_refused_before_anything_is_written(tmp_path: Path, nodes: RayNodes) -> None:
    driver = Driver(tmp_path, nodes, "executor.slots=5")
    assert driver.end() == 1
    assert "error: the Ray cluster has room for 4 of 5 slots with 1 GPU and 1 core each" in driver.told
    assert "use executor.slots=4" in driver.told
    assert "Traceback" not in driver.told
    assert not driver.archive.exists()


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_head_that_dies_ends_the_search_and_all_hosts(tmp_path: Path) -> None:
    """With clusters of its own, since it breaks the first."""
    with RayNodes() as nodes:
        driver = Driver(tmp_path, nodes, "budget.evaluations=500", "evaluator.delay=1.0")
        try:
            driver.until_landed(6)
            hosts = nodes.workers()
            assert len(hosts) == SLOTS
            nodes.kill_head()
            assert driver.end() == 1, driver.told
        finally:
            driver.kill()
        assert "error: the head of the Ray cluster does not answer at" in driver.told
        assert "Stopped. All finished evaluations are in the archive. Resume with:" in driver.told
        assert "Traceback" not in driver.told
        known = evaluations(driver.archive)
        assert len(known) >= 6
        gone(hosts, PATIENCE)
    with RayNodes() as nodes:
        driver = Driver(tmp_path, nodes, f"budget.evaluations={len(known) + 20}", "evaluator.delay=0.1")
        assert driver.end() == 0, driver.told
    assert known <= evaluations(driver.archive)
    assert len(evaluations(driver.archive)) == len(known) + 20
    settled(driver.archive)
