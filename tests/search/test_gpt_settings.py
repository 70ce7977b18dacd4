"""The task gpt on the command line: what text it is trained on, which preset applies, what its presets are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from operators.languages.parameters import find_parameters
from operators.numeric.search_space import has_invalid_range
from prepare.config import SettingsError
from prepare.data.climbmix import ClimbMix
from prepare.data.corpora import Folder
from prepare.data.python_sources import PythonSources
from prepare.language_model import LanguageModelTask
from prepare.load import ROOT, TaskError, task_beside, task_from, task_named
from search.factory import seed_files
from search.settings import config_for
from train.language_model.program import carried_bytes, normal_form

DEVICES = ("cpu", "mps", "cuda", "cuda_8gb", "cuda_24gb", "cuda_80gb", "cuda_150gb")


def task_of(*overrides: str, device: str = "cpu") -> LanguageModelTask:
    return task_from(config_for(["task=gpt", *overrides], device).task)


@pytest.mark.parametrize(
    ("overrides", "corpus"),
    [
        ((), ClimbMix()),
        (("data=climbmix", "data.shards=3"), ClimbMix(shards=3)),
        (("data.url=http://mirror/data", "data.evaluation_mb=5"), ClimbMix(url="http://mirror/data", evaluation_mb=5)),
        (("data=python",), PythonSources()),
        (("data=python", "data.least_mb=5", "data.evaluation_mb=1"), PythonSources(least_mb=5, evaluation_mb=1)),
        (("data=python", "data.roots=[/srv/a,/srv/b]"), PythonSources(roots=["/srv/a", "/srv/b"])),
        (("data=folder", "data.path=/texts", "data.name=own"), Folder("own", "/texts")),
        (("data=folder", "data.path=/texts", "data.pattern=*.md"), Folder("folder", "/texts", "*.md")),
    ],
)
def test_the_text_is_a_choice(overrides: tuple[str, ...], corpus: object) -> None:
    assert task_of(*overrides).corpus == corpus
    assert task_named("gpt", overrides, "cpu").corpus == corpus


def test_an_unknown_text_names_the_choices() -> None:
    with pytest.raises(SettingsError, match=r"there is no data=wikipedia\. Choices for data: climbmix, folder, python"):
        config_for(["task=gpt", "data=wikipedia"], "cpu")
    with pytest.raises(TaskError, match="Choices for data: climbmix, folder, python"):
        task_named("gpt", ["data=wikipedia"], "cpu")
    with pytest.raises(TaskError, match=r"data\.path"):
        task_named("gpt", ["data=folder"], "cpu")


def test_other_tasks_have_their_own_text() -> None:
    with pytest.raises(SettingsError):
        config_for(["data=python"], "cpu")
    assert "data" not in config_for([], "cpu").plain


@pytest.mark.parametrize("device", DEVICES)
def test_the_presets_of_search_and_preparation_are_the_same(device: str) -> None:
    found = task_of(device=device)
    assert task_named("gpt", (), device) == found
    assert task_beside(Path("gpt.py"), device) == found
    assert (found.encoding, found.metric.direction) == ("tokens", "minimise")


@pytest.mark.slow
def test_the_task_is_the_setting_that_others_compare_in() -> None:
    task = task_of(device="cuda_85gb")
    assert (task.context, task.vocab, task.seconds, task.metric.unit) == (2048, 8192, 300.0, "bpb")
    assert 50_000_000 <= parameters_of(task) <= 51_000_000


def test_what_is_typed_wins_over_the_preset() -> None:
    overrides = ("task.seconds=7", "task.context=64", "task.limits.memory_mb=3000", "task.rows=9")
    for task in (task_of(*overrides), task_named("gpt", overrides, "cpu")):
        assert (task.seconds, task.context, task.limits.memory_mb, task.rows) == (7, 64, 3000, 9)
        assert task.vocab == 1024  # of the preset
    assert task_of("task.encoding=tokens", "task.vocab=512", device="cuda_80gb").vocab == 512


def test_a_typed_constant_and_a_typed_preset_count() -> None:
    overrides = ("+task.constants.WIDTH=64", "task.presets.cpu.seconds=9")
    for task in (task_of(*overrides), task_named("gpt", overrides, "cpu")):
        assert (task.constants["WIDTH"], task.constants["DEPTH"], task.seconds) == (64, 2, 9)


def parameters_of(task: LanguageModelTask) -> int:
    program: dict[str, Any] = {"__name__": "train"}
    exec(compile(seed_files(task)["train.py"], "train.py", "exec"), program)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in program["GPT"](task.vocab).parameters())


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
def test_the_seed_program_fits_into_the_limits_of_each_preset(device: str) -> None:
    task = task_of(device=device)
    parameters = parameters_of(task)
    assert 4 * parameters + 1_000_000 < 1e6 * task.limits.state_mb
    assert parameters < task.limits.parameters
    values = {c.name: c.value for c in find_parameters(seed_files(task)["train.py"])}
    assert values["BATCH"] % values["MICRO"] == 0
    assert values["WIDTH"] % values["HEAD_SIZE"] == 0


def test_the_seed_program_carries_little_and_its_ranges_are_read() -> None:
    source = (ROOT / "train/seeds/gpt.py").read_text()
    assert carried_bytes(normal_form(source).tree) < 2048
    assert not [constant.name for constant in find_parameters(source) if has_invalid_range(constant)]
    assert len(find_parameters(source)) >= 15
