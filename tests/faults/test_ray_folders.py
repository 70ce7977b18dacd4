"""A task that is a folder, searched on a Ray cluster: the workers read the folder where the search found it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import run, sql
from ray_nodes import RayNodes

pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.xdist_group("ray")]


@pytest.fixture
def nodes(cluster: RayNodes) -> Iterator[RayNodes]:
    with cluster.having(1, gpus=0):
        yield cluster


def test_a_folder_is_searched_on_two_slots(tmp_path: Path, nodes: RayNodes) -> None:
    made = run([sys.executable, "-m", "search", "new", "packing"], tmp_path, timeout=250)
    assert made.returncode == 0, made.stderr
    words = [
        "task=./packing", "operators=tune", "budget.evaluations=6", "executor=ray", f"executor.address={nodes.address}",
        "executor.slots=2",
    ]  # fmt: skip
    done = run([sys.executable, "-m", "search", *words], tmp_path, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = sql(tmp_path / "treewright.duckdb", "SELECT outcome, trust, device, sandbox, fingerprint FROM evaluations")
    assert len(rows) == 6, done.stdout
    assert {row["trust"] for row in rows} == {"verified"}
    assert all(row["device"].startswith("cpu@") for row in rows)
    assert len({row["fingerprint"] for row in rows}) == 1
    assert "scored" in {row["outcome"] for row in rows}
