"""Leases of slots and GPUs, with a made-up ``nvidia-smi``: one candidate at a time, on an empty device, its peak."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from train.hardware import devices
from train.hardware.devices import DeviceInUse, DeviceLoad, GpuMeter, Leases, NvidiaSmi, gpu_warnings
from train.hardware.slots import Slot

UUID = "GPU-0ff1ce"
GPU = Slot(index=0, device="cuda", gpu=0, cores=(0,), threads=1, uuid=UUID, minor=3)
CPU = Slot(index=0, device="cpu", gpu=None, cores=(0,), threads=1)

SMI = """\
#!/bin/sh
# prints the first line of the file `used`, and with --loop-ms every 20 ms again
case "$*" in *--id=GPU-0ff1ce*) ;; *) echo "No devices were found"; exit 6 ;; esac
case "$*" in *memory.used*noheader,nounits*) ;; *) exit 2 ;; esac
head -n 1 {folder}/used
case "$*" in *--loop-ms=1000*) while sleep 0.02; do head -n 1 {folder}/used; done ;; esac
"""


class Machine:
    """A device with some memory in use, in MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.smi = folder / "nvidia-smi"
        self.smi.write_text(SMI.format(folder=folder))
        self.smi.chmod(0o755)
        self.use(4)

    def use(self, mebibytes: object) -> None:
        (self.folder / "new").write_text(f"{mebibytes}\n")
        os.replace(self.folder / "new", self.folder / "used")

    def leases(self, patience: float = 0.5) -> Leases:
        return Leases(NvidiaSmi(str(self.smi)), self.folder, patience)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def never() -> threading.Event:
    return threading.Event()


def test_memory_in_use_is_asked_for_by_uuid(machine: Machine) -> None:
    machine.use(1000)
    assert NvidiaSmi(str(machine.smi)).load(UUID) == DeviceLoad(pytest.approx(1048.576))
    assert NvidiaSmi(str(machine.smi)).load("GPU-another") is None
    machine.use("[N/A]")
    assert NvidiaSmi(str(machine.smi)).load(UUID) is None


def test_without_nvidia_smi_nothing_is_measured_and_nothing_fails(tmp_path: Path) -> None:
    nvidia = NvidiaSmi(str(tmp_path / "missing"))
    assert nvidia.load(UUID) is None
    with Leases(nvidia, tmp_path).lease(GPU, never()) as lease:
        pass
    assert (lease.before_mb, lease.peak_mb) == (None, None)


def test_the_peak_is_what_came_on_top(machine: Machine) -> None:
    machine.use(100)
    with machine.leases().lease(GPU, never()) as lease:
        for used in (100, 5000, 3000):
            machine.use(used)
            time.sleep(0.5)
    assert lease.before_mb == pytest.approx(104.8576)
    assert lease.peak_mb == pytest.approx(4900 * 1.048576)


@pytest.mark.parametrize(
    ("printed", "load"),
    [
        ("1000, 17", DeviceLoad(1048.576, 0.17)),
        ("1000, [N/A]", DeviceLoad(1048.576)),
        ("1000", DeviceLoad(1048.576)),
        ("[N/A], 17", None),
    ],
)
def test_the_load_is_read_as_far_as_it_is_told(machine: Machine, printed: str, load: DeviceLoad | None) -> None:
    machine.use(printed)
    assert NvidiaSmi(str(machine.smi)).load(UUID) == load


