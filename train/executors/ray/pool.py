"""The driver's side of the hosts of a Ray cluster: asking for them, taking their answers, giving them up.

A ``WorkerHandle`` is a slot of the executor with the host (``train.executors.ray.worker``) that serves it now, if one
does. Every answer of a host is an ``Event`` with the serial number of the host it was asked of: what one that was
given up still sends is nobody's. Answers come by callback; nothing here polls.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from archive.records import Conditions, Request
from train.executors.base import ExecutorError
from train.executors.ray.cluster import describe, end, living_nodes, ray_package
from train.executors.ray.worker import ProgressSnapshot, Ready, Refused, Worker, WorkerSpec
from train.hardware.slots import Slot

MIXED = "mixed hardware (executor.mixed=true)"
"""The hardware tag of scores that are compared though they were made on different hardware."""

_LONGEST_PAUSE = 32.0
"""Seconds between a host that could not serve and the next one in its place: 2, 4, 8 ... up to so many."""

State = Literal["waiting", "free", "busy", "gone"]
Question = Literal["ready", "evaluated", "looked"]


@dataclass(frozen=True)
class HardwarePolicy:
    """What hosts are accepted. ``hardware``: a part of their tag; None for any, as long as all have the same."""

    hardware: str | None = None
    mixed: bool = False
    patience: float = 120.0
    """Seconds to wait for hosts at the beginning, and for any slot at all while the search runs."""

    def __post_init__(self) -> None:
        if isinstance(self.patience, bool) or not isinstance(self.patience, int | float) or not self.patience > 0:
            raise ValueError(f"executor.patience is {self.patience!r}; expected a positive number of seconds")
        if not isinstance(self.mixed, bool):
            raise ValueError(f"executor.mixed is {self.mixed!r}; expected true or false")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> HardwarePolicy:
        """From ``executor`` in the configuration. Raises ValueError."""
        hardware = options.get("hardware")
        return cls(
            None if hardware is None else str(hardware), options.get("mixed", False), options.get("patience", 120.0)
        )

    def takes(self, tag: str) -> bool:
        """Whether hosts of this hardware may be used at all."""
        return self.hardware is None or self.hardware in tag


@dataclass
class WorkerHandle:
    """A slot of the executor, and the host that serves it."""

    slot: Slot
    state: State = "gone"
    serial: int = 0
    host: Any = None
    ready: Ready | None = None
    request: Request | None = None
    began: float = 0.0
    """Monotonic, of the evaluation."""
    started_at: float = 0.0
    look: ProgressSnapshot = field(default_factory=lambda: ProgressSnapshot("start", 0.0, ()))
    refused: bool = False
    """Its last host could not serve."""
    failures: int = 0
    """Hosts in a row that could not serve."""
    again_at: float = 0.0
    """Monotonic: no other host is asked for before."""

    @property
    def lives(self) -> bool:
        return self.state in ("free", "busy")


@dataclass(frozen=True)
class WorkerEvent:
    """A host's answer."""

    question: Question
    seat: WorkerHandle
    serial: int
    answer: Future[Any]


