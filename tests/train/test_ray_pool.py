"""The Ray executor with a fake Ray: workers that start, refuse, answer late, and die."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from underway import until

from archive.records import Conditions, Evaluation, Failed, Request, Resources, Scored
from prepare.config import typed
from train.executors.base import ExecutorError
from train.executors.ray import cluster as ray_cluster
from train.executors.ray import executor as module
from train.executors.ray import pool
from train.executors.ray.cluster import NodeFacts, RayOptions
from train.executors.ray.executor import HeadLost, RayExecutor
from train.executors.ray.pool import MIXED, HardwarePolicy
from train.executors.ray.worker import ProgressSnapshot, Ready, Refused, WorkerSpec
from train.hardware.slots import Slot, shared_cores_warning

HERE = Conditions("corpus", 10.0, "H100")
SPEC = WorkerSpec({}, {}, "auto", 1, 4, "/", (), {}, "digest", "corpus")
USUAL = HardwarePolicy()
NODES = (NodeFacts("1", "a", 8, 2), NodeFacts("2", "b", 8, 2), NodeFacts("3", "head", 4, 0))


class TaskError(Exception):
    """A bug inside a worker, as Ray raises it."""


class ActorDied(Exception):
    """The worker is gone."""


class FakeWorker:
    """An actor whose answers the test gives."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.asked: dict[str, list[tuple[tuple[Any, ...], Future[Any]]]] = {}
        self.killed = False

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            pickle.dumps(arguments)  # they travel
            future: Future[Any] = Future()
            self.asked.setdefault(name, []).append((arguments, future))
            return SimpleNamespace(future=lambda: future)

        return SimpleNamespace(remote=remote)

    def answer(self, name: str, value: Any) -> None:
        future = self.asked[name][-1][1]
        if isinstance(value, BaseException):
            future.set_exception(value)
        else:
            future.set_result(value)

    @property
    def request(self) -> Request:
        return self.asked["evaluate"][-1][0][0]


class Cluster:
    """A fake Ray whose workers answer ``prepare`` with ``comes(number)``, in order; None: no answer."""

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.comes: Callable[[int], Any] = lambda number: ready(f"node {number}")
        self.head: str | None = None
        self.exceptions = SimpleNamespace(RayTaskError=TaskError)

    def remote(self, worker_class: type) -> Any:
        def options(**chosen: Any) -> Any:
            return SimpleNamespace(remote=lambda: self._new(chosen))

        return SimpleNamespace(options=options)

    def _new(self, chosen: dict[str, Any]) -> Any:
        worker = FakeWorker(chosen)
        self.workers.append(worker)
        number, prepare = len(self.workers), worker.__getattr__("prepare").remote

        def first(*arguments: Any) -> Any:
            reference = prepare(*arguments)
            if (answer := self.comes(number)) is not None:
                worker.answer("prepare", answer)
            return reference

        worker.__dict__["prepare"] = SimpleNamespace(remote=first)
        return worker

    def kill(self, worker: FakeWorker, no_restart: bool) -> None:
        assert no_restart
        worker.killed = True


def ready(node: str = "a", hardware: str = "H100") -> Ready:
    slot = Slot(0, "cuda", 0, (0, 1, 2, 3), 4, "GPU-1")
    return Ready(node, f"id of {node}", replace(HERE, hardware=hardware), "bwrap", f"cuda:0@{node}", slot)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    for place in (ray_cluster, pool, module):
        monkeypatch.setattr(place, "ray_package", lambda: made)
    for name, value in (("head_address", lambda: "head:6379"), ("connection_problem", lambda address: made.head)):
        monkeypatch.setattr(module, name, value)
    for place in (module, pool):
        monkeypatch.setattr(place, "living_nodes", lambda: NODES)
    monkeypatch.setattr(pool, "_other_nodes", lambda avoided: ("not", *sorted(avoided)))
    monkeypatch.setattr(module, "_MAINTENANCE_SECONDS", 0.01)
    monkeypatch.setattr(module, "_HEAD_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(module, "_HEAD_TIMEOUT", 0.05)
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.1)
    return made


def executor(slots: int = 2, hardware_policy: HardwarePolicy = USUAL) -> RayExecutor:
    scorer: Any = SimpleNamespace(gate=lambda files: None)
    made = tuple(Slot(i, "cuda", None, (), 4) for i in range(slots))
    return RayExecutor(scorer, made, SPEC, hardware_policy, clock=lambda: 1000.0)


def request(name: str) -> Request:
    return Request(name, "run", 0, {"train.py": ""}, 7, "screen")