def test_somebody_elses_load_is_in_the_record(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_UTILIZATION_SECONDS", 0.01)
    machine.use("8000, 60")
    with machine.leases().lease(GPU, never()) as lease:
        pass
    assert lease.metrics == {"device_others_mb": pytest.approx(8388.608), "device_others_busy": 0.6}


def test_what_the_last_candidate_left_of_a_second_is_not_somebody_elses_load(machine: Machine) -> None:
    """Its kernels are in the figure for a second after it has ended: a busy device is looked at again."""
    machine.use("4, 90")
    threading.Timer(0.3, machine.use, ["4, 2"]).start()
    with machine.leases().lease(GPU, never()) as lease:
        pass
    assert lease.others_utilization == 0.02


def test_a_person_is_told_of_others_on_the_gpus(machine: Machine, tmp_path: Path) -> None:
    nvidia = NvidiaSmi(str(machine.smi))
    machine.use("4, 3")
    assert gpu_warnings((GPU, CPU), nvidia) == []
    machine.use("8000, 3")
    assert "other processes have 8,389 MB of GPU 0 (GPU-0ff1ce) and keep it 3% busy" in gpu_warnings((GPU,), nvidia)[0]
    machine.use("4, 50")
    assert "keep it 50% busy" in gpu_warnings((GPU,), nvidia)[0]
    (note,) = gpu_warnings((GPU,), NvidiaSmi(str(tmp_path / "missing")))
    assert note.startswith("memory and load of the GPU are not measured, since there is no nvidia-smi")
    assert gpu_warnings((CPU,), NvidiaSmi(str(tmp_path / "missing"))) == []


def test_a_slot_of_a_cpu_has_no_device_memory() -> None:
    with Leases().lease(CPU, never()) as lease:
        pass
    assert lease.peak_mb is None


@pytest.mark.parametrize("slot", [CPU, GPU])
def test_a_slot_is_leased_once_at_a_time(machine: Machine, slot: Slot) -> None:
    leases = machine.leases()
    with leases.lease(slot, never()):
        with pytest.raises(RuntimeError, match="slot 0 is taken: one candidate at a time"), leases.lease(slot, never()):
            raise AssertionError("it was leased twice")
        with leases.lease(Slot(index=1, device="cpu", gpu=None, cores=(1,), threads=1), never()):
            pass  # another one is free
    with leases.lease(slot, never()):
        pass  # and it is free again


def test_two_slots_cannot_have_one_device(machine: Machine) -> None:
    leases, second = machine.leases(), Slot(index=1, device="cuda", gpu=0, cores=(1,), threads=1, uuid=UUID, minor=3)
    with (
        leases.lease(GPU, never()),
        pytest.raises(RuntimeError, match=f"GPU {UUID} is taken"),
        leases.lease(second, never()),
    ):
        raise AssertionError("it was leased twice")


def test_a_device_that_is_not_empty_is_not_given_to_the_next(machine: Machine) -> None:
    leases = machine.leases()
    with leases.lease(GPU, never()):
        machine.use(4000)  # and it stays: something of the candidate's is still there
    with pytest.raises(DeviceInUse, match=r"has 4,194 MB in use, 4 MB before .* within 0.5 s"):
        leases.lease(GPU, never()).__enter__()
    machine.use(200)  # as little as the driver itself may keep
    with leases.lease(GPU, never()) as lease:
        assert lease.before_mb == pytest.approx(209.7152)


def test_a_device_that_empties_in_time_is_waited_for(machine: Machine) -> None:
    leases = machine.leases(patience=60.0)
    with leases.lease(GPU, never()):
        machine.use(4000)
    threading.Timer(0.5, machine.use, [4]).start()
    with leases.lease(GPU, never()) as lease:
        assert lease.before_mb == pytest.approx(4.194304)


def test_little_by_little_is_seen_too(machine: Machine) -> None:
    """What each candidate leaves behind is less than the slack; the measure is the emptiest that it ever was."""
    leases = machine.leases(patience=0.0)
    for used in (4, 200):
        machine.use(used)
        with leases.lease(GPU, never()):
            pass
    machine.use(400)
    with pytest.raises(DeviceInUse):
        leases.lease(GPU, never()).__enter__()


def test_two_searches_take_turns_on_a_device(machine: Machine) -> None:
    first, second, order = machine.leases(), machine.leases(), list[str]()

    def other() -> None:
        with second.lease(GPU, never()):
            order.append("second")

    thread = threading.Thread(target=other)
    with first.lease(GPU, never()):
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_stop_ends_the_wait_for_a_device(machine: Machine) -> None:
    first, second, stop = machine.leases(), machine.leases(), threading.Event()
    threading.Timer(0.3, stop.set).start()
    with first.lease(GPU, never()), pytest.raises(DeviceInUse, match="stopped while another one was using"):
        second.lease(GPU, stop).__enter__()


def test_a_lock_that_is_a_link_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    """The folder is everybody's. Whoever plants a link there keeps us from waiting, not more."""
    (tmp_path / f"treewright-{UUID}.lock").symlink_to(tmp_path / "victim")
    with machine.leases().lease(GPU, never()):
        pass
    assert not (tmp_path / "victim").exists()


def test_the_watcher_is_ended_with_the_lease(machine: Machine) -> None:
    with GpuMeter(NvidiaSmi(str(machine.smi)), UUID) as meter:
        process = meter._process
        assert process is not None
        assert process.poll() is None
    assert process.returncode is not None


def test_a_candidates_failure_passes_through_and_frees_the_slot(machine: Machine) -> None:
    leases = machine.leases()
    with pytest.raises(KeyError), leases.lease(GPU, never()):
        raise KeyError("of the evaluation")
    with leases.lease(GPU, never()):
        pass


@pytest.mark.slow
def test_what_others_had_of_the_device_is_a_metric_of_the_score(
    run_candidate, evaluator, toy_seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def lease(slot: Slot, cancelled: threading.Event):
        yield devices.Lease(before_mb=700.0, others_utilization=0.25)

    monkeypatch.setattr(evaluator.leases, "lease", lease)
    metrics = run_candidate(toy_seed).metrics
    assert (metrics["device_others_mb"], metrics["device_others_busy"]) == (700.0, 0.25)
