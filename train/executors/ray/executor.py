"""Evaluations on a Ray cluster, each in a worker actor (``train.executors.ray.worker``) on some node.

    executor = RayExecutor.of(config, evaluator, RayExecutor.find_slots(config.executor.options))
    executor.submit(request)
    for evaluation in executor.wait(0.5): ...

This process is the only driver. Each slot is an actor with its GPU and cores reserved for the whole search, so its
data, packages and n-gram model are loaded once. If a worker's process, node or head dies, its evaluation is ``lost``
and the engine runs the candidate again; late results from the lost worker are discarded. The slot gets a new worker as
soon as some node has free resources.

Scores are compared only within one hardware tag. If the nodes have several, choose one (``executor.hardware``) or
allow comparisons between them (``executor.mixed``).

The driver's work is bounded: results arrive by callback, and at most ``_PROGRESS_CALLS`` workers a second are asked for
their progress, however many slots there are.
"""

from __future__ import annotations

import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from archive.records import Conditions, Failed, Landed, Request, Resources
from prepare.config import Plain, typed
from prepare.output import many
from prepare.presets import device_name
from train.executors.base import Evaluator, ExecutionConfig, ExecutorError, Running, Scorer
from train.executors.ray.cluster import (
    Demand,
    NodeFacts,
    RayOptions,
    connect,
    connection_problem,
    demand_for,
    describe,
    head_address,
    living_nodes,
    ray_package,
    slots_for,
    smallest_gpu_memory,
)
from train.executors.ray.pool import HardwarePolicy, WorkerEvent, WorkerHandle, WorkerPool, answer_of, error_line
from train.executors.ray.worker import ProgressSnapshot, Worker, WorkerSpec, gpu_memory
from train.hardware.slots import Slot
from train.sandbox.environment import trust_in

_PROGRESS_CALLS = 20
"""Workers asked for their progress per second."""
_MAINTENANCE_SECONDS = 1.0
_HEAD_CHECK_SECONDS = 5.0
"""Seconds between two checks that the cluster's head answers."""
_HEAD_TIMEOUT = 20.0
"""Seconds without a head after which all evaluations are lost. Ray itself ends the driver after a minute."""
_CLOSE_SECONDS = 20.0
"""Seconds for cancelled evaluations to close their sandboxes."""
_SKEW_SECONDS = 1.0
"""Clock difference to a node above which recorded times are corrected."""


class HeadLost(ExecutorError):
    """The head of the cluster does not answer any more."""


@dataclass(frozen=True)
class _Scorer:
    """The static gate of the driver's evaluator and the cluster's conditions."""

    gate: Callable[[Mapping[str, str]], str | None]
    agreed: Conditions

    def conditions(self, slot: Slot) -> Conditions:
        return self.agreed


