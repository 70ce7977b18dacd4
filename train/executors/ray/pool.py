"""Driver side of the Ray workers: launch, call, replace.

A ``WorkerHandle`` is an executor slot with the worker actor (``train.executors.ray.worker``) that currently serves it.
Each reply arrives by callback as a ``WorkerEvent`` with the serial number of the worker that was called; late results
from a lost or released worker are discarded by that number. Nothing here polls.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from archive.records import Conditions, Request
from prepare.output import many
from train.executors.base import ExecutorError
from train.executors.ray.cluster import RayOptions, describe, kill_actor, living_nodes, ray_package
from train.executors.ray.worker import ProgressSnapshot, Ready, Refused, Worker, WorkerSpec
from train.hardware.slots import Slot

MIXED = "mixed hardware (executor.mixed=true)"
"""Hardware tag of scores that are compared although they were made on different hardware."""

_LONGEST_PAUSE = 32.0
"""Longest pause in seconds before a failed worker is replaced: 2, 4, 8 ... up to this."""

State = Literal["waiting", "free", "busy", "gone"]
Method = Literal["prepare", "evaluate", "progress"]


@dataclass(frozen=True)
class HardwarePolicy:
    """Which workers are accepted.

    ``hardware``: a substring of the accepted hardware tags; None: any tag, as long as all workers have the same.
    ``mixed``: accept several kinds at once, and compare their scores.
    """

    hardware: str | None = None
    mixed: bool = False
    patience: float = 120.0
    """Seconds to wait for workers at start-up, and during the search while no slot is left."""

    def __post_init__(self) -> None:
        if isinstance(self.patience, bool) or not isinstance(self.patience, int | float) or not self.patience > 0:
            raise ValueError(f"executor.patience is {self.patience!r}; expected a positive number of seconds")
        if not isinstance(self.mixed, bool):
            raise ValueError(f"executor.mixed is {self.mixed!r}; expected true or false")

    @classmethod
    def of(cls, options: RayOptions) -> HardwarePolicy:
        """Read the keys of ``executor`` in the configuration. Raises ValueError."""
        hardware = options.hardware
        return cls(None if hardware is None else str(hardware), options.mixed, options.patience)

    def accepts(self, tag: str) -> bool:
        """Return whether workers with this hardware tag may be used."""
        return self.hardware is None or self.hardware in tag


@dataclass
class WorkerHandle:
    """An executor slot and the worker that serves it."""

    slot: Slot
    state: State = "gone"
    serial: int = 0
    worker: Any = None
    ready: Ready | None = None
    request: Request | None = None
    began: float = 0.0
    """Start of the evaluation on the monotonic clock."""
    started_at: float = 0.0
    progress: ProgressSnapshot = field(default_factory=lambda: ProgressSnapshot("start", 0.0, ()))
    refused: bool = False
    """The last worker of this slot failed to start."""
    failures: int = 0
    """Consecutive workers that failed to start."""
    retry_at: float = 0.0
    """Monotonic time before which no replacement is launched."""

    @property
    def is_alive(self) -> bool:
        return self.state in ("free", "busy")


@dataclass(frozen=True)
class WorkerEvent:
    """A worker's reply to one method call."""

    method: Method
    handle: WorkerHandle
    serial: int
    answer: Future[Any]


