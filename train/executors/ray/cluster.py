"""A Ray cluster as it is: the connection, what its nodes have, and how many evaluations fit on them.

Ray waits for ever for what no node can give. So the nodes are asked first, and what does not fit is refused with what
is there. Nothing here starts a cluster: it is joined where it runs (``ray start``, see docs/slurm.md).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from train.executors.base import ExecutorError

_REACH_SECONDS = 5.0
_ANSWER_SECONDS = 30.0  # for a process of Ray to start and to import torch
_INSTALL = "pip install 'treewright[ray]'"


def ray_package() -> Any:
    """The package ``ray``. Raises ExecutorError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a search is reported to anybody
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # 20 tries at half a minute each, to join what is no head
    try:
        import ray
    except ImportError as error:
        raise ExecutorError(
            f"executor=ray needs the package ray, and it cannot be imported ({error}): {_INSTALL}"
        ) from error
    return ray


@dataclass(frozen=True)
class NodeFacts:
    """A living node of the cluster, and all that it was started with."""

    node_id: str
    name: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Demand:
    """What one evaluation gets: whole GPUs (0 or 1) and cores, reserved for it on one node."""

    gpus: int
    cpus: int

    def room(self, node: NodeFacts) -> int:
        """How many evaluations fit on an empty node at a time."""
        by_cpu = int(node.cpus // self.cpus)
        return min(by_cpu, int(node.gpus)) if self.gpus else by_cpu

    @property
    def words(self) -> str:
        cores = f"{self.cpus} core{'s' if self.cpus > 1 else ''}"
        return f"1 GPU and {cores}" if self.gpus else cores


def connect(address: str) -> None:
    """Join the cluster, if this process has not yet. Raises ExecutorError."""
    ray = ray_package()
    if ray.is_initialized():
        here = head_address()  # a machine has many names, and a cluster one port
        if address != "auto" and address.rpartition(":")[2] != here.rpartition(":")[2]:
            raise ExecutorError(
                f"executor.address is {address!r}, and this process has joined the Ray cluster {here} before: "
                "one process works on one cluster"
            )
        return
    if address == "local" or address.startswith("ray://"):
        raise ExecutorError(
            f"executor.address is {address!r}; expected 'auto' or the HOST:PORT of a running cluster. The search is "
            "the driver: start it on a machine of the cluster (`ray start --address=HOST:PORT` makes it one)"
        )
    there = _automatic() if address == "auto" else address
    if there is not None and (problem := unreachable(there)) is not None:
        found = "" if there == address else f", which is {there} here"
        raise ExecutorError(f"no Ray cluster answers at executor.address={address}{found} ({problem}). {_START}")
    try:
        # Its own log lines are for whoever runs the cluster: they are in the files of `ray logs`.
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, configure_logging=True)
    except (ConnectionError, ValueError, RuntimeError) as error:
        told = str(error).strip().split("\n")[0]
        raise ExecutorError(
            f"the Ray cluster at executor.address={address} cannot be joined: {told} {_START}"
        ) from error


_START = (
    "Start one with `ray start --head` here and `ray start --address=HOST:PORT` on the other machines, or give the "
    "address of one that runs"
)


def _automatic() -> str | None:
    """HOST:PORT that Ray would join for ``auto``; None where it finds none, or does not tell.

    It goes by a file that a cluster leaves behind when it is killed, and would try for minutes to join the dead one.
    """
    with contextlib.suppress(ImportError, ConnectionError, OSError, ValueError):  # ray.init says it in its own words
        from ray._private.services import canonicalize_bootstrap_address

        found = canonicalize_bootstrap_address("auto")
        return None if found is None else str(found)
    return None


def unreachable(address: str) -> str | None:
    """Why nobody listens at HOST:PORT, or None if somebody does."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return "expected HOST:PORT"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:  # the last two: of no port, and of no name
        return str(error)
    return None


def head_address() -> str:
    """HOST:PORT of the cluster's head, as it is known to this process."""
    return str(ray_package().get_runtime_context().gcs_address)


def living_nodes() -> tuple[NodeFacts, ...]:
    """All nodes, also those in use by others."""
    found = []
    for node in ray_package().nodes():
        if node["Alive"]:
            resources = node["Resources"]
            name = str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])
            found.append(NodeFacts(node["NodeID"], name, resources.get("CPU", 0.0), resources.get("GPU", 0.0)))
    return tuple(sorted(found, key=lambda node: (node.name, node.node_id)))


def least_memory(nodes: Sequence[NodeFacts], ask: Callable[[], int | None]) -> int | None:
    """Bytes of the smallest GPU, one looked at on each node; None where that cannot be told.

    ``ask`` runs there. A node whose GPUs are all in use does not answer in time, and is left out.
    """
    ray = ray_package()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(ask)
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
        with contextlib.suppress(ray.exceptions.RayError):  # its node went away, or has no torch
            found.append(ray.get(reference))
    return min((memory for memory in found if memory is not None), default=None)


def demand_for(nodes: Sequence[NodeFacts], options: Mapping[str, Any]) -> Demand:
    """What an evaluation gets, by ``executor.gpus`` and ``executor.threads``. Raises ExecutorError or ValueError.

    Left open, an evaluation gets a GPU where any node has one, and its share of that node's cores; else one core.
    """
    gpus, threads = options.get("gpus"), options.get("threads")
    if gpus not in (None, 0, 1) or isinstance(gpus, bool):
        raise ValueError(
            f"executor.gpus is {gpus!r}; expected 1 (one GPU an evaluation), 0 (none), or null to let the "
            "cluster decide"
        )
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ValueError(f"executor.threads is {threads!r}; expected a positive whole number, or null")
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
    """How many evaluations at a time. Raises ExecutorError for more than fit, ValueError for no number."""
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1):
        raise ValueError(f"executor.slots is {wanted!r}; expected a positive whole number, or null for all that fit")
    room = sum(demand.room(node) for node in nodes)
    if room < (wanted or 1):
        asked = f"{wanted or 1} slot{'s' if (wanted or 1) > 1 else ''} with {demand.words} each"
        cure = f"use executor.slots={room}, " if room else ""
        raise ExecutorError(
            f"the Ray cluster has room for {room} of {asked}: {describe(nodes)}. Ray would wait for ever for the rest: "
            f"{cure}ask for less (executor.threads, executor.gpus), or add nodes"
        )
    return wanted or room


def describe(nodes: Sequence[NodeFacts]) -> str:
    """``a: 8 cores, 2 GPUs; b: 8 cores``."""
    if not nodes:
        return "it has no node"
    return "; ".join(
        f"{node.name}: {node.cpus:g} core{'s' if node.cpus != 1 else ''}"
        + (f", {node.gpus:g} GPU{'s' if node.gpus != 1 else ''}" if node.gpus else "")
        for node in nodes
    )


def end(actor: Any) -> None:
    """Kill an actor's process at once; what it has started ends with it."""
    with contextlib.suppress(Exception):  # it is gone already, or the cluster is
        ray_package().kill(actor, no_restart=True)
