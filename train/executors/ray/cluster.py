"""Connection to a running Ray cluster, its nodes, and how many evaluations fit on them.

Ray waits forever for resources that no node has, so requests are checked against the nodes first, and refused with the
available resources named. Nothing here starts a cluster (``ray start``, see docs/slurm.md).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prepare.output import many
from train.executors.base import ExecutorError

_REACH_SECONDS = 5.0
_ANSWER_SECONDS = 30.0  # for a Ray process to start and to import torch
_INSTALL = "pip install 'treewright[ray]'"


def ray_package() -> Any:
    """Import and return the package ``ray``. Raises ExecutorError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # default 20, half a minute each, on a wrong address
    # Under `uv run` Ray would upload the working folder; every node has this package and needs no other file.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError as error:
        raise ExecutorError(
            f"executor=ray needs the package ray, which cannot be imported ({error}): {_INSTALL}"
        ) from error
    return ray


@dataclass(frozen=True)
class NodeFacts:
    """A living node of the cluster, with the resources it was started with."""

    node_id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Demand:
    """Resources of one evaluation, reserved on one node: whole GPUs (0 or 1) and cores."""

    gpus: int
    cpus: int

    def capacity(self, node: NodeFacts) -> int:
        """Return how many evaluations fit on an empty node at a time."""
        by_cpu = int(node.cpus // self.cpus)
        return min(by_cpu, int(node.gpus)) if self.gpus else by_cpu

    @property
    def text(self) -> str:
        cores = many(self.cpus, "core")
        return f"1 GPU and {cores}" if self.gpus else cores


def connect(address: str) -> None:
    """Join the cluster unless this process has joined it. Raises ExecutorError."""
    ray = ray_package()
    if ray.is_initialized():
        here = head_address()  # compared by port: a machine has several names, a cluster one port
        if address != "auto" and address.rpartition(":")[2] != here.rpartition(":")[2]:
            raise ExecutorError(
                f"executor.address is {address!r}, and this process has joined the Ray cluster {here} before: "
                "a process can use one cluster only"
            )
        return
    if address == "local" or address.startswith("ray://"):
        raise ExecutorError(
            f"executor.address is {address!r}; expected 'auto' or the HOST:PORT of a running cluster. The search is "
            "the driver: start it on a machine of the cluster (`ray start --address=HOST:PORT` makes it one)"
        )
    there = _auto_address() if address == "auto" else address
    if there is not None and (problem := connection_problem(there)) is not None:
        found = "" if there == address else f", which is {there} here"
        raise ExecutorError(f"no Ray cluster answers at executor.address={address}{found} ({problem}). {_START}")
    try:
        # Ray's log lines are for the cluster's operator, who finds them with `ray logs`.
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        error_line = str(error).strip().split("\n")[0]
        raise ExecutorError(
            f"the Ray cluster at executor.address={address} cannot be joined: {error_line} {_START}"
        ) from error


_START = (
    "Start one with `ray start --head` here and `ray start --address=HOST:PORT` on the other machines, or give the "
    "address of one that runs"
)


def _auto_address() -> str | None:
    """Return the HOST:PORT that Ray would join for ``auto``; None if it finds none.

    Ray trusts a file that a killed cluster leaves behind, and would try for minutes to join it.
    """
    with contextlib.suppress(ImportError, ConnectionError, OSError, ValueError):  # ray.init reports these itself
        from ray._private.services import canonicalize_bootstrap_address

        found = canonicalize_bootstrap_address("auto")
        return None if found is None else str(found)
    return None


def connection_problem(address: str) -> str | None:
    """Return why HOST:PORT does not accept connections, or None if it does."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return "expected HOST:PORT"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: invalid port, invalid host name
        return str(error)
    return None


def head_address() -> str:
    """Return HOST:PORT of the cluster's head, as known to this process."""
    return str(ray_package().get_runtime_context().gcs_address)


def living_nodes() -> tuple[NodeFacts, ...]:
    """Return all living nodes, including those in use by others."""
    found = []
    for node in ray_package().nodes():
        if node["Alive"]:
            resources = node["Resources"]
            name = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
            found.append(NodeFacts(node["NodeID"], name, resources.get("CPU", 0.0), resources.get("GPU", 0.0)))
    return tuple(sorted(found, key=lambda node: (node.name, node.node_id)))


def smallest_gpu_memory(nodes: Sequence[NodeFacts], probe: Callable[[], int | None]) -> int | None:
    """Return the bytes of the smallest GPU, probing one per node; None if unknown.

    ``probe`` runs on the node. A node whose GPUs are all in use does not answer in time and is left out.
    """
    ray = ray_package()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(probe)
    asked = [
        task.options(
            num_gpus=1,
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, False),
        ).remote()
        for node in nodes
        if node.gpus >= 1
    ]
    answered, late = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_SECONDS) if asked else ([], [])
    for reference in late:
        ray.cancel(reference, force=True)
    found = []
    for reference in answered:
        with contextlib.suppress(ray.exceptions.RayError):  # the node is gone, or has no torch
            found.append(ray.get(reference))
    return min((memory for memory in found if memory is not None), default=None)


