"""Evaluations on a Ray cluster: the same ones as on this machine, each in a host (``train.executors.ray.worker``) on
some node.

    executor = RayExecutor.of(config, evaluator, RayExecutor.find_slots(config["executor"]))
    executor.submit(request)
    for evaluation in executor.wait(0.5): ...

This process is the only driver. Each slot is an actor with its GPU and cores reserved, which stays while the search
lasts: its data, packages and n-gram model are read once. A host whose process, node or head dies gives ``lost``; the
engine then runs the candidate again, and whatever the dead host may still send belongs to nobody. A slot that has lost
its host gets a new one as soon as some node has room.

Scores are compared only within one hardware tag. Where the nodes have several, one is to be chosen
(``executor.hardware``), or the search is told to compare them all the same (``executor.mixed``).

What the driver does for a slot is bounded: results come by callback, and progress is asked for at most ``_LOOKS`` times
a second, however many slots there are.
"""

from __future__ import annotations

import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archive.records import Conditions, Evaluation, Failed, Request, Resources
from prepare.presets import device_name
from train.executors.base import Evaluator, ExecutorError, Running, Scorer
from train.executors.ray.cluster import (
    Demand,
    NodeFacts,
    connect,
    demand_for,
    describe,
    head_address,
    least_memory,
    living_nodes,
    ray_package,
    slots_for,
    unreachable,
)
from train.executors.ray.pool import HardwarePolicy, WorkerEvent, WorkerHandle, WorkerPool, answer_of, told
from train.executors.ray.worker import ProgressSnapshot, Worker, WorkerSpec, gpu_memory
from train.hardware.slots import Slot

_LOOKS = 20
"""Hosts that are asked how far they are, a second."""
_TEND_SECONDS = 1.0
_HEAD_SECONDS = 5.0
"""Between two looks whether the head is there."""
_HEAD_PATIENCE = 20.0
"""Without a head for so long, all is lost. Ray itself ends this process after a minute."""
_CLOSE_SECONDS = 20.0
"""For cancelled evaluations to end their sandboxes by themselves."""
_SKEW_SECONDS = 1.0
"""Clocks of nodes that differ by more are set right in the record."""


class HeadLost(ExecutorError):
    """The cluster is gone."""


@dataclass(frozen=True)
class _Scorer:
    """The gate of this process, and the conditions of the cluster."""

    gate: Callable[[Mapping[str, str]], str | None]
    agreed: Conditions

    def conditions(self, slot: Slot) -> Conditions:
        return self.agreed


