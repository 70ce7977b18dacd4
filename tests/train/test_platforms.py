"""What other platforms lack, pretended here: no sandbox, no /proc, no memory files, no nvidia-smi; AMD's and Mac GPUs.

None of this has been run on such a machine: the tests show that what is missing is said plainly and is no crash.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from orphans import ends, orphan

from archive.records import Request, Scored
from prepare.language_model import LanguageModelTask
from search import factory, settings
from search.cli.doctor import findings_for
from train.executors.local import LocalExecutor
from train.hardware import slots
from train.hardware.devices import Leases, NvidiaSmi, gpu_warnings
from train.hardware.slots import Slot, device_kind, gpu_slot, make_slots
from train.hardware.vendors import hardware_tag, vendor_of
from train.language_model import training
from train.language_model.evaluator import AuditedEvaluator
from train.sandbox import owner
from train.sandbox.base import Bubblewrap, NoSandbox, SandboxUnavailable, find_sandbox, probe_tiers
from train.sandbox.confine import landlock
from train.sandbox.environment import environment_for


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process believes to be on macOS, with torch's GPU of a Mac."""
    import torch

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("memfd_create", "sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, name)


@pytest.fixture
def amd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two of AMD's GPUs, and a torch that was built for them."""
    import torch

    monkeypatch.setattr(slots, "visible_gpus", lambda: (0, 1))
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: "AMD Instinct MI300X")
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


# ---------------------------------------------------------------- macOS


@pytest.mark.usefixtures("mac")
def test_a_mac_has_no_sandbox_and_says_what_to_do() -> None:
    assert list(probe_tiers()) == []
    for choice in ("auto", "bwrap", "landlock"):
        with pytest.raises(SandboxUnavailable, match=r"no sandbox for Darwin\. .*sandbox=none .*Linux container"):
            find_sandbox(choice)
    assert find_sandbox("none").tier == "none"
    assert landlock.abi() == 0


@pytest.mark.usefixtures("mac")
def test_a_mac_has_one_slot_on_its_gpu() -> None:
    assert device_kind() == LocalExecutor.device({}) == "mps"
    (slot,) = make_slots(None)
    assert (slot.device, slot.gpu, slot.cores) == ("mps", None, ())
    assert slot.threads == os.cpu_count()
    assert " mps x1 / " in hardware_tag(slot)
    assert environment_for(slot)["CUDA_VISIBLE_DEVICES"] == ""
    assert vendor_of(slot).device_files(slot) == []
    with pytest.raises(ValueError, match=r"executor\.slots is 2, and there is one GPU \(mps\)"):
        make_slots(2)
    assert "not measured" in gpu_warnings((slot,))[0]


@pytest.mark.usefixtures("mac")
def test_a_mac_without_that_gpu_runs_on_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_kind() == "cpu"
    assert len(make_slots(None)) == os.cpu_count()
    assert gpu_warnings(make_slots(1)) == []


@pytest.mark.usefixtures("mac")
def test_the_doctor_of_a_mac_finds_one_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings.config_for(["llm=none"], factory.device_for)
    problems = [finding for finding in findings_for(config) if finding.level == "problem"]
    assert [finding.what for finding in problems] == ["sandbox"]
    assert "no sandbox for Darwin" in problems[0].words


@pytest.mark.slow
@pytest.mark.usefixtures("mac")
def test_a_candidate_is_scored_without_a_sandbox_and_the_record_says_so(
    toy_task: LanguageModelTask, toy_seed: str
) -> None:
    """Everything of the parent's that Linux alone has is missing; the worker runs on Linux all the same."""
    slot = Slot(index=0, device="cpu", gpu=None, cores=(), threads=1)
    request = Request("node", "run", 0, {"train.py": toy_seed}, 11, "screen")
    evaluator = AuditedEvaluator(toy_task, NoSandbox(), memory_groups=False)
    landed = evaluator.evaluate(request, slot, threading.Event(), lambda phase, share, loss=None: None)
    assert isinstance(landed, Scored), landed
    assert (landed.sandbox, landed.trust, landed.resources.memory_by) == ("none", "audited_shared", "watch")


def test_without_memory_files_the_data_lie_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    descriptor = training._sealed_memfd(b"some text")
    try:
        assert os.read(descriptor, 100) == b"some text"
        assert os.fstat(descriptor).st_nlink == 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"other")
    finally:
        os.close(descriptor)


def test_without_proc_an_owner_is_known_by_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> str:
        raise FileNotFoundError("no /proc here")

    exists, stat = os.path.exists, os.stat
    monkeypatch.setattr(Path, "read_text", nothing)
    monkeypatch.setattr(os.path, "exists", lambda path: not str(path).startswith("/proc") and exists(path))
    monkeypatch.setattr(os, "stat", lambda path, **more: nothing() if "/proc" in str(path) else stat(path, **more))
    owner._place.cache_clear()
    try:
        assert owner.status(owner.tag()) == "alive"
        sleeper = subprocess.Popen(["sleep", "60"])
        born = int(psutil.Process(sleeper.pid).create_time())
        sleeper.kill()
        sleeper.wait()
        assert owner.status(f"boot-{sleeper.pid}-{born}") == "dead"
    finally:
        owner._place.cache_clear()


