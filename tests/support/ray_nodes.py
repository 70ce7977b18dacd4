"""A Ray cluster on this machine for tests: a head without slots, and nodes whose GPUs are pretended.

Everything that it starts is remembered as it is seen, so that nothing of it outlives a test, whatever dies first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import psutil
from launching import HOUSE, PATHS
from underway import until

_STORE = 80_000_000  # bytes of shared memory of each node: the least that Ray takes
MODULES = os.pathsep.join([str(HOUSE / "tests" / "support"), PATHS])
"""Where the processes of the cluster find the stub evaluator and the pretending workers."""


class RayNodes:
    """Use as a context manager."""

    def __init__(self, nodes: int = 2, cpus: int = 2, gpus: int = 2) -> None:
        from ray.cluster_utils import Cluster

        self._before = {name: os.environ.get(name) for name in ("PYTHONPATH", "RAY_USAGE_STATS_ENABLED")}
        os.environ |= {"PYTHONPATH": MODULES, "RAY_USAGE_STATS_ENABLED": "0"}
        self._others = set(psutil.Process().children(recursive=True))  # another cluster's, which this must not end
        self.seen: dict[int, psutil.Process] = {}
        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, "object_store_memory": _STORE}
        self._cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.add(cpus, gpus) for _ in range(nodes)]
        self.look()

    def __enter__(self) -> RayNodes:
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        try:
            self.look()
            ray.shutdown()
            self._cluster.shutdown()
        finally:
            for process in self.seen.values():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            for name, value in self._before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, cpus: int = 2, gpus: int = 2, **variables: str) -> Any:
        """A node more, with ``variables`` in the environment of its processes."""
        return self._cluster.add_node(
            num_cpus=cpus, num_gpus=gpus, object_store_memory=_STORE, env_vars=variables or None
        )

    def kill(self, node: Any) -> None:
        """As a machine dies: all at once."""
        self.look()
        self._cluster.remove_node(node, allow_graceful=False)

    @contextlib.contextmanager
    def having(self, nodes: int, cpus: int = 2, gpus: int = 2) -> Iterator[None]:
        """So many nodes, which are removed in the end, and gone from Ray's own list; this process leaves it."""
        import ray

        self.nodes = [self.add(cpus, gpus) for _ in range(nodes)]
        try:
            yield
        finally:
            ray.shutdown()
            while self.nodes:
                self.kill(self.nodes.pop())
            self._cluster.wait_for_nodes()

    def kill_head(self) -> None:
        self.look()
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    def look(self) -> None:
        """Remember the processes that there are now."""
        for child in set(psutil.Process().children(recursive=True)) - self._others:
            self.seen.setdefault(child.pid, child)

    def workers(self) -> list[psutil.Process]:
        """Worker processes and their descendants."""
        self.look()
        return [process for process in self.seen.values() if _is_worker(process)]

    def workers_gone(self, seconds: float = 60.0) -> None:
        """Wait until no worker is left."""
        until(lambda: self.workers() == [], seconds)


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "PretendedWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False