def scored(asked: Request, finished_at: float = 1000.0, **more: Any) -> Evaluation:
    facts: dict[str, Any] = {"conditions": HERE, "device": "cuda:0@a", "sandbox": "bwrap", **more}
    return Scored(
        request=asked,
        resources=Resources(10.0),
        trust="audited",
        started_at=finished_at - 10.0,
        finished_at=finished_at,
        score=3.0,
        **facts,
    )


def names(evaluations: list[Evaluation]) -> list[tuple[str, str]]:
    return [(each.request.node_id, each.outcome) for each in evaluations]


# ---------------------------------------------------------------- evaluations


def test_requests_go_to_free_workers_in_order(cluster: Cluster) -> None:
    with executor() as ours:
        for name in "abc":
            ours.submit(request(name))
        assert (ours.free, ours.in_flight) == (-1, 3)
        assert [running.request.node_id for running in ours.running()] == ["a", "b"]
        first, second = cluster.workers
        second.answer("evaluate", scored(second.request))
        assert names(ours.wait(5)) == [("b", "scored")]
        assert second.request.node_id == "c"
        for worker in (first, second):
            worker.answer("evaluate", scored(worker.request))
        assert sorted(names(ours.wait(5)) + names(ours.wait(0))) == [("a", "scored"), ("c", "scored")]
        assert (ours.free, ours.in_flight, ours.running()) == (2, 0, ())
        assert ours.evaluator.conditions(ours.slots[0]) == ours.conditions == HERE
    assert all(worker.killed for worker in cluster.workers)
    assert cluster.workers[0].options["num_gpus"] == 1
    assert cluster.workers[0].options["num_cpus"] == 4
    assert cluster.workers[0].options["max_restarts"] == cluster.workers[0].options["max_task_retries"] == 0


def test_cores_of_one_number_on_two_nodes_are_not_shared(cluster: Cluster) -> None:
    with executor() as ours:
        assert [slot.index for slot in ours.slots] == [0, 1]
        assert shared_cores_warning(ours.slots) is None