class RayExecutor:
    """Slots of a Ray cluster. Use as a context manager: on leaving, running evaluations are ended."""

    host_class: type[Worker] = Worker

    def __init__(
        self,
        evaluator: Evaluator,
        slots: Sequence[Slot],
        recipe: WorkerSpec,
        terms: HardwarePolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """The cluster is joined already. ``evaluator``: this process's own, for its gate. Raises ExecutorError.

        Waits until all hosts have answered, ``terms.patience`` seconds at most.
        """
        self._terms, self._clock = terms, clock
        self._waiting: deque[Request] = deque()
        self._landed: list[Evaluation] = []
        self._in_flight = 0
        self._closed = False
        self._error: BaseException | None = None
        self._next_look = 0
        self._tended = self._head_seen = time.monotonic()
        self._head = head_address()
        self._seats = WorkerPool(slots, recipe, terms, self.host_class)
        try:
            self._seats.gather()
            self._agreed = self._seats.agree()
        except BaseException:
            self.close()
            raise
        self._had_slot = time.monotonic()
        self._scorer = _Scorer(evaluator.gate, self._agreed)

    # ------------------------------------------------------------ before there is one

    @staticmethod
    def device(options: Mapping[str, Any]) -> str:
        """With the memory of the cluster's smallest GPU, where it can be told: see ``prepare.presets``."""
        nodes, demand = _plan(options)
        return device_name("cuda", least_memory(nodes, gpu_memory)) if demand.gpus else "cpu"

    @staticmethod
    def find_slots(options: Mapping[str, Any]) -> tuple[Slot, ...]:
        """As many as there will be; which GPU and cores each has is known when its host is there."""
        HardwarePolicy.of(options)
        nodes, demand = _plan(options)
        count = slots_for(nodes, demand, options.get("slots"))
        device = "cuda" if demand.gpus else "cpu"
        return tuple(Slot(i, device, None, (), demand.cpus) for i in range(count))

    @classmethod
    def survey(cls, options: Mapping[str, Any]) -> str:
        slots = cls.find_slots(options)
        nodes, demand = _plan(options)
        return f"Ray cluster {head_address()} ({describe(nodes)}): {len(slots)} slot(s) with {demand.words} each"

    @classmethod
    def of(cls, config: Mapping[str, Any], evaluator: Evaluator, slots: tuple[Slot, ...]) -> RayExecutor:
        """Raises ExecutorError or ValueError."""
        options = config["executor"]
        _, demand = _plan(options)
        fingerprint = evaluator.conditions(Slot(0, "cpu", None, (), 1)).fingerprint
        recipe = WorkerSpec.of(config, demand.gpus, demand.cpus, fingerprint)
        return cls(evaluator, slots, recipe, HardwarePolicy.of(options))

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ what it is

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Of the hosts that were accepted, whether they live now or not."""
        return tuple(seat.slot for seat in self._seats.all)

    @property
    def evaluator(self) -> Scorer:
        return self._scorer

    @property
    def conditions(self) -> Conditions:
        return self._agreed

    @property
    def notes(self) -> tuple[str, ...]:
        served = [seat.ready for seat in self._seats.all if seat.ready is not None]
        tiers = sorted({ready.tier for ready in served})
        dealt = ", ".join(f"{count} on {node}" for node, count in sorted(Counter(r.node for r in served).items()))
        lines = [f"Ray cluster {self._head}: {dealt}; {self._agreed.hardware}; sandbox {', '.join(tiers)} there."]
        if late := sum(not seat.lives for seat in self._seats.all):
            count = len(self._seats.all)
            lines.append(f"NOTE: {late} of {count} slots have no host yet; they join when a node has room.")
        lines += [f"NOTE: {node} is not used: {reason}." for node, reason in sorted(self._seats.refused.items())]
        if "none" in tiers:
            lines.append("WARNING: no sandbox there. Candidates run as the user of Ray, with its files and network.")
        return tuple(lines)

    @property
    def in_flight(self) -> int:
        """Submitted and not yet handed out by ``wait``."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Living slots for which nothing is submitted; negative when requests wait."""
        return len(self._seats.living) - self._in_flight

    def running(self) -> tuple[Running, ...]:
        """What each busy slot does, as of the last look; numbered among those that live."""
        return tuple(
            Running(
                replace(seat.slot, index=place),
                seat.request,
                seat.look.phase,
                seat.look.share,
                seat.began,
                seat.look.losses,
            )
            for place, seat in enumerate(self._seats.living)
            if seat.request is not None
        )

    # ------------------------------------------------------------ evaluations

    def submit(self, request: Request) -> None:
        """Queue one evaluation. Raises RuntimeError after ``close``."""
        if self._closed:
            raise RuntimeError("the executor is closed; nothing more can be submitted")
        self._in_flight += 1
        self._waiting.append(request)
        self._dispatch()

    def wait(self, seconds: float) -> list[Evaluation]:
        """The evaluations that have ended; waits up to ``seconds`` for the first. Raises what a host raised.

        What had ended before an error is handed out first, and the error by the next call, so that nothing is lost.
        """
        until = time.monotonic() + max(0.0, seconds)
        woken = False
        while self._error is None:
            self._tend()
            rest = 0.0 if self._landed or woken else min(until - time.monotonic(), _TEND_SECONDS)
            try:
                event = self._seats.events.get(timeout=rest) if rest > 0 else self._seats.events.get_nowait()
            except queue.Empty:
                if self._landed or woken or time.monotonic() >= until:
                    break
                continue
            if event is None:
                woken = True
            else:
                self._take(event)
        landed, self._landed = self._landed, []
        self._in_flight -= len(landed)
        if landed or self._error is None:
            return landed
        error, self._error = self._error, None
        raise error

    def wake(self) -> None:
        """Let ``wait`` return with what there is, now or when it is called next. From any thread."""
        self._seats.events.put(None)

    def close(self) -> None:
        """End what runs, and the hosts. What has not finished by then is given up, not recorded.

        What had finished is still handed out by ``wait(0)``.
        """
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        for seat in self._seats.busy:
            seat.host.cancel.remote()
        until = time.monotonic() + _CLOSE_SECONDS
        while self._seats.busy and time.monotonic() < until:
            try:
                event = self._seats.events.get(timeout=0.2)
            except queue.Empty:
                continue
            if event is not None:
                self._take(event)
        for seat in self._seats.all:
            self._seats.drop(seat)
        self._in_flight = len(self._landed)

    def _dispatch(self) -> None:
        """Give what waits to the slots that are free, in order."""
        for seat in self._seats.all:
            if not self._waiting:
                return
            if seat.state == "free":
                request = self._waiting.popleft()
                seat.state, seat.request, seat.look = "busy", request, ProgressSnapshot("start", 0.0, ())
                seat.began, seat.started_at = time.monotonic(), self._clock()
                sent = replace(request, files=dict(request.files))  # the archive's own read from it when asked
                self._seats.ask("evaluated", seat, seat.host.evaluate.remote(sent))

    def _take(self, event: WorkerEvent) -> None:
        seat, answer = event.seat, answer_of(event)
        if event.serial != seat.serial:
            return  # of a host that was given up: what it did is lost, and was said to be
        if event.question == "ready":
            if self._seats.welcome(seat, answer):
                self._dispatch()
        elif event.question == "looked":
            if isinstance(answer, ProgressSnapshot) and seat.state == "busy":
                seat.look = answer
        elif not isinstance(answer, BaseException):
            self._finish(seat, answer)
        elif isinstance(answer, ray_package().exceptions.RayTaskError):
            self._seats.drop(seat)  # a mistake of ours, raised to whoever waits
            self._in_flight -= 1
            self._error = answer
        else:
            node = seat.ready.node if seat.ready is not None else "a node"
            self._lose(seat, f"the Ray worker on {node} is gone ({told(answer)})")

    def _finish(self, seat: WorkerHandle, evaluation: Evaluation) -> None:
        request, seat.state, seat.request = seat.request, "free", None
        assert request is not None
        if evaluation.outcome != "lost" or not self._closed:
            if self._terms.mixed:
                named = f"{evaluation.device} ({evaluation.conditions.hardware})"
                evaluation = replace(evaluation, device=named, conditions=self._agreed)
            self._landed.append(self._by_our_clock(replace(evaluation, request=request)))
        self._dispatch()

    def _by_our_clock(self, evaluation: Evaluation) -> Evaluation:
        """A node's clock may be another; what is recorded goes by the driver's."""
        skew = self._clock() - evaluation.finished_at
        if abs(skew) < _SKEW_SECONDS:
            return evaluation
        began, ended = evaluation.started_at + skew, evaluation.finished_at + skew
        return replace(evaluation, started_at=began, finished_at=ended)

    def _lose(self, seat: WorkerHandle, reason: str) -> None:
        """Its host is gone with what it was doing."""
        request, ready = seat.request, seat.ready
        if request is not None and ready is not None and not self._closed:
            seconds = time.monotonic() - seat.began
            self._landed.append(
                Failed(
                    request=request,
                    conditions=self._agreed,
                    resources=Resources(seconds=0.0, phases={"lost": seconds}),
                    trust="audited",
                    sandbox=ready.tier,
                    device=ready.device,
                    started_at=seat.started_at,
                    finished_at=seat.started_at + seconds,
                    outcome="lost",
                    reason=reason,
                )
            )
        self._seats.drop(seat)  # the next look after the seats asks for another host

    # ------------------------------------------------------------ while it runs

    def _tend(self) -> None:
        """Once a second: ask some hosts how far they are, replace lost ones, look for the head."""
        now = time.monotonic()
        if self._closed or now - self._tended < _TEND_SECONDS:
            return
        self._tended = now
        if now - self._head_seen >= _HEAD_SECONDS and not self._head_is_there(now):
            return
        self._look_in()
        for seat in self._seats.all:
            if seat.state == "gone" and now >= seat.again_at:
                self._seats.begin(seat)
        if self._seats.living:
            self._had_slot = now
        elif now - self._had_slot > self._terms.patience:
            reasons = "".join(f"; {node}: {reason}" for node, reason in sorted(self._seats.refused.items()))
            self._fail(
                ExecutorError(
                    f"the Ray cluster has had no slot for {self._terms.patience:g} s; its nodes now: "
                    f"{describe(living_nodes())}{reasons}. Start nodes again, and go on"
                )
            )

    def _look_in(self) -> None:
        busy = self._seats.busy
        for _ in range(min(_LOOKS, len(busy))):
            seat = busy[self._next_look % len(busy)]
            self._next_look += 1
            self._seats.ask("looked", seat, seat.host.look.remote())

    def _head_is_there(self, now: float) -> bool:
        """Whether anything can be asked of the cluster now. Gives up when the head has been gone for long."""
        problem = unreachable(self._head)
        if problem is None:
            self._head_seen = time.monotonic()  # a head that is missed is looked for every second
        elif now - self._head_seen > _HEAD_PATIENCE:
            words = f"the head of the Ray cluster does not answer at {self._head}"
            for seat in self._seats.all:
                seat.host = None  # nobody could be asked to end it: it ends with its node
                self._lose(seat, f"{words} ({problem})")
            self._fail(HeadLost(f"{words}. Start the cluster again, and go on"))
        return problem is None

    def _fail(self, error: ExecutorError) -> None:
        """Nothing can be evaluated any more."""
        self._in_flight -= len(self._waiting)
        self._waiting.clear()
        self._error = error


def _plan(options: Mapping[str, Any]) -> tuple[tuple[NodeFacts, ...], Demand]:
    """The nodes of the cluster, and what an evaluation gets there. Raises ExecutorError or ValueError."""
    connect(str(options.get("address") or "auto"))
    nodes = living_nodes()
    return nodes, demand_for(nodes, options)
