"""Hosts of a Ray cluster, in this process: what they refuse, what they share on a node, what they send back."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from orphans import ends, orphan
from underway import until

from archive.records import Evaluation, Request
from prepare.language_model import LanguageModelTask
from prepare.load import task_from
from search import factory, settings
from search.config import Config
from train.executors.ray import worker as module
from train.executors.ray.worker import Ready, Refused, Worker, WorkerSpec, source_digest
from train.hardware.slots import Slot
from train.progress import ProgressCallback
from train.sandbox import environment

sys.path.append(str(Path(__file__).resolve().parents[1] / "search"))
from stub_evaluator import StubEvaluator


class Patient(StubEvaluator):
    """Reports a loss now and then until it is cancelled."""

    def evaluate(self, request: Request, slot: Slot, cancelled: threading.Event, watch: ProgressCallback) -> Evaluation:  # type: ignore[override]
        while not cancelled.is_set() and self.delay:
            watch("train", 0.5, 4.0)
            time.sleep(0.01)
        return super().evaluate(request, slot, cancelled, lambda phase, share: None)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(module, "_node_id", lambda: "this node")
    monkeypatch.setattr(module, "_exit_with_raylet", lambda: None)
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    patient = {"_target_": f"{__name__}.Patient", "delay": 0.0}
    return settings.config_for(["sandbox=none", "task.seconds=0.01"], "cpu", evaluator=patient)


@pytest.fixture
def spec(config: Config) -> WorkerSpec:
    return WorkerSpec.of(config.execution, gpus=0, threads=1, fingerprint="stub-corpus")


def request(config: Config) -> Request:
    task = task_from(config.task)
    return Request("node", "run", 3, factory.seed_files(task), 11, "screen")


def test_a_worker_says_what_it_is_and_evaluates(config: Config, spec: WorkerSpec) -> None:
    worker = Worker()
    ready = worker.prepare(spec, 5)
    assert isinstance(ready, Ready), ready
    assert (ready.node_id, ready.tier, ready.slot.index, ready.slot.device) == ("this node", "none", 5, "cpu")
    assert ready.conditions.hardware == "stub"
    assert ready.device == f"cpu@{ready.node}"
    landed = worker.evaluate(request(config))
    assert (landed.outcome, landed.device) == ("scored", ready.device)
    assert (landed.request.move, landed.request.files) == (3, {}), "the driver has the files"


def test_a_cancelled_evaluation_ends_and_can_be_looked_at(config: Config, spec: WorkerSpec) -> None:
    worker = Worker()
    worker.prepare(replace(spec, evaluator={**spec.evaluator, "delay": 60.0}), 0)
    landed: list[Evaluation] = []
    thread = threading.Thread(target=lambda: landed.append(worker.evaluate(request(config))))
    thread.start()
    until(lambda: worker.progress().phase == "train")
    assert (worker.progress().share, worker.progress().losses[0]) == (0.5, (0.5, 4.0))
    worker.cancel()
    thread.join(20)
    assert len(landed) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "another"}, r"has another version there .*; the search has another\): install the same"),
        ({"fingerprint": "other texts"}, r"its data differ \(stub-corpus; the search has other texts\)"),
        ({"gpus": 1}, r"Ray has assigned a GPU to it, but torch sees none there"),
        ({"sandbox": "docker"}, r"sandbox=docker is unknown"),
        ({"evaluator": {"_target_": "nowhere.Evaluator"}}, r"_target_ 'nowhere.Evaluator' cannot be imported"),
        ({"evaluator": {"_target_": "stub_evaluator.StubEvaluator", "nonsense": 1}}, r"unexpected keyword .*nonsense"),
        ({"task": {"name": "x"}}, r"does not say whether its metric"),
    ],
)
def test_a_worker_that_cannot_serve_says_why(spec: WorkerSpec, change: dict[str, Any], words: str) -> None:
    refused = Worker().prepare(replace(spec, **change), 0)
    assert isinstance(refused, Refused)
    assert refused.node_id == "this node"
    assert re.search(words, refused.reason), refused.reason


def test_a_worker_runs_where_the_driver_is(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TREEWRIGHT_CACHE", "/somewhere")
    sys.path.append(str(tmp_path / "ours"))
    spec = WorkerSpec.of(config.execution, gpus=0, threads=1, fingerprint="stub-corpus")
    sys.path.remove(str(tmp_path / "ours"))
    monkeypatch.chdir("/")
    monkeypatch.delenv("TREEWRIGHT_CACHE")
    module._adopt_environment(replace(spec, paths=(*spec.paths, "/no/such/folder")))
    assert Path.cwd() == tmp_path / "here"
    assert os.environ["TREEWRIGHT_CACHE"] == "/somewhere"
    assert str(tmp_path / "ours") in sys.path
    assert "/no/such/folder" not in sys.path
    monkeypatch.setenv("TREEWRIGHT_CACHE", "/of the node")
    module._adopt_environment(replace(spec, folder="/no/such/folder"))
    assert os.environ["TREEWRIGHT_CACHE"] == "/of the node", "what a node has of its own stays"


def test_the_data_of_a_node_are_prepared_by_one_worker_at_a_time(
    spec: WorkerSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = [0], [0]

    def prepare(task: LanguageModelTask) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.1)
        inside[0] -= 1

    monkeypatch.setattr(LanguageModelTask, "prepare", prepare)
    threads = [threading.Thread(target=Worker().prepare, args=(spec, index)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]


def test_workers_of_a_node_have_cores_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module, "usable_cores", lambda: [2, 3, 4, 5, 6])
    with module._cores(2) as first, module._cores(2) as second:
        assert (first, second) == ((2, 3), (4, 5))
        with module._cores(2) as third:
            assert third == (), "one core alone would not do; the system chooses then"
        with module._cores(1) as fourth:
            assert fourth == (6,)
    with module._cores(5) as later:
        assert later == (2, 3, 4, 5, 6)


CHILD = """
import time
from train.executors.ray.worker import _exit_with_raylet
_exit_with_raylet()
print("watching", flush=True)
time.sleep(600)
"""


def test_a_worker_ends_with_the_process_that_started_it() -> None:
    number, said = orphan(CHILD)
    assert said == "watching"
    ends(number)


def test_the_digest_is_of_what_makes_scores() -> None:
    assert source_digest() == source_digest()
    assert len(source_digest()) == 12


def test_the_lock_of_an_editor_is_no_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Some editors keep a link to nowhere beside a file that is being changed."""
    (tmp_path / "prepare").mkdir()
    (tmp_path / "train" / "sandbox" / "confine").mkdir(parents=True)
    (tmp_path / "train" / "language_model").mkdir()
    for name in ("prepare/task.py", "train/sandbox/confine/filters.py", "train/language_model/worker.py"):
        (tmp_path / name).write_text("X = 1\n")
    (tmp_path / "prepare" / ".#task.py").symlink_to("somebody@somewhere.1234")
    for place in (module, environment):
        monkeypatch.setattr(place, "HOUSE", tmp_path)
    assert len(source_digest.__wrapped__()) == 12
    (tmp_path / "stage").mkdir()
    environment.stage_library(tmp_path / "stage")
    assert [path.name for path in (tmp_path / "stage" / "library" / "prepare").iterdir()] == ["task.py"]