_MOST_PATIENCE = 10**6


@dataclass(frozen=True)
class RayOptions:
    """The keys of ``executor`` in the configuration (``conf/executor/ray.yaml``). Raises ValueError for nonsense."""

    address: str | None = "auto"
    slots: int | None = None
    gpus: int | None = None
    threads: int | None = None
    hardware: str | int | None = None
    mixed: bool = False
    patience: float = 120.0

    def __post_init__(self) -> None:
        if self.gpus not in (None, 0, 1):
            raise ValueError(
                f"executor.gpus is {self.gpus!r}; expected 1 (one GPU an evaluation), 0 (none), or null to let the "
                "cluster decide"
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"executor.threads is {self.threads}; expected a positive whole number, or null")
        if self.slots is not None and self.slots < 1:
            raise ValueError(
                f"executor.slots is {self.slots}; expected a positive whole number, or null for all that fit"
            )
        if not 0 <= self.patience <= _MOST_PATIENCE:
            raise ValueError(f"executor.patience is {self.patience}; expected 0 to {_MOST_PATIENCE:,} seconds")


def demand_for(nodes: Sequence[NodeFacts], options: RayOptions) -> Demand:
    """Determine the resources of an evaluation from ``executor.gpus`` and ``executor.threads``.

    Default: a GPU if any node has one, with that node's cores divided by its GPUs; else one core.
    Raises ExecutorError or ValueError.
    """
    gpus, threads = options.gpus, options.threads
    with_gpu = [node for node in nodes if node.gpus >= 1]
    if gpus == 1 and not with_gpu:
        raise ExecutorError(
            f"executor.gpus is 1, and no node of the Ray cluster has a GPU: {describe(nodes)}. Start a node that has "
            "(`ray start --num-gpus=N` where Ray does not see them), or use executor.gpus=0"
        )
    if with_gpu and gpus != 0:
        share = min(int(node.cpus // node.gpus) for node in with_gpu)
        return Demand(1, threads or max(1, share))
    return Demand(0, threads or 1)


def slots_for(nodes: Sequence[NodeFacts], demand: Demand, wanted: int | None) -> int:
    """Return the number of concurrent evaluations. Raises ExecutorError if fewer fit."""
    capacity = sum(demand.capacity(node) for node in nodes)
    if capacity < (wanted or 1):
        asked = f"{many(wanted or 1, 'slot')} with {demand.text} each"
        cure = f"use executor.slots={capacity}, " if capacity else ""
        raise ExecutorError(
            f"the Ray cluster has room for {capacity} of {asked}: {describe(nodes)}. Ray would wait forever for the "
            f"rest: {cure}use fewer cores or no GPU (executor.threads, executor.gpus), or add nodes"
        )
    return wanted or capacity


def describe(nodes: Sequence[NodeFacts]) -> str:
    """Format nodes as ``a: 8 cores, 2 GPUs; b: 8 cores``."""
    if not nodes:
        return "it has no node"
    return "; ".join(
        f"{node.name}: {node.cpus:g} core{'s' if node.cpus != 1 else ''}"
        + (f", {node.gpus:g} GPU{'s' if node.gpus != 1 else ''}" if node.gpus else "")
        for node in nodes
    )


def kill_actor(actor: Any) -> None:
    """Kill an actor's process at once; its child processes end with it."""
    with contextlib.suppress(Exception):  # the actor or the cluster is gone already
        ray_package().kill(actor, no_restart=True)
