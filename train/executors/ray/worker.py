"""Ray actor that serves one slot on a node: the trusted half of its evaluations.

It prepares the task's data once per node, builds the evaluator, and reports its conditions (``Ready``) or why it cannot
serve (``Refused``). Candidates run in its sandboxes as on a single machine. Evaluation data is read from the node's own
cache, never through Ray's object store, whose memory every process of the same user can read.

Lifetime: sandboxes die with this process, this process with the node's raylet (``_exit_with_raylet``), and Ray ends it
when the driver is gone.
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

from archive.records import Conditions, Landed, Request
from prepare.config import Part
from prepare.data.corpora import PreparationError
from prepare.load import TaskError, task_from
from train.executors.base import ExecutionConfig, evaluator_from
from train.hardware.slots import Slot, gpu_slot, usable_cores, visible_gpus
from train.progress import append_loss
from train.sandbox.base import SandboxUnavailable, find_sandbox
from train.sandbox.environment import HOUSE

_WATCH_SECONDS = 1.0
_VARIABLES = ("TREEWRIGHT_CACHE", "XDG_CACHE_HOME")
"""Driver variables that a node takes over if it has none of its own."""


@functools.cache
def source_digest() -> str:
    """Hash Treewright's modules and the Python version; nodes with other ones would not make comparable scores."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for package in ("archive", "prepare", "train"):
        for path in sorted(set((HOUSE / package).rglob("[!.]*.py")) - set((HOUSE / "train" / "seeds").glob("*.py"))):
            digest.update(f"{path.relative_to(HOUSE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class WorkerSpec:
    """Everything a worker is built from: plain values of the resolved configuration, and the driver's environment."""

    task: Mapping[str, Any]
    evaluator: Mapping[str, Any]
    sandbox: str
    gpus: int
    threads: int
    folder: str
    """The driver's current folder, to which relative paths of the configuration refer, if the node has it."""
    paths: tuple[str, ...]
    """The driver's ``sys.path``, so that user-defined classes can be imported."""
    variables: Mapping[str, str]
    digest: str
    fingerprint: str
    """Fingerprint of the driver's data; see ``Conditions``."""

    @classmethod
    def of(cls, config: ExecutionConfig, gpus: int, threads: int, fingerprint: str) -> WorkerSpec:
        return cls(
            task=config.task,
            evaluator=config.evaluator.plain,
            sandbox=config.sandbox,
            gpus=gpus,
            threads=threads,
            folder=os.getcwd(),
            paths=tuple(sys.path),
            variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            digest=source_digest(),
            fingerprint=fingerprint,
        )


@dataclass(frozen=True)
class Ready:
    """Reply of a worker that can evaluate."""

    node: str
    node_id: str
    conditions: Conditions
    tier: str
    device: str
    slot: Slot


@dataclass(frozen=True)
class Refused:
    """Reply of a worker that cannot serve, with the reason."""

    node: str
    node_id: str
    reason: str


@dataclass(frozen=True)
class ProgressSnapshot:
    """Progress of a worker's current evaluation."""

    phase: str
    share: float
    losses: tuple[tuple[float, float], ...]


class Worker:
    """Actor class. Ray runs its methods in threads: one evaluates while others report progress or cancel."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._progress = ProgressSnapshot("start", 0.0, ())
        self._cores = contextlib.ExitStack()
        self._node = platform.node()
        _exit_with_raylet()

    def prepare(self, spec: WorkerSpec, index: int) -> Ready | Refused:
        """Prepare data and evaluator. ``index``: the slot's number in the whole cluster."""
        try:
            return self._prepare(spec, index)
        except (PreparationError, TaskError, SandboxUnavailable, ValueError, TypeError, OSError) as error:
            return self._refused(f"{error}")

    def evaluate(self, request: Request) -> Landed:
        """Run one evaluation, as ``LocalExecutor`` does. Raises only for bugs."""
        self._progress = ProgressSnapshot("start", 0.0, ())
        losses: list[tuple[float, float]] = []

        def on_progress(phase: str, share: float, loss: float | None = None, /) -> None:
            append_loss(losses, share, loss)
            self._progress = ProgressSnapshot(phase, share, tuple(losses))

        evaluation = self._evaluator.evaluate(request, self._slot, self._cancelled, on_progress)
        request = replace(request, files={}, trained=None)  # the driver has them
        return replace(evaluation, device=self._device, request=request)

    def progress(self) -> ProgressSnapshot:
        return self._progress

    def cancel(self) -> None:
        """Cancel the running evaluation, which becomes ``lost``."""
        self._cancelled.set()

    # ------------------------------------------------------------ start-up

    def _prepare(self, spec: WorkerSpec, index: int) -> Ready | Refused:
        if (found := source_digest()) != spec.digest:
            return self._refused(
                f"Treewright or Python has another version there ({found}; the search has {spec.digest}): install "
                "the same version on all nodes",
            )
        _adopt_environment(spec)
        slot = self._find_slot(spec, index)
        if slot is None:
            return self._refused(
                "Ray has assigned a GPU to it, but torch sees none there: `python -c 'import torch; "
                "print(torch.cuda.is_available())'` on that node should say True",
            )
        task, sandbox = task_from(spec.task), find_sandbox(spec.sandbox)
        with _exclusive("prepare"):  # the first worker of a node prepares; the others find the data
            task.prepare()
        self._evaluator = evaluator_from(Part.of(spec.evaluator, "evaluator"), task, sandbox)
        self._slot = slot
        conditions = self._evaluator.conditions(slot)
        if conditions.fingerprint != spec.fingerprint:
            return self._refused(f"its data differ ({conditions.fingerprint}; the search has {spec.fingerprint})")
        self._device = f"{_device_name(slot)}@{self._node}"
        return Ready(self._node, _node_id(), conditions, sandbox.tier, self._device, slot)

    def _refused(self, reason: str) -> Refused:
        return Refused(self._node, _node_id(), reason)

    def _find_slot(self, spec: WorkerSpec, index: int) -> Slot | None:
        """Build the slot; None if Ray assigned a GPU that torch does not see."""
        cores = self._cores.enter_context(_cores(spec.threads))
        if not spec.gpus:
            return Slot(index, "cpu", None, cores, spec.threads)
        if not visible_gpus():  # Ray makes only the assigned GPU visible to an actor
            return None
        return gpu_slot(index, 0, cores, spec.threads)


def _node_id() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def gpu_memory() -> int | None:
    """Return the bytes of the GPU assigned to this process, None if torch sees none. Runs as a Ray task."""
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


def _adopt_environment(spec: WorkerSpec) -> None:
    """Take over the driver's import paths, variables and folder, as far as this node has them."""
    for path in spec.paths:
        if path not in sys.path and os.path.isdir(path):
            sys.path.append(path)
    for name, value in spec.variables.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError):
        os.chdir(spec.folder)


def _exit_with_raylet() -> None:
    """Start a thread that ends this process within about a second of its parent, independently of Ray's own checks.

    The raylet ends when its node is stopped, and a minute after the cluster's head is gone.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)  # sandboxes die with the threads that launched them

    threading.Thread(target=watch, name="raylet-watch", daemon=True).start()


# ---------------------------------------------------------------- locks between the workers of a node


@contextlib.contextmanager
def _exclusive(name: str) -> Iterator[None]:
    """Hold a lock between the workers of this node and user."""
    descriptor = _lock_file(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _cores(wanted: int) -> Iterator[tuple[int, ...]]:
    """Reserve ``wanted`` cores that no other worker of this node holds; yield none if too few are free.

    Ray counts cores but does not pin processes. Scores are less noisy on pinned, unshared cores.
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
