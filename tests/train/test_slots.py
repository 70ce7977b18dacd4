"""Slots: how many, on which cores, and what their hardware is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from train import slots as module
from train.slots import Slot, hardware_tag, make_slots, usable_cores


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def of(cores: list[int], gpus: tuple[int, ...] = ()) -> None:
        monkeypatch.setattr(module, "usable_cores", lambda: cores)
        monkeypatch.setattr(module, "visible_gpus", lambda: gpus)

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
    assert [slot.gpu for slot in make_slots(3)] == [0, 1, 0]


@pytest.mark.parametrize("count", [0, -1])
def test_no_slot_at_all_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"executor.slots is {count}; expected a positive number"):
        make_slots(count)


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
