"""The arithmetic of tests/benchmarks/gpu.py: floating-point operations, peaks of chips, the repeated run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from prepare.load import ROOT, task_named
from search.factory import seed_files


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_benchmark", ROOT / "tests" / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_operations_of_a_token(benchmark: ModuleType) -> None:
    task = task_named("gpt", (), "cuda_85gb")
    source = seed_files(task)["train.py"]
    blocks = 8 * (4 * 512 * 512 + 2 * 4 * 512 * 512)  # four matrices of attention, two of the MLP
    head, scalars = 8192 * 512, 8 * 2 + 4 * 4
    attention = 12 * 8 * 512 * 2048
    assert benchmark.flops_per_token(source, task) == 6 * (blocks + head + scalars) + attention
    assert benchmark.flops_per_token(source, task, 0.5) == 6 * (blocks + head + scalars) + attention / 2


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA L40", 181.0),
        ("NVIDIA L4", 121.0),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_the_peak_of_a_chip(benchmark: ModuleType, name: str, peak: float | None) -> None:
    assert benchmark.peak_tflops(name) == peak


def test_a_second_run_is_told_in_units_of_sigma(benchmark: ModuleType) -> None:
    found = benchmark.repeated([1.0, 1.1, 1.2], 1.3)
    assert (found["mean"], found["sigma"], found["repeat_z"]) == (1.1, 0.1, 3.0)
    assert benchmark.repeated([1.0], None)["sigma"] is None


@pytest.mark.slow
def test_the_text_is_made_up_the_same_way_each_time(benchmark: ModuleType, tmp_path: Path) -> None:
    one, two = (benchmark.made_up_texts(tmp_path / name, 0.05) for name in ("one", "two"))
    assert {p.name: p.read_text() for p in one.iterdir()} == {p.name: p.read_text() for p in two.iterdir()}
