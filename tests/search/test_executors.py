"""``executor=ray`` from the command line on: where there is no cluster, and what its settings come to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inside import search
from launching import STUB, command, run

import search as asktell
from prepare.config import Part, SettingsError, typed
from search import factory, settings
from search.cli.doctor import findings_for
from search.cli.evaluate import rescore
from search.config import Config
from train.executors.base import ExecutionConfig, ExecutorError
from train.executors.local import LocalExecutor
from train.executors.ray import executor as ray_module
from train.executors.ray.cluster import NodeFacts, RayOptions
from train.executors.ray.executor import RayExecutor
from train.executors.ray.pool import HardwarePolicy

NODES = (NodeFacts("1", "a", 16, 4), NodeFacts("2", "b", 8, 0))
NOWHERE = ("executor=ray", "executor.address=127.0.0.1:9")

ray = pytest.importorskip("ray", reason="the package ray is not installed: pip install 'treewright[ray]'")


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A cluster of two nodes, of which one has GPUs; the addresses that were joined."""
    addresses: list[str] = []
    monkeypatch.setattr(ray_module, "connect", addresses.append)
    monkeypatch.setattr(ray_module, "living_nodes", lambda: NODES)
    monkeypatch.setattr(ray_module, "head_address", lambda: "a:6379")
    monkeypatch.setattr(ray_module, "smallest_gpu_memory", lambda nodes, probe: 80 * 10**9)
    return addresses


def config(*overrides: str) -> Config:
    return settings.config_for(["executor=ray", "llm=none", *overrides], factory.device_for)


@pytest.mark.parametrize(
    ("overrides", "slots", "device", "threads"),
    [
        ((), 4, "cuda", 4),
        (("executor.slots=2",), 2, "cuda", 4),
        (("executor.threads=8",), 2, "cuda", 8),
        (("executor.gpus=0",), 24, "cpu", 1),
        (("executor.gpus=0", "executor.threads=4"), 6, "cpu", 4),
    ],
)
def test_slots_follow_from_the_cluster_and_the_settings(
    joined: list[str], overrides: tuple[str, ...], slots: int, device: str, threads: int
) -> None:
    made = RayExecutor.find_slots(config(*overrides).executor.options)
    assert len(made) == slots
    assert {(slot.device, slot.threads) for slot in made} == {(device, threads)}


def test_the_preset_of_a_task_is_that_of_the_clusters_gpus(joined: list[str]) -> None:
    """This machine has none."""
    assert RayExecutor.device({}) == "cuda_80gb"
    assert config().task["seconds"] == 60.0
    assert config("executor.gpus=0").task["seconds"] == 10.0


def test_the_other_settings_arrive(joined: list[str]) -> None:
    words = ("executor.address=a:6379", "executor.hardware=H100", "executor.mixed=true", "executor.patience=7")
    executor = config(*words).executor
    assert HardwarePolicy.of(typed(RayOptions, executor.options, "executor")) == HardwarePolicy("H100", True, 7)
    assert set(joined) == {"a:6379"}
    assert factory.executor_kind(executor) is RayExecutor


def test_the_doctor_describes_the_cluster(joined: list[str]) -> None:
    words = {finding.what: finding.words for finding in findings_for(config())}
    assert words["device"] == (
        "Ray cluster a:6379 (a: 16 cores, 4 GPUs; b: 8 cores): 4 slots with 1 GPU and 4 cores each"
    )


def test_ask_and_tell_have_no_cluster(joined: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"search\.Search evaluates in this process: omit executor="):
        asktell.Search(overrides=["executor=ray", "llm=none"])


@pytest.mark.slow
def test_without_a_cluster_a_search_does_not_begin(tmp_path: Path) -> None:
    done = search(tmp_path, *NOWHERE)
    assert done.returncode == 2
    assert "error: no Ray cluster answers at executor.address=127.0.0.1:9" in done.stderr
    assert "`ray start --head`" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*.duckdb")) == []


def test_without_a_cluster_the_doctor_says_so(tmp_path: Path) -> None:
    done = search(tmp_path, "doctor", *NOWHERE)
    assert done.returncode == 1
    assert "problem  slots" in done.stdout
    assert "no Ray cluster answers" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_doctor_finds_one_problem_in_slots_that_make_no_sense(tmp_path: Path) -> None:
    done = search(tmp_path, "doctor", "executor.slots=0", "llm=none")
    assert done.returncode == 1
    assert "1 problem to fix" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_executor_hears_of_the_task_that_an_export_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts elsewhere make the task from the configuration: it must not be the one of the settings."""
    given: list[ExecutionConfig] = []

    def of(config: ExecutionConfig, *_: object) -> None:
        given.append(config)
        raise ExecutorError("seen enough")

    monkeypatch.setattr(LocalExecutor, "of", of)
    task = settings.config_for(["llm=none"], "cpu").task
    (tmp_path / "task.json").write_text(json.dumps({**task, "seconds": 3.25}))
    (tmp_path / "train.py").write_text("X = 1\n")
    assert rescore([str(tmp_path), *STUB]) == 1
    assert given[0].task["seconds"] == given[0]["task"]["seconds"] == 3.25


@pytest.mark.slow
@pytest.mark.parametrize("words", [("evaluate", "train.py"), ("ablate", "3fa9")])
def test_the_commands_beside_say_so_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "train.py").write_text("X = 1\n")
    done = run(command(*words, *NOWHERE, stub=False), tmp_path)
    assert done.returncode in (1, 2)
    assert "error: no Ray cluster answers at executor.address=127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_class_that_is_no_executor_is_said() -> None:
    with pytest.raises(SettingsError, match=r"'train\.hardware\.slots\.Slot' has no device, find_slots"):
        factory.executor_kind(Part("train.hardware.slots.Slot", {}))


def test_an_executor_that_does_not_exist_is_said(tmp_path: Path) -> None:
    done = search(tmp_path, "executor._target_=train.nowhere.Executor")
    assert done.returncode == 2
    assert "error: the executor cannot be made: _target_ 'train.nowhere.Executor' cannot be imported" in done.stderr
