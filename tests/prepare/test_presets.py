"""Which preset a device gets: by its kind and its memory, by names alone."""

from __future__ import annotations

import pytest

from prepare import presets
from prepare.presets import chosen, device_name, this_machine, with_memory, with_preset

GPT = ("cpu", "cuda_8gb", "cuda_24gb", "cuda_80gb")


@pytest.mark.parametrize(
    ("names", "device", "expected"),
    [
        (GPT, "cpu", "cpu"),
        (GPT, "cuda_85gb", "cuda_80gb"),  # an H100 or A100 of "80 GB"
        (GPT, "cuda_150gb", "cuda_80gb"),  # an H200
        (GPT, "cuda_51gb", "cuda_24gb"),
        (GPT, "cuda_25gb", "cuda_24gb"),
        (GPT, "cuda_23gb", "cuda_24gb"),  # an L4 keeps some of its 24 GB for itself
        (GPT, "cuda_17gb", "cuda_8gb"),
        (GPT, "cuda_8gb", "cuda_8gb"),
        (GPT, "cuda_4gb", "cuda_8gb"),  # too small for all: the smallest
        (GPT, "cuda", "cuda_8gb"),  # nobody knows how much
        (GPT, "mps", "cpu"),
        (("cuda",), "cuda_85gb", "cuda"),
        (("cuda",), "cuda", "cuda"),
        (("cuda", "cuda_40gb"), "cuda_8gb", "cuda"),
        (("cuda", "cuda_40gb"), "cuda_85gb", "cuda_40gb"),
        (("cuda",), "cpu", None),
        (("cuda",), "mps", None),
        (("cpu",), "cuda_85gb", None),
        ((), "cuda", None),
    ],
)
def test_the_largest_that_fits(names: tuple[str, ...], device: str, expected: str | None) -> None:
    assert chosen(names, device) == expected


@pytest.mark.parametrize("name", ["", "cuda_", "cuda_gb", "80gb", "CUDA", "cuda-8gb"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected for example cpu, cuda or cuda_24gb"):
        chosen(GPT, name)
    with pytest.raises(ValueError, match="is not a device"):
        chosen((name,), "cuda")


def test_devices_are_named_by_their_memory() -> None:
    assert device_name("cuda", 85_045_084_160) == "cuda_85gb"
    assert device_name("cuda") == "cuda"
    assert with_memory("cpu") == "cpu"


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    if not torch.cuda.is_available():
        assert this_machine() == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert presets.with_memory("cuda") == "cuda"


def test_several_devices_are_named_after_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Properties:
        def __init__(self, total_memory: int) -> None:
            self.total_memory = total_memory

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: Properties([85, 25][i] * 10**9))
    assert with_memory("cuda") == "cuda_25gb"


def test_a_preset_changes_what_it_names() -> None:
    values = {"seconds": 300, "limits": {"memory_mb": 1, "processes": 2}, "constants": {}}
    preset = {"seconds": 20, "limits": {"memory_mb": 7}, "constants": {"WIDTH": 8}, "more": {"x": 1}}
    assert with_preset(values, preset, values) == {
        "seconds": 20,
        "limits": {"memory_mb": 7, "processes": 2},
        "constants": {"WIDTH": 8},
        "more": {"x": 1},
    }
    assert values["seconds"] == 300


def test_what_was_typed_stays() -> None:
    values = {"seconds": 7, "limits": {"memory_mb": 3, "processes": 2}, "constants": {"WIDTH": 64}}
    preset = {"seconds": 20, "limits": {"memory_mb": 7, "processes": 9}, "constants": {"WIDTH": 8, "DEPTH": 2}}
    typed = ["seconds", "limits.memory_mb", "constants.WIDTH", "presets.cpu.seconds"]
    assert with_preset(values, preset, values, typed) == {
        "seconds": 7,
        "limits": {"memory_mb": 3, "processes": 9},
        "constants": {"WIDTH": 64, "DEPTH": 2},
    }


def test_what_an_experiment_has_set_stays() -> None:
    own = {"seconds": 300, "rows": 9, "limits": {"memory_mb": 1}}
    values = {**own, "seconds": 2}
    preset = {"seconds": 20, "rows": 5, "limits": {"memory_mb": 7}}
    assert with_preset(values, preset, own) == {"seconds": 2, "rows": 5, "limits": {"memory_mb": 7}}