class WorkerPool:
    """All worker handles of an executor.

    Ray's threads put events into ``events``; the executor's thread takes them out.
    """

    def __init__(
        self, slots: Iterable[Slot], spec: WorkerSpec, hardware_policy: HardwarePolicy, worker_class: type[Worker]
    ) -> None:
        self.handles = [WorkerHandle(slot) for slot in slots]
        self.events: queue.SimpleQueue[WorkerEvent | None] = queue.SimpleQueue()
        self.refused: dict[str, str] = {}
        """Node name -> reason why it is not used."""
        self.conditions: Conditions | None = None
        self._avoided: set[str] = set()  # ids of unused nodes
        self._spec, self._hardware_policy, self._worker_class = spec, hardware_policy, worker_class

    @property
    def alive(self) -> list[WorkerHandle]:
        """Handles whose worker can serve, busy or not."""
        return [handle for handle in self.handles if handle.is_alive]

    @property
    def busy(self) -> list[WorkerHandle]:
        return [handle for handle in self.handles if handle.state == "busy"]

    def launch(self, handle: WorkerHandle) -> None:
        """Launch a worker for this handle; it starts when a node has free resources. Ray retries nothing."""
        actor = (
            ray_package()
            .remote(self._worker_class)
            .options(
                num_gpus=self._spec.gpus,
                num_cpus=self._spec.threads,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=3,
                scheduling_strategy=_other_nodes(self._avoided) if self._avoided else "SPREAD",
            )
        )
        handle.serial += 1
        handle.state, handle.ready, handle.request = "waiting", None, None
        handle.worker = actor.remote()
        self.call("prepare", handle, handle.worker.prepare.remote(self._spec, handle.slot.index))

    def call(self, method: Method, handle: WorkerHandle, reference: Any) -> None:
        """Deliver the result of a remote call as an event."""
        future: Future[Any] = reference.future()
        serial = handle.serial
        future.add_done_callback(lambda answer: self.events.put(WorkerEvent(method, handle, serial, answer)))

    def release(self, handle: WorkerHandle) -> None:
        """Kill the handle's worker; results of its evaluation are discarded."""
        if handle.worker is not None:
            kill_actor(handle.worker)
        handle.worker, handle.state, handle.request = None, "gone", None
        handle.serial += 1

    def register(self, handle: WorkerHandle, answer: Ready | Refused | BaseException) -> bool:
        """Record the outcome of ``Worker.prepare``; return whether the worker can serve."""
        if isinstance(answer, Ready) and (reason := self._mismatch(answer)) is not None:
            answer = Refused(answer.node, answer.node_id, reason)
        handle.refused = not isinstance(answer, Ready)
        if isinstance(answer, Ready):
            handle.state, handle.ready, handle.failures = "free", answer, 0
            # Without cores: core numbers of different nodes coincide, but no core is shared.
            handle.slot = replace(answer.slot, index=handle.slot.index, cores=())
            return True
        self.release(handle)
        handle.failures += 1
        handle.retry_at = time.monotonic() + min(_LONGEST_PAUSE, 2.0**handle.failures)
        if isinstance(answer, Refused):
            self.refused[answer.node] = answer.reason
            self._avoided.add(answer.node_id)
        else:  # the node died during start-up, or the actor could not be created
            self.refused["a node"] = error_line(answer)
        return False

    def _mismatch(self, ready: Ready) -> str | None:
        """Return why a replacement worker does not match the conditions of this run, or None."""
        tag = ready.conditions.hardware
        if self.conditions is None or ready.conditions == self.conditions:
            return None
        if not self._hardware_policy.mixed:
            return f"its hardware is {tag!r}, and scores of this run are made on {self.conditions.hardware!r}"
        if not self._hardware_policy.accepts(tag):
            return f"its hardware is {tag!r}, and executor.hardware={self._hardware_policy.hardware!r} does not match"
        return None

    # ------------------------------------------------------------ start-up

    def start(self) -> None:
        """Launch all workers and wait for their replies. Raises ExecutorError if none can serve."""
        for handle in self.handles:
            self.launch(handle)
        until = time.monotonic() + self._hardware_policy.patience
        while any(handle.state == "waiting" for handle in self.handles) and time.monotonic() < until:
            try:
                event = self.events.get(timeout=1.0)
            except queue.Empty:
                continue
            if event is not None and event.serial == event.handle.serial:
                self.register(event.handle, answer_of(event))
        if not self.alive:
            raise ExecutorError(self._none_ready())

    def _none_ready(self) -> str:
        reasons = "".join(f". {node}: {reason}" for node, reason in sorted(self.refused.items()))
        text = f"no slot of the Ray cluster could be made ready in {self._hardware_policy.patience:g} s{reasons}"
        if waiting := sum(handle.state == "waiting" for handle in self.handles):
            text += (
                f". {waiting} wait for a node with free resources: `ray status` shows what is in use "
                f"({describe(living_nodes())}). Free some, or wait longer (executor.patience)"
            )
        return text

    def agree_on_conditions(self) -> Conditions:
        """Fix the conditions under which all scores are made; release workers on other hardware. Raises ExecutorError.

        Handles that still wait for their worker are kept: that worker must match these conditions.
        """
        policy = self._hardware_policy
        known = [handle.ready.conditions for handle in self.alive if handle.ready is not None]
        tags = Counter(conditions.hardware for conditions in known)
        there = "; ".join(f"{many(count, 'slot')} of {tag!r}" for tag, count in tags.most_common())
        chosen = [tag for tag in tags if policy.accepts(tag)]
        if not chosen:
            raise ExecutorError(f"executor.hardware={policy.hardware!r} matches no node's hardware: {there}")
        if len(chosen) > 1 and not policy.mixed:
            raise ExecutorError(
                f"the nodes have different hardware: {there}. Scores of different hardware are not compared: choose "
                "one by a part of its name (executor.hardware=NAME), or have them compared nevertheless "
                "(executor.mixed=true)"
            )
        kept = []
        for handle in self.handles:
            if handle.ready is not None and handle.ready.conditions.hardware not in chosen:
                self._avoided.add(handle.ready.node_id)
                self.release(handle)
            elif not handle.refused:
                kept.append(handle)
        self.handles = kept
        self.conditions = replace(known[0], hardware=MIXED if policy.mixed else chosen[0])
        return self.conditions


def answer_of(event: WorkerEvent) -> Any:
    """Return the worker's reply, or the exception raised instead."""
    error = event.answer.exception()
    return event.answer.result() if error is None else error


def error_line(error: BaseException) -> str:
    """Summarise an exception from Ray in one line: its last line holds the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def _other_nodes(avoided: Iterable[str]) -> Any:
    """Return a scheduling strategy that excludes the nodes with these ids."""
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    return NodeLabelSchedulingStrategy(hard={"ray.io/node-id": NotIn(*sorted(avoided))})  # type: ignore[no-untyped-call]