class Lazy(dict[str, str]):
    """Files that cannot leave this process, as those of an archive's node."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("cannot pickle it")


def test_files_that_are_read_when_asked_travel_as_text(cluster: Cluster) -> None:
    with executor(slots=1) as ours:
        asked = replace(request("a"), files=Lazy({"train.py": "X = 1"}))
        ours.submit(asked)
        assert cluster.workers[0].request.files == {"train.py": "X = 1"}
        cluster.workers[0].answer("evaluate", scored(replace(asked, files={})))
        assert ours.wait(5)[0].request is asked


def test_waiting_ends_when_it_is_woken(cluster: Cluster) -> None:
    with executor() as ours:
        ours.wake()
        assert ours.wait(3600) == []


def test_a_worker_that_dies_gives_lost_and_another_takes_its_place(cluster: Cluster) -> None:
    with executor() as ours:
        ours.submit(request("a"))
        first = cluster.workers[0]
        first.answer("evaluate", ActorDied("The actor died.\n\nIts node has died."))
        (lost,) = ours.wait(5)
        assert isinstance(lost, Failed)
        assert (lost.outcome, lost.reason) == ("lost", "the Ray worker on node 1 is gone (Its node has died.)")
        assert (lost.request.node_id, lost.device, lost.conditions) == ("a", "cuda:0@node 1", HERE)
        assert first.killed, "should it live after all, it is not to go on"
        ours.submit(request("a"))
        assert cluster.workers[1].request.node_id == "a", "elsewhere"
        until(lambda: ours.wait(0.02) == [] and len(cluster.workers) == 3 and ours.free == 1)


def test_what_a_worker_sends_after_it_was_given_up_counts_for_nothing(cluster: Cluster) -> None:
    with executor(slots=1) as ours:
        ours.submit(request("a"))
        worker = cluster.workers[0]
        handle = ours._pool.handles[0]
        ours._lose(handle, "given up")
        worker.answer("evaluate", scored(worker.request))  # its node had only been unreachable for a while
        assert names(ours.wait(1)) == [("a", "lost")]
        until(lambda: ours.wait(0.02) == [] and ours.free == 1)
        ours.submit(request("a"))
        cluster.workers[-1].answer("evaluate", scored(request("a")))
        assert names(ours.wait(5)) == [("a", "scored")]
        assert ours.wait(0.05) == []


def test_an_error_of_ours_is_raised_and_loses_nothing(cluster: Cluster) -> None:
    with executor() as ours:
        ours.submit(request("fine"))
        ours.submit(request("broken"))
        cluster.workers[0].answer("evaluate", scored(request("fine")))
        cluster.workers[1].answer("evaluate", TaskError("a mistake of ours"))
        assert names(ours.wait(1)) == [("fine", "scored")]
        with pytest.raises(TaskError, match="a mistake of ours"):
            ours.wait(1)
        assert ours.in_flight == 0


def test_what_is_recorded_goes_by_our_clock_and_has_our_request(cluster: Cluster) -> None:
    with executor(slots=1) as ours:
        asked = replace(request("a"), leader_score=1.5)
        ours.submit(asked)
        cluster.workers[0].answer("evaluate", scored(request("b"), finished_at=4000.0))
        (landed,) = ours.wait(5)
        assert (landed.started_at, landed.finished_at) == (990.0, 1000.0)
        assert landed.request is asked


def test_progress_is_looked_at(cluster: Cluster) -> None:
    with executor() as ours:
        ours.submit(request("a"))
        worker = cluster.workers[0]
        until(lambda: ours.wait(0.02) == [] and "progress" in worker.asked)
        worker.answer("progress", ProgressSnapshot("train", 0.25, ((0.1, 4.0),)))
        until(lambda: ours.wait(0.02) == [] and ours.running()[0].share == 0.25)
        (running,) = ours.running()
        assert (running.phase, running.losses) == ("train", ((0.1, 4.0),))


def test_closing_hands_out_what_had_finished_and_gives_up_the_rest(cluster: Cluster) -> None:
    ours = executor(slots=3)
    for name in ("finished", "unfinished", "cancelled", "never begun"):
        ours.submit(request(name))
    workers = list(cluster.workers)
    workers[0].answer("evaluate", scored(request("finished")))
    gone: dict[str, Any] = {"outcome": "lost", "reason": "stopped"}
    facts = {
        key: value
        for key, value in vars(scored(workers[2].request)).items()
        if key not in ("score", "audit", "certificate", "windows")
    }
    facts.pop("metrics")
    workers[2].answer("evaluate", Failed(**facts, **gone))
    ours.close()
    ours.close()
    assert names(ours.wait(0)) == [("finished", "scored")]
    assert "cancel" in workers[1].asked
    assert all(worker.killed for worker in workers)
    assert ours.in_flight == 0
    with pytest.raises(RuntimeError, match="closed"):
        ours.submit(request("too late"))


# ---------------------------------------------------------------- what goes wrong around them


def test_without_a_head_all_is_lost_and_the_search_ends(cluster: Cluster) -> None:
    ours = executor()
    ours.submit(request("a"))
    cluster.head = "Connection refused"
    found: list[Evaluation] = []
    with pytest.raises(HeadLost, match=r"does not answer at head:6379\. Start the cluster again"):
        until(lambda: found.extend(ours.wait(0.02)))
    assert names(found) == [("a", "lost")]
    ours.close()
    assert ours.wait(0) == []


def test_a_head_that_comes_back_in_time_is_no_loss(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEAD_TIMEOUT", 60.0)
    with executor(slots=1) as ours:
        ours.submit(request("a"))
        cluster.head = "Connection refused"
        ours.wait(0.05)
        cluster.head = None
        cluster.workers[0].answer("evaluate", scored(request("a")))
        assert names(ours.wait(5)) == [("a", "scored")]


def test_a_cluster_that_has_lost_all_its_slots_is_not_waited_for_for_ever(cluster: Cluster) -> None:
    with executor(slots=1, hardware_policy=HardwarePolicy(patience=0.2)) as ours:
        cluster.comes = lambda number: None
        ours.submit(request("a"))
        cluster.workers[0].answer("evaluate", ActorDied("gone"))
        assert names(ours.wait(5)) == [("a", "lost")]
        ours.submit(request("a"))
        with pytest.raises(ExecutorError, match=r"has had no slot for 0.2 s; its nodes now: a: 8 cores, 2 GPUs; b"):
            until(lambda: ours.wait(0.05))
        assert ours.in_flight == 0


def test_a_worker_that_refuses_is_left_out_and_said(cluster: Cluster) -> None:
    cluster.comes = lambda number: ready("a") if number < 3 else Refused("b", "id of b", "no sandbox there")
    with executor(slots=3) as ours:
        assert len(ours.slots) == ours.free == 2
        assert "NOTE: b is not used: no sandbox there." in ours.notes
        assert ours.notes[0].startswith("Ray cluster head:6379: 2 on a; H100; sandbox bwrap there.")
        cluster.comes = lambda number: ready("a")
        ours.submit(request("x"))
        cluster.workers[0].answer("evaluate", ActorDied("gone"))
        until(lambda: ours.wait(0.02) is not None and len(cluster.workers) == 4)
        assert cluster.workers[-1].options["scheduling_strategy"] == ("not", "id of b"), "not there again"
        assert cluster.workers[0].options["scheduling_strategy"] == "SPREAD"


def test_workers_that_all_refuse_end_it_with_their_reasons(cluster: Cluster) -> None:
    cluster.comes = lambda number: Refused("b", "id of b", "its data are others")
    with pytest.raises(ExecutorError, match=r"no slot .* could be made ready in 120 s\. b: its data are others"):
        executor()
    assert all(worker.killed for worker in cluster.workers)


def test_nodes_that_others_use_are_waited_for_and_then_said(cluster: Cluster) -> None:
    cluster.comes = lambda number: None
    with pytest.raises(ExecutorError, match=r"2 wait for a node with free resources: `ray status` shows"):
        executor(hardware_policy=HardwarePolicy(patience=0.1))


def test_slots_without_a_worker_yet_join_later(cluster: Cluster) -> None:
    cluster.comes = lambda number: ready("a") if number == 1 else None
    with executor(hardware_policy=HardwarePolicy(patience=0.1)) as ours:
        assert (len(ours.slots), ours.free) == (2, 1)
        assert any("1 of 2 slots have no worker yet" in note for note in ours.notes)
        cluster.workers[1].answer("prepare", ready("b"))
        until(lambda: ours.wait(0.02) == [] and ours.free == 2)


# ---------------------------------------------------------------- hardware


def kinds(number: int) -> Ready:
    """Two workers of one kind, then another kind."""
    return ready("a", "H100") if number < 3 else ready("b", "A100")


def test_nodes_of_different_hardware_are_not_compared_unasked(cluster: Cluster) -> None:
    cluster.comes = kinds
    with pytest.raises(ExecutorError, match=r"2 slots of 'H100'; 1 slot of 'A100'\. .*\(executor\.hardware=NAME\)"):
        executor(slots=3)
    with pytest.raises(ExecutorError, match=r"executor.hardware='V100' matches no node's hardware: 3 slots of"):
        executor(slots=3, hardware_policy=HardwarePolicy(hardware="V100"))


def test_one_kind_of_hardware_can_be_chosen(cluster: Cluster) -> None:
    cluster.comes = kinds
    with executor(slots=3, hardware_policy=HardwarePolicy(hardware="H")) as ours:
        assert [slot.index for slot in ours.slots] == [0, 1]
        assert ours.conditions.hardware == "H100"
        assert cluster.workers[2].killed
        cluster.comes = lambda number: ready("c", "A100")
        ours.submit(request("x"))
        cluster.workers[0].answer("evaluate", ActorDied("gone"))
        until(lambda: ours.wait(0.02) is not None and len(cluster.workers) == 4)
        ours.wait(0.05)
        assert ours.free == 1, "a node of other hardware cannot take the place of a lost one"
        assert cluster.workers[3].killed
        assert any("its hardware is 'A100'" in note for note in ours.notes)


def test_of_chosen_hardware_that_is_mixed_others_take_no_place_either(cluster: Cluster) -> None:
    cluster.comes = lambda number: ready("a", "H100") if number == 1 else ready("b", "H200")
    with executor(hardware_policy=HardwarePolicy(hardware="H", mixed=True)) as ours:
        cluster.comes = lambda number: ready("c", "A100") if number == 3 else ready("d", "H300")
        ours.submit(request("x"))
        cluster.workers[0].answer("evaluate", ActorDied("gone"))
        until(lambda: ours.wait(0.02) is not None and "c" in ours._pool.refused)
        assert ours.free == 1
        assert "NOTE: c is not used: its hardware is 'A100', and executor.hardware='H' does not match." in ours.notes
        ours._pool.handles[0].retry_at = 0.0  # no pause
        until(lambda: ours.wait(0.02) == [] and ours.free == 2)


def test_different_hardware_can_be_compared_all_the_same(cluster: Cluster) -> None:
    cluster.comes = kinds
    with executor(slots=3, hardware_policy=HardwarePolicy(mixed=True)) as ours:
        assert ours.free == 3
        assert ours.conditions.hardware == MIXED
        ours.submit(request("a"))
        cluster.workers[0].answer("evaluate", scored(request("a")))
        (landed,) = ours.wait(5)
        assert landed.conditions == ours.conditions
        assert landed.device == "cuda:0@a (H100)", "what it was made on is in the record all the same"


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": "long"}, {"patience": math.nan}, {"mixed": "yes"}])
def test_terms_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"executor\.(patience|mixed) is"):
        HardwarePolicy.of(typed(RayOptions, options, "executor"))
