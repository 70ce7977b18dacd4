"""What a Ray cluster has room for, and how one is joined: what does not fit and cannot be joined is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from launching import HOUSE, run

from prepare.config import typed
from train.executors.base import ExecutorError
from train.executors.ray import cluster
from train.executors.ray.cluster import (
    Demand,
    NodeFacts,
    RayOptions,
    connect,
    connection_problem,
    demand_for,
    slots_for,
)

NODES = (NodeFacts("1", "a", 8, 2), NodeFacts("2", "b", 8, 2), NodeFacts("3", "head", 4, 0))


@pytest.mark.parametrize(
    ("options", "demand", "slots"),
    [
        ({}, Demand(1, 4), 4),
        ({"threads": 8}, Demand(1, 8), 2),
        ({"gpus": 0}, Demand(0, 1), 20),
        ({"gpus": 0, "threads": 4, "slots": 3}, Demand(0, 4), 3),
        ({"gpus": 1, "slots": 1}, Demand(1, 4), 1),
    ],
)
def test_what_fits_is_counted(options: dict[str, Any], demand: Demand, slots: int) -> None:
    asked = typed(RayOptions, options, "executor")
    assert demand_for(NODES, asked) == demand
    assert slots_for(NODES, demand, asked.slots) == slots


@pytest.mark.parametrize(
    ("nodes", "options", "error", "words"),
    [
        (
            NODES,
            {"slots": 5},
            ExecutorError,
            r"room for 4 of 5 slots with 1 GPU and 4 cores each: a: 8 cores, 2 GPUs; ",
        ),
        (NODES, {"slots": 5}, ExecutorError, r"Ray would wait forever for the rest: use executor\.slots=4"),
        (NODES, {"threads": 9}, ExecutorError, r"room for 0 of 1 slot with 1 GPU and 9 cores each"),
        (NODES[2:], {"gpus": 1}, ExecutorError, r"no node of the Ray cluster has a GPU: head: 4 cores\. Start a node"),
        ((), {}, ExecutorError, r"room for 0 of 1 slot .*it has no node"),
        (NODES, {"gpus": 2}, ValueError, r"executor\.gpus is 2; expected 1"),
        (NODES, {"threads": 0}, ValueError, r"executor\.threads is 0; expected a positive"),
        (NODES, {"slots": "two"}, ValueError, r"executor\.slots is 'two'; expected a whole number"),
    ],
)
def test_what_does_not_fit_is_refused(nodes: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    def count() -> int:
        asked = typed(RayOptions, options, "executor")
        return slots_for(nodes, demand_for(nodes, asked), asked.slots)

    with pytest.raises(error, match=words):
        count()


def test_without_the_package_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r"needs the package ray.*pip install 'treewright\[ray\]'"):
        connect("auto")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("local", "expected 'auto' or the HOST:PORT"),
        ("ray://a:10001", "expected 'auto' or the HOST:PORT"),
        ("nowhere", r"\(expected HOST:PORT\)"),
        ("127.0.0.1:²", r"\(expected HOST:PORT\)"),
        ("127.0.0.1:" + "9" * 30, r"no Ray cluster answers at"),
        ("a..b:6379", r"no Ray cluster answers at executor.address=a..b:6379 "),
        ("127.0.0.1:9", r"no Ray cluster answers at executor.address=127.0.0.1:9 .*`ray start --head`"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    monkeypatch.setattr(cluster, "ray_package", lambda: SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(ExecutorError, match=words):
        connect(address)


def test_a_cluster_that_was_killed_is_not_joined_for_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It has left the file behind by which ``auto`` finds it."""
    ray = pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")

    def init(**_: object) -> None:
        raise AssertionError("Ray was left to try")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test's cluster may be joined
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("192.0.2.1:9")
    monkeypatch.setattr(cluster, "connection_problem", lambda address: f"nobody at {address}")
    with pytest.raises(
        ExecutorError, match=r"address=auto, which is 192\.0\.2\.1:9 here \(nobody at 192\.0\.2\.1:9\)\. Start"
    ):
        connect("auto")


def test_one_process_works_on_one_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ray_package", lambda: SimpleNamespace(is_initialized=lambda: True))
    monkeypatch.setattr(cluster, "head_address", lambda: "a:6379")
    connect("auto")
    connect("another-name:6379")
    with pytest.raises(ExecutorError, match=r"'a:6380', and this process has joined the Ray cluster a:6379 before"):
        connect("a:6380")


def test_a_head_is_looked_for_by_its_port() -> None:
    assert connection_problem("127.0.0.1:9") is not None


@pytest.mark.slow
def test_no_folder_is_uploaded_under_uv_run() -> None:
    """In a process of its own, since Ray reads the variable when it is imported, as it may be here already."""
    script = (
        "from train.executors.ray.cluster import ray_package; ray_package(); "
        "from ray._private import ray_constants; print(ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV)"
    )
    done = run([sys.executable, "-c", script], HOUSE)
    assert done.stdout == "False\n", done.stderr