WORKER = """
import os, sys, time
sys.platform = "darwin"
sys.path[:0] = ["train/sandbox", "."]
import confine
hello = {"processes": 0, "file_bytes": 10**9, "die_with": os.getppid(), "device": "mps"}
confine.confine(hello, "none")
print("confined", flush=True)
time.sleep(60)
"""


def test_a_worker_of_a_mac_ends_with_its_parent() -> None:
    number, said = orphan(WORKER)
    assert said == "confined"
    ends(number)


# ---------------------------------------------------------------- AMD


@pytest.mark.usefixtures("amd")
def test_a_slot_on_amds_gpus() -> None:
    first, second = make_slots(2)
    assert (second.device, second.gpu, second.amd, second.uuid, second.minor) == ("cuda", 1, True, None, None)
    assert hardware_tag(first).startswith("AMD Instinct MI300X x1 / rocm 6.4 / torch ")
    environment = environment_for(second)
    assert environment["HIP_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in environment
    command = " ".join(Bubblewrap(Path("/usr/bin/bwrap")).wrap(Path("/stage"), 5, second).command)
    assert "--dev-bind-try /dev/kfd /dev/kfd" in command
    assert "--ro-bind-try /sys/class/kfd /sys/class/kfd" in command
    assert "nvidia" not in command


@pytest.mark.usefixtures("amd")
def test_what_cannot_be_measured_on_amds_gpus_is_said() -> None:
    (note,) = gpu_warnings(make_slots(2), NvidiaSmi("/bin/true"))
    assert "memory and load of the GPUs are not measured" in note
    with Leases().lease(make_slots(1)[0], threading.Event()) as lease:
        pass
    assert (lease.metrics, lease.peak_mb) == ({}, None)


# ---------------------------------------------------------------- GPUs that the environment names


@pytest.mark.parametrize(
    ("shown", "gpu", "name", "number"),
    [("3,5", 1, "5", 5), ("", 1, "1", 1), ("GPU-cc", 0, "GPU-cc", 7)],
)
def test_a_candidate_sees_the_gpu_that_this_process_means(
    monkeypatch: pytest.MonkeyPatch, shown: str, gpu: int, name: str, number: int
) -> None:
    """torch counts what is visible here; in the sandbox, and among the device files, others count."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    monkeypatch.setattr(slots, "gpu_identity", lambda gpu: (None, None))
    monkeypatch.setattr(slots, "device_minor", {"GPU-cc": 7}.get)
    slot = gpu_slot(0, gpu, (), 1)
    assert environment_for(slot)["CUDA_VISIBLE_DEVICES"] == name
    assert vendor_of(slot).device_files(slot)[0] == f"/dev/nvidia{number}"
    assert slot.uuid == ("GPU-cc" if shown == "GPU-cc" else None)


@pytest.mark.parametrize(
    ("shown", "seen"), [("0,0", 0), ("8", 0), ("-1", 0), ("0,8", 1), ("0,GPU-aa", 0), ("GPU-zz", 0), ("x", 0), (" ", 0)]
)
def test_a_gpu_that_torch_does_not_see_is_not_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, shown: str, seen: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    monkeypatch.setattr(slots, "has_device_files", lambda: True)
    monkeypatch.setattr(slots, "visible_gpus", lambda: tuple(range(seen)))
    for use in (make_slots, lambda count: device_kind()):
        with pytest.raises(ValueError, match=rf"CUDA_VISIBLE_DEVICES is '{shown}', and torch sees {seen} GPUs"):
            use(None)


def test_a_partition_of_a_gpu_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its device files and its lease would be those of another device."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,MIG-11-22")
    with pytest.raises(ValueError, match=r"CUDA_VISIBLE_DEVICES names MIG-11-22, a partition .*; expected a whole GPU"):
        gpu_slot(0, 1, (), 1)


@pytest.mark.parametrize("shown", ["", "NoDevFiles", None])
def test_no_gpu_is_a_choice(monkeypatch: pytest.MonkeyPatch, shown: str | None) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown) if shown is not None else monkeypatch.delenv(
        "CUDA_VISIBLE_DEVICES", raising=False
    )
    monkeypatch.setattr(slots, "has_device_files", lambda: True)
    monkeypatch.setattr(slots, "visible_gpus", lambda: ())
    assert device_kind() == "cpu"


def test_a_partition_of_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aa,MIG-bb")
    monkeypatch.setattr(slots, "visible_gpus", lambda: (0, 1))
    with pytest.raises(ValueError, match=r"names MIG-aa, a partition \(MIG\) of a GPU; expected a whole GPU"):
        make_slots(None)


def test_torch_is_not_asked_where_no_device_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert slots.visible_gpus(tmp_path) == ()
    for name in ("nvidia0", "kfd", "dxg"):
        (tmp_path / name).touch()
        assert slots.visible_gpus(tmp_path) == (0, 1), name
        (tmp_path / name).unlink()
