"""Slots: how many, on which cores, and what their hardware is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.executors.local import LocalExecutor
from train.hardware import slots as module
from train.hardware import vendors
from train.hardware.slots import Slot, device_minor, make_slots, shared_cores_warning, usable_cores
from train.hardware.vendors import driver_version, hardware_tag
from train.sandbox.base import Bubblewrap


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def of(cores: list[int], gpus: tuple[int, ...] = ()) -> None:
        monkeypatch.setattr(module, "usable_cores", lambda: cores)
        monkeypatch.setattr(module, "visible_gpus", lambda: gpus)
        monkeypatch.setattr(module, "gpu_identity", lambda gpu: (f"GPU-{gpu}", 7 - gpu))

    return of


def test_a_core_a_slot_and_a_thread_each(machine) -> None:
    machine([0, 1, 4, 5])
    assert make_slots(None) == tuple(
        Slot(index=i, device="cpu", gpu=None, cores=(core,), threads=1) for i, core in enumerate([0, 1, 4, 5])
    )


def test_more_threads_make_fewer_slots(machine) -> None:
    machine([0, 1, 2, 3, 4])
    assert [(slot.cores, slot.threads) for slot in make_slots(None, threads=2)] == [((0, 1), 2), ((2, 3), 2)]


def test_more_slots_than_cores_share_them_in_turn(machine) -> None:
    machine([0, 1])
    assert [slot.cores for slot in make_slots(3)] == [(0,), (1,), (0,)]


def test_more_threads_than_cores_is_one_slot_with_all(machine) -> None:
    machine([0, 1])
    assert make_slots(None, threads=8) == (Slot(index=0, device="cpu", gpu=None, cores=(0, 1), threads=8),)


def test_a_gpu_a_slot_and_the_cores_are_dealt(machine) -> None:
    machine([0, 1, 2, 3], gpus=(0, 1))
    assert [(s.device, s.gpu, s.cores, s.threads) for s in make_slots(None)] == [
        ("cuda", 0, (0, 1), 2),
        ("cuda", 1, (2, 3), 2),
    ]
    assert [(s.uuid, s.minor) for s in make_slots(None)] == [("GPU-0", 7), ("GPU-1", 6)]
    assert [slot.gpu for slot in make_slots(1)] == [0]


def test_a_gpu_is_never_shared(machine) -> None:
    machine([0, 1, 2, 3], gpus=(0, 1))
    with pytest.raises(ValueError, match=r"executor.slots is 3, and torch sees 2 GPUs: a device runs one candidate"):
        make_slots(3)


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("threads", [None, 1, 2, 3, 8])
@pytest.mark.parametrize("gpus", [(), (0,), (0, 1), (0, 1, 2)])
def test_no_core_is_shared_unless_more_slots_are_asked_for(machine, cores: int, threads: int | None, gpus) -> None:
    machine(list(range(cores)), gpus=gpus)
    slots = make_slots(None, threads)
    used = [core for slot in slots for core in slot.cores]
    assert (len(used) == len(set(used))) == (shared_cores_warning(slots) is None)
    if len(gpus) <= cores:
        assert shared_cores_warning(slots) is None


def test_sharing_is_said_with_the_cure(machine) -> None:
    machine([0, 1])
    said = shared_cores_warning(make_slots(3))
    assert said is not None
    assert said.startswith("3 slots share core 0: ")
    assert "executor.slots=2 would not" in said
    assert shared_cores_warning(make_slots(2)) is None
    assert "2 slots share cores 0, 1" in str(shared_cores_warning(make_slots(2, threads=2)))


@pytest.mark.parametrize("count", [0, -1])
def test_no_slot_and_no_thread_at_all_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"executor.slots is {count}; expected a positive number"):
        make_slots(count)
    with pytest.raises(ValueError, match=f"executor.threads is {count}; expected a positive number"):
        make_slots(None, count)


@pytest.mark.parametrize(
    ("quota", "expected"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)]
)
def test_a_containers_quota_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    if quota:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cores(tmp_path) == list(range(expected))


def test_the_hardware_tag_names_device_threads_and_torch() -> None:
    import torch

    tag = hardware_tag(make_slots(1)[0])
    assert tag.endswith(f"x1 thread / torch {torch.__version__.split('+')[0]}")
    assert "x2 threads" in hardware_tag(Slot(index=0, device="cpu", gpu=None, cores=(0,), threads=2))


INFORMATION = """\
Model: \t\t NVIDIA H200
IRQ:   \t\t 95
GPU UUID: \t GPU-{uuid}
Video BIOS: \t 96.00.bc.00.01
Bus Location: \t 0000:{bus}.0
Device Minor: \t {minor}
GPU Excluded:\t No
"""


def test_a_device_file_has_a_number_of_its_own(tmp_path: Path) -> None:
    for bus, uuid, minor in (("1a:00", "aaaa", 3), ("5d:00", "bbbb", 0)):
        (tmp_path / f"0000:{bus}.0").mkdir()
        text = INFORMATION.format(bus=bus, uuid=uuid, minor=minor)
        (tmp_path / f"0000:{bus}.0" / "information").write_text(text)
    (tmp_path / "0000:ff:00.0").mkdir()
    (tmp_path / "0000:ff:00.0" / "information").write_text("GPU UUID: GPU-cccc\nDevice Minor: none\n")
    assert [device_minor(f"GPU-{each}", tmp_path) for each in ("aaaa", "bbbb", "cccc", "dddd")] == [3, 0, None, None]
    assert device_minor("GPU-aaaa", tmp_path / "nothing") is None


def test_the_tag_of_a_gpu_names_its_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    (tmp_path / "version").write_text("575.57.08\n")
    assert driver_version(tmp_path / "version") == "575.57.08"
    assert driver_version(tmp_path / "missing") == "unknown"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: f"NVIDIA H200 number {gpu}")
    monkeypatch.setattr(vendors, "driver_version", lambda: "575.57.08")
    tag = hardware_tag(Slot(index=0, device="cuda", gpu=1, cores=(0,), threads=1))
    assert tag.startswith("NVIDIA H200 number 1 x1 / driver 575.57.08 / cuda ")


def test_gpus_of_different_kinds_are_not_taken_together(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine([0, 1, 2, 3], gpus=(0, 1, 2))
    monkeypatch.setattr(vendors, "hardware_tag", lambda slot: "A100" if slot.gpu == 1 else "H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    words = r"\(H100: GPU 0, 2; A100: GPU 1\).*Choose those of one kind with CUDA_VISIBLE_DEVICES=4,6"
    with pytest.raises(ValueError, match=words):
        LocalExecutor.find_slots({})
    monkeypatch.setattr(vendors, "hardware_tag", lambda slot: "H100")
    assert len(LocalExecutor.find_slots({})) == 3


def test_a_candidate_sees_the_device_of_its_slot_by_uuid_and_file() -> None:
    command = Bubblewrap(Path("/usr/bin/bwrap")).wrap(
        Path("/stage"), 5, Slot(index=1, device="cuda", gpu=0, cores=(0,), threads=1, uuid="GPU-ab", minor=6)
    )
    words = " ".join(command.command)
    assert "--dev-bind-try /dev/nvidia6 /dev/nvidia6" in words
    assert "/dev/nvidia0" not in words
    assert "--setenv CUDA_VISIBLE_DEVICES GPU-ab" in words
    without = Bubblewrap(Path("/usr/bin/bwrap")).wrap(Path("/stage"), 5, make_slots(1)[0])
    assert "nvidia" not in " ".join(without.command)
    assert " ".join(without.command).count("--setenv CUDA_VISIBLE_DEVICES  ") == 1
