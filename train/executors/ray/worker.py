"""One slot on a node of a Ray cluster: an actor that holds the trusted half of the evaluations there.

It prepares the task's data once a node, makes the evaluator, and says what it is (``Ready``) or why it cannot serve
(``Refused``). Candidates run in its sandboxes as they do on a single machine. Evaluation data comes from the node's own
cache, never through Ray's object store, whose memory every process of that user can read.

Nothing outlives it: its sandboxes die with its process, and it dies with the node's raylet (``_watch_the_raylet``).
Ray itself ends it when the driver is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archive.records import Conditions, Evaluation, Request
from prepare.data.corpora import PreparationError
from prepare.load import TaskError, task_from
from train.executors.base import evaluator_from, keep_loss
from train.hardware.slots import Slot, gpu_slot, usable_cores, visible_gpus
from train.sandbox.base import SandboxUnavailable, find_sandbox
from train.sandbox.environment import HOUSE

_WATCH_SECONDS = 1.0
_OURS = ("TREEWRIGHT_CACHE", "XDG_CACHE_HOME")
"""Variables of the driver that a node takes over where it has none of its own."""


@functools.cache
def source_digest() -> str:
    """Of our own modules: a node with others would not make the same scores."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for package in ("archive", "prepare", "train"):
        for path in sorted(set((HOUSE / package).rglob("[!.]*.py")) - set((HOUSE / "train" / "seeds").glob("*.py"))):
            digest.update(f"{path.relative_to(HOUSE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class WorkerSpec:
    """What a host is made from: plain values of the resolved configuration, and where the driver is."""

    task: Mapping[str, Any]
    evaluator: Mapping[str, Any]
    sandbox: str
    gpus: int
    threads: int
    folder: str
    """The driver's current folder: relative paths of the settings are meant from there, where a node has it."""
    paths: tuple[str, ...]
    """The driver's ``sys.path``, for classes of the user's own."""
    variables: Mapping[str, str]
    digest: str
    fingerprint: str
    """Of the driver's data; see ``Conditions``."""

    @classmethod
    def of(cls, config: Mapping[str, Any], gpus: int, threads: int, fingerprint: str) -> WorkerSpec:
        return cls(
            task=config["task"],
            evaluator=config["evaluator"],
            sandbox=str(config["sandbox"]),
            gpus=gpus,
            threads=threads,
            folder=os.getcwd(),
            paths=tuple(sys.path),
            variables={name: os.environ[name] for name in _OURS if name in os.environ},
            digest=source_digest(),
            fingerprint=fingerprint,
        )


@dataclass(frozen=True)
class Ready:
    """A host that can evaluate."""

    node: str
    node_id: str
    conditions: Conditions
    tier: str
    device: str
    slot: Slot


@dataclass(frozen=True)
class Refused:
    """A host that cannot, and why."""

    node: str
    node_id: str
    reason: str


@dataclass(frozen=True)
class ProgressSnapshot:
    """How far a host's evaluation is."""

    phase: str
    share: float
    losses: tuple[tuple[float, float], ...]


class Worker:
    """The actor. Ray runs its methods in threads: one evaluates, others look and cancel."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._look = ProgressSnapshot("start", 0.0, ())
        self._cores = contextlib.ExitStack()
        self._node = platform.node()
        _watch_the_raylet()

    def prepare(self, recipe: WorkerSpec, index: int) -> Ready | Refused:
        """Make everything ready; ``index`` is the slot's number in the whole cluster."""
        try:
            return self._prepare(recipe, index)
        except (PreparationError, TaskError, SandboxUnavailable, ValueError, TypeError, OSError) as error:
            return self._refused(f"{error}")

    def evaluate(self, request: Request) -> Evaluation:
        """One evaluation, as in ``LocalExecutor``. Raises only for a mistake of ours."""
        self._look = ProgressSnapshot("start", 0.0, ())
        losses: list[tuple[float, float]] = []

        def watch(phase: str, share: float, loss: float | None = None, /) -> None:
            keep_loss(losses, share, loss)
            self._look = ProgressSnapshot(phase, share, tuple(losses))

        evaluation = self._evaluator.evaluate(request, self._slot, self._cancelled, watch)
        return replace(evaluation, device=self._device, request=replace(request, files={}))  # the driver has them

    def look(self) -> ProgressSnapshot:
        return self._look

    def cancel(self) -> None:
        """End the evaluation that runs; it is then ``lost``."""
        self._cancelled.set()

    # ------------------------------------------------------------ at the beginning

    def _prepare(self, recipe: WorkerSpec, index: int) -> Ready | Refused:
        if (found := source_digest()) != recipe.digest:
            return self._refused(
                f"Treewright or Python has another version there ({found}, the search has {recipe.digest}): install "
                "the same on all nodes",
            )
        _move_in(recipe)
        slot = self._find_slot(recipe, index)
        if slot is None:
            return self._refused(
                "Ray has given it a GPU, and torch sees none there: `python -c 'import torch; "
                "print(torch.cuda.is_available())'` on that node should say True",
            )
        task, sandbox = task_from(recipe.task), find_sandbox(recipe.sandbox)
        with _alone("prepare"):  # the first of a node prepares, the others find it done
            task.prepare()
        self._evaluator = evaluator_from(recipe.evaluator, task, sandbox)
        self._slot = slot
        conditions = self._evaluator.conditions(slot)
        if conditions.fingerprint != recipe.fingerprint:
            return self._refused(f"its data are others ({conditions.fingerprint}, the search has {recipe.fingerprint})")
        self._device = f"{_device_name(slot)}@{self._node}"
        return Ready(self._node, _node_id(), conditions, sandbox.tier, self._device, slot)

    def _refused(self, reason: str) -> Refused:
        return Refused(self._node, _node_id(), reason)

    def _find_slot(self, recipe: WorkerSpec, index: int) -> Slot | None:
        """None if there is no GPU where one was given."""
        cores = self._cores.enter_context(_cores(recipe.threads))
        if not recipe.gpus:
            return Slot(index, "cpu", None, cores, recipe.threads)
        if not visible_gpus():  # Ray shows an actor the GPU that it has, and no other
            return None
        return gpu_slot(index, 0, cores, recipe.threads)


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def gpu_memory() -> int | None:
    """Bytes of the GPU that Ray has given to this process; None where torch sees none. For a task of its own."""
    if not visible_gpus():
        return None
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def _device_name(slot: Slot) -> str:
    if slot.gpu is None:
        return slot.device
    import ray

    given = ray.get_gpu_ids()
    return f"{slot.device}:{given[0] if given else slot.gpu}"


def _move_in(recipe: WorkerSpec) -> None:
    """Be where the driver is, as far as this node has it."""
    for path in recipe.paths:
        if path not in sys.path and os.path.isdir(path):
            sys.path.append(path)
    for name, value in recipe.variables.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError):
        os.chdir(recipe.folder)


def _watch_the_raylet() -> None:
    """End this process soon after its parent, whatever Ray's own looks do and whenever they come.

    The raylet ends when its node is stopped, and a minute after the cluster's head is gone.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)  # sandboxes die with the threads that launched them

    threading.Thread(target=watch, name="raylet-watch", daemon=True).start()


# ---------------------------------------------------------------- what the hosts of a node share


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One host of this node and user at a time."""
    descriptor = _lock_file(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _cores(wanted: int) -> Iterator[tuple[int, ...]]:
    """So many cores that no other host of this node has; none at all where they do not suffice.

    Ray counts cores, and leaves it to the system where a process runs. Candidates are quieter on cores of their own.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        for core in usable_cores():
            if len(found) == wanted:
                break
            descriptor = _lock_file(f"core-{core}")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            found.append(core)
            held.callback(os.close, descriptor)
        if len(found) < wanted:
            held.close()
            found = []
        yield tuple(found)


def _lock_file(name: str) -> int:
    path = Path(tempfile.gettempdir()) / f"treewright-{os.geteuid()}-{name}.lock"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