class WorkerPool:
    """All seats of an executor. Events are put into ``events`` by threads of Ray, and taken by the executor's."""

    def __init__(
        self, slots: Iterable[Slot], recipe: WorkerSpec, terms: HardwarePolicy, host_class: type[Worker]
    ) -> None:
        self.all = [WorkerHandle(slot) for slot in slots]
        self.events: queue.SimpleQueue[WorkerEvent | None] = queue.SimpleQueue()
        self.refused: dict[str, str] = {}
        """Name of a node -> why it is not used."""
        self.agreed: Conditions | None = None
        self._avoided: set[str] = set()  # ids of the nodes that are not used
        self._recipe, self._terms, self._host_class = recipe, terms, host_class

    @property
    def living(self) -> list[WorkerHandle]:
        return [seat for seat in self.all if seat.lives]

    @property
    def busy(self) -> list[WorkerHandle]:
        return [seat for seat in self.all if seat.state == "busy"]

    def begin(self, seat: WorkerHandle) -> None:
        """Ask for a host. It comes when a node has room; nothing of it is ever tried again by Ray."""
        actor = (
            ray_package()
            .remote(self._host_class)
            .options(
                num_gpus=self._recipe.gpus,
                num_cpus=self._recipe.threads,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=3,
                scheduling_strategy=_elsewhere(self._avoided) if self._avoided else "SPREAD",
            )
        )
        seat.serial += 1
        seat.state, seat.ready, seat.request = "waiting", None, None
        seat.host = actor.remote()
        self.ask("ready", seat, seat.host.prepare.remote(self._recipe, seat.slot.index))

    def ask(self, question: Question, seat: WorkerHandle, reference: Any) -> None:
        """Let the answer come as an event."""
        future: Future[Any] = reference.future()
        serial = seat.serial
        future.add_done_callback(lambda answer: self.events.put(WorkerEvent(question, seat, serial, answer)))

    def drop(self, seat: WorkerHandle) -> None:
        """Have nothing more to do with its host; what it was doing is nobody's any more."""
        if seat.host is not None:
            end(seat.host)
        seat.host, seat.state, seat.request = None, "gone", None
        seat.serial += 1

    def welcome(self, seat: WorkerHandle, answer: Ready | Refused | BaseException) -> bool:
        """A host has come, or none will; whether it serves."""
        if isinstance(answer, Ready) and (reason := self._unfit(answer)) is not None:
            answer = Refused(answer.node, answer.node_id, reason)
        seat.refused = not isinstance(answer, Ready)
        if isinstance(answer, Ready):
            seat.state, seat.ready, seat.failures = "free", answer, 0
            # Without its cores: on another node the same numbers are other cores, and none is shared.
            seat.slot = replace(answer.slot, index=seat.slot.index, cores=())
            return True
        self.drop(seat)
        seat.failures += 1
        seat.again_at = time.monotonic() + min(_LONGEST_PAUSE, 2.0**seat.failures)
        if isinstance(answer, Refused):
            self.refused[answer.node] = answer.reason
            self._avoided.add(answer.node_id)
        else:  # its node died while it began, or it could not even be made there
            self.refused["a node"] = told(answer)
        return False

    def _unfit(self, ready: Ready) -> str | None:
        """Why a host that comes later cannot take the place of a lost one, or None."""
        tag = ready.conditions.hardware
        if self.agreed is None or ready.conditions == self.agreed:
            return None
        if not self._terms.mixed:
            return f"its hardware is {tag!r}, and scores of this run are made on {self.agreed.hardware!r}"
        if not self._terms.takes(tag):
            return f"its hardware is {tag!r}, and executor.hardware={self._terms.hardware!r} is no part of it"
        return None

    # ------------------------------------------------------------ at the beginning

    def gather(self) -> None:
        """Ask for all hosts, and wait until they have answered. Raises ExecutorError if there is none in the end."""
        for seat in self.all:
            self.begin(seat)
        until = time.monotonic() + self._terms.patience
        while any(seat.state == "waiting" for seat in self.all) and time.monotonic() < until:
            try:
                event = self.events.get(timeout=1.0)
            except queue.Empty:
                continue
            if event is not None and event.serial == event.seat.serial:
                self.welcome(event.seat, answer_of(event))
        if not self.living:
            raise ExecutorError(self._nobody())

    def _nobody(self) -> str:
        told = "".join(f". {node}: {reason}" for node, reason in sorted(self.refused.items()))
        words = f"no slot of the Ray cluster could be made ready in {self._terms.patience:g} s{told}"
        if waiting := sum(seat.state == "waiting" for seat in self.all):
            words += (
                f". {waiting} wait for a node with room: `ray status` shows what others use of them "
                f"({describe(living_nodes())}). Free it, or wait longer (executor.patience)"
            )
        return words

    def agree(self) -> Conditions:
        """The conditions under which all scores are made; hosts of other hardware are sent away. Raises ExecutorError.

        Seats that still wait for their host are kept: it will have to agree as well.
        """
        terms = self._terms
        known = [seat.ready.conditions for seat in self.living if seat.ready is not None]
        tags = Counter(conditions.hardware for conditions in known)
        there = "; ".join(f"{count} slot{'s' if count > 1 else ''} of {tag!r}" for tag, count in tags.most_common())
        chosen = [tag for tag in tags if terms.takes(tag)]
        if not chosen:
            raise ExecutorError(f"executor.hardware={terms.hardware!r} is no part of any node's hardware: {there}")
        if len(chosen) > 1 and not terms.mixed:
            raise ExecutorError(
                f"the nodes have different hardware: {there}. Scores of different hardware are not compared: choose "
                "one by a part of its name (executor.hardware=NAME), or have them compared all the same "
                "(executor.mixed=true)"
            )
        kept = []
        for seat in self.all:
            if seat.ready is not None and seat.ready.conditions.hardware not in chosen:
                self._avoided.add(seat.ready.node_id)
                self.drop(seat)
            elif not seat.refused:
                kept.append(seat)
        self.all = kept
        self.agreed = replace(known[0], hardware=MIXED if terms.mixed else chosen[0])
        return self.agreed


def answer_of(event: WorkerEvent) -> Any:
    """What the host said, or the exception that came instead."""
    error = event.answer.exception()
    return event.answer.result() if error is None else error


def told(error: BaseException) -> str:
    """What Ray says of a dead actor or a mistake, in one line: the last one has the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def _elsewhere(avoided: Iterable[str]) -> Any:
    """Any node but these."""
    from ray.util.scheduling_strategies import NodeLabelSchedulingStrategy, NotIn

    return NodeLabelSchedulingStrategy(hard={"ray.io/node-id": NotIn(*sorted(avoided))})  # type: ignore[no-untyped-call]