class RayExecutor:
    """Slots of a Ray cluster. Use as a context manager: on leaving, running evaluations are ended."""

    worker_class: type[Worker] = Worker

    def __init__(
        self,
        evaluator: Evaluator,
        slots: Sequence[Slot],
        spec: WorkerSpec,
        hardware_policy: HardwarePolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Start the workers and wait for their replies, at most ``hardware_policy.patience`` seconds.

        The cluster must have been joined. ``evaluator``: the driver's own, used for its gate. Raises ExecutorError.
        """
        self._hardware_policy, self._clock = hardware_policy, clock
        self._waiting: deque[Request] = deque()
        self._results: list[Landed] = []
        self._in_flight = 0
        self._closed = False
        self._error: BaseException | None = None
        self._next_call = 0
        self._maintained_at = self._head_seen = time.monotonic()
        self._head = head_address()
        self._pool = WorkerPool(slots, spec, hardware_policy, self.worker_class)
        try:
            self._pool.start()
            self._conditions = self._pool.agree_on_conditions()
        except BaseException:
            self.close()
            raise
        self._last_alive = time.monotonic()
        self._scorer = _Scorer(evaluator.gate, self._conditions)

    # ------------------------------------------------------------ before it is made

    @staticmethod
    def device(options: Plain) -> str:
        """Return the preset name; GPUs by the memory of the smallest one, if known: see ``prepare.presets``."""
        nodes, demand = _plan(_options(options))
        return device_name("cuda", smallest_gpu_memory(nodes, gpu_memory)) if demand.gpus else "cpu"

    @staticmethod
    def find_slots(options: Plain) -> tuple[Slot, ...]:
        """Return one slot per planned worker; GPU and cores of each are known once its worker runs."""
        wanted = _options(options)
        HardwarePolicy.of(wanted)
        nodes, demand = _plan(wanted)
        count = slots_for(nodes, demand, wanted.slots)
        device = "cuda" if demand.gpus else "cpu"
        return tuple(Slot(i, device, None, (), demand.cpus) for i in range(count))

    @classmethod
    def survey(cls, options: Plain) -> str:
        slots = cls.find_slots(options)
        nodes, demand = _plan(_options(options))
        return f"Ray cluster {head_address()} ({describe(nodes)}): {many(len(slots), 'slot')} with {demand.text} each"

    @classmethod
    def of(cls, config: ExecutionConfig, evaluator: Evaluator, slots: tuple[Slot, ...]) -> RayExecutor:
        """Make the executor from its configuration. Raises ExecutorError or ValueError."""
        options = _options(config.executor.options)
        _, demand = _plan(options)
        fingerprint = evaluator.conditions(Slot(0, "cpu", None, (), 1)).fingerprint
        spec = WorkerSpec.of(config, demand.gpus, demand.cpus, fingerprint)
        return cls(evaluator, slots, spec, HardwarePolicy.of(options))

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ facts

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Slots of all accepted workers, alive or not."""
        return tuple(handle.slot for handle in self._pool.handles)

    @property
    def evaluator(self) -> Scorer:
        return self._scorer

    @property
    def conditions(self) -> Conditions:
        return self._conditions

    @property
    def notes(self) -> tuple[str, ...]:
        ready_workers = [handle.ready for handle in self._pool.handles if handle.ready is not None]
        tiers = sorted({ready.tier for ready in ready_workers})
        dealt = ", ".join(
            f"{count} on {node}" for node, count in sorted(Counter(r.node for r in ready_workers).items())
        )
        lines = [f"Ray cluster {self._head}: {dealt}; {self._conditions.hardware}; sandbox {', '.join(tiers)} there."]
        if late := sum(not handle.is_alive for handle in self._pool.handles):
            count = len(self._pool.handles)
            lines.append(f"NOTE: {late} of {count} slots have no worker yet; they join when a node has free resources.")
        lines += [f"NOTE: {node} is not used: {reason}." for node, reason in sorted(self._pool.refused.items())]
        if "none" in tiers:
            lines.append("WARNING: no sandbox there. Candidates run as the user of Ray, with its files and network.")
        return tuple(lines)

    @property
    def in_flight(self) -> int:
        """Evaluations submitted and not yet returned by ``wait``."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Slots with a live worker minus submitted evaluations; negative while requests queue."""
        return len(self._pool.alive) - self._in_flight

    def running(self) -> tuple[Running, ...]:
        """Return the last known progress of each busy slot, numbered among the live ones."""
        return tuple(
            Running(
                replace(handle.slot, index=place),
                handle.request,
                handle.progress.phase,
                handle.progress.share,
                handle.began,
                handle.progress.losses,
            )
            for place, handle in enumerate(self._pool.alive)
            if handle.request is not None
        )

    # ------------------------------------------------------------ evaluations

    def submit(self, request: Request) -> None:
        """Queue one evaluation. Raises RuntimeError after ``close``."""
        if self._closed:
            raise RuntimeError("the executor is closed; nothing more can be submitted")
        self._in_flight += 1
        self._waiting.append(request)
        self._dispatch()

    def wait(self, seconds: float) -> list[Landed]:
        """Return finished evaluations; wait up to ``seconds`` for the first. Raises errors of workers.

        Results that arrived before an error are returned first, and the next call raises it, so that nothing is lost.
        """
        until = time.monotonic() + max(0.0, seconds)
        woken = False
        while self._error is None:
            self._maintain()
            rest = 0.0 if self._results or woken else min(until - time.monotonic(), _MAINTENANCE_SECONDS)
            try:
                event = self._pool.events.get(timeout=rest) if rest > 0 else self._pool.events.get_nowait()
            except queue.Empty:
                if self._results or woken or time.monotonic() >= until:
                    break
                continue
            if event is None:
                woken = True
            else:
                self._receive(event)
        landed, self._results = self._results, []
        self._in_flight -= len(landed)
        if landed or self._error is None:
            return landed
        error, self._error = self._error, None
        raise error

    def wake(self) -> None:
        """Make the current or next ``wait`` return at once. Thread-safe."""
        self._pool.events.put(None)

    def close(self) -> None:
        """Cancel running evaluations and end the workers. Unfinished evaluations are not recorded.

        Finished ones are still returned by ``wait(0)``.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        for handle in self._pool.busy:
            handle.worker.cancel.remote()
        until = time.monotonic() + _CLOSE_SECONDS
        while self._pool.busy and time.monotonic() < until:
            try:
                event = self._pool.events.get(timeout=0.2)
            except queue.Empty:
                continue
            if event is not None:
                self._receive(event)
        for handle in self._pool.handles:
            self._pool.release(handle)
        self._in_flight = len(self._results)

    def _dispatch(self) -> None:
        """Send waiting requests, in order, to free slots."""
        for handle in self._pool.handles:
            if not self._waiting:
                return
            if handle.state == "free":
                request = self._waiting.popleft()
                handle.state, handle.request, handle.progress = "busy", request, ProgressSnapshot("start", 0.0, ())
                handle.began, handle.started_at = time.monotonic(), self._clock()
                sent = replace(request, files=dict(request.files))  # the archive's own mapping reads lazily
                self._pool.call("evaluate", handle, handle.worker.evaluate.remote(sent))

    def _receive(self, event: WorkerEvent) -> None:
        handle, answer = event.handle, answer_of(event)
        if event.serial != handle.serial:
            return  # late result of a lost worker; its evaluation was already recorded as lost
        if event.method == "prepare":
            if self._pool.register(handle, answer):
                self._dispatch()
        elif event.method == "progress":
            if isinstance(answer, ProgressSnapshot) and handle.state == "busy":
                handle.progress = answer
        elif not isinstance(answer, BaseException):
            self._finish(handle, answer)
        elif isinstance(answer, ray_package().exceptions.RayTaskError):
            self._pool.release(handle)  # a bug, not the candidate's failure: raised by ``wait``
            self._in_flight -= 1
            self._error = answer
        else:
            node = handle.ready.node if handle.ready is not None else "a node"
            self._lose(handle, f"the Ray worker on {node} is gone ({error_line(answer)})")

    def _finish(self, handle: WorkerHandle, evaluation: Landed) -> None:
        request, handle.state, handle.request = handle.request, "free", None
        assert request is not None
        if evaluation.outcome != "lost" or not self._closed:
            if self._hardware_policy.mixed:
                named = f"{evaluation.device} ({evaluation.conditions.hardware})"
                evaluation = replace(evaluation, device=named, conditions=self._conditions)
            self._results.append(self._with_driver_clock(replace(evaluation, request=request)))
        self._dispatch()

    def _with_driver_clock(self, evaluation: Landed) -> Landed:
        """Shift recorded times to the driver's clock if the node's differs."""
        skew = self._clock() - evaluation.finished_at
        if abs(skew) < _SKEW_SECONDS:
            return evaluation
        began, ended = evaluation.started_at + skew, evaluation.finished_at + skew
        return replace(evaluation, started_at=began, finished_at=ended)

    def _lose(self, handle: WorkerHandle, reason: str) -> None:
        """Record the evaluation of a lost worker as ``lost``."""
        request, ready = handle.request, handle.ready
        if request is not None and ready is not None and not self._closed:
            seconds = time.monotonic() - handle.began
            self._results.append(
                Failed(
                    request=request,
                    conditions=self._conditions,
                    resources=Resources(seconds=0.0, phases={"lost": seconds}),
                    trust=trust_in(ready.tier, ready.device),
                    sandbox=ready.tier,
                    device=ready.device,
                    started_at=handle.started_at,
                    finished_at=handle.started_at + seconds,
                    outcome="lost",
                    reason=reason,
                )
            )
        self._pool.release(handle)  # ``_maintain`` launches a replacement

    # ------------------------------------------------------------ maintenance

    def _maintain(self) -> None:
        """Once a second: request progress, replace lost workers, check the head."""
        now = time.monotonic()
        if self._closed or now - self._maintained_at < _MAINTENANCE_SECONDS:
            return
        self._maintained_at = now
        if now - self._head_seen >= _HEAD_CHECK_SECONDS and not self._head_alive(now):
            return
        self._request_progress()
        for handle in self._pool.handles:
            if handle.state == "gone" and now >= handle.retry_at:
                self._pool.launch(handle)
        if self._pool.alive:
            self._last_alive = now
        elif now - self._last_alive > self._hardware_policy.patience:
            reasons = "".join(f"; {node}: {reason}" for node, reason in sorted(self._pool.refused.items()))
            self._fail(
                ExecutorError(
                    f"the Ray cluster has had no slot for {self._hardware_policy.patience:g} s; its nodes now: "
                    f"{describe(living_nodes())}{reasons}. Start nodes again, and continue the search"
                )
            )

    def _request_progress(self) -> None:
        busy = self._pool.busy
        for _ in range(min(_PROGRESS_CALLS, len(busy))):
            handle = busy[self._next_call % len(busy)]
            self._next_call += 1
            self._pool.call("progress", handle, handle.worker.progress.remote())

    def _head_alive(self, now: float) -> bool:
        """Return whether the cluster can be called now. Fails all evaluations after ``_HEAD_TIMEOUT``."""
        problem = connection_problem(self._head)
        if problem is None:
            self._head_seen = time.monotonic()  # a missing head is checked every second
        elif now - self._head_seen > _HEAD_TIMEOUT:
            text = f"the head of the Ray cluster does not answer at {self._head}"
            for handle in self._pool.handles:
                handle.worker = None  # cannot be killed through a dead head; it ends with its node
                self._lose(handle, f"{text} ({problem})")
            self._fail(HeadLost(f"{text}. Start the cluster again, and continue the search"))
        return problem is None

    def _fail(self, error: ExecutorError) -> None:
        """Drop waiting requests and let ``wait`` raise ``error``."""
        self._in_flight -= len(self._waiting)
        self._waiting.clear()
        self._error = error


def _options(values: Plain) -> RayOptions:
    """Type the keys of ``executor``. Raises ValueError."""
    return typed(RayOptions, values, "executor")


def _plan(options: RayOptions) -> tuple[tuple[NodeFacts, ...], Demand]:
    """Join the cluster; return its nodes and the resources of one evaluation. Raises ExecutorError."""
    connect(options.address or "auto")
    nodes = living_nodes()
    return nodes, demand_for(nodes, options)
