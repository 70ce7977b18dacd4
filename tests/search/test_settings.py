"""Overrides are public interface: the right ones arrive, the wrong ones get an answer that names the valid ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.run.resume import identity
from search.settings import SettingsError, check, compose_settings, differences, parted, resolve


def test_unknown_override_names_the_valid_keys() -> None:
    with pytest.raises(SettingsError) as caught:
        check(["budget.evaluation=3"])
    assert "unknown override 'budget.evaluation'" in str(caught.value)
    assert "Did you mean budget.evaluations" in str(caught.value)
    assert "policy" in str(caught.value)


def test_unknown_choice_names_the_choices() -> None:
    with pytest.raises(SettingsError) as caught:
        check(["policy=annealing"])
    assert "there is no policy=annealing" in str(caught.value)
    assert "ucb" in str(caught.value)
    assert "hillclimb" in str(caught.value)


def test_unreadable_override_is_answered_in_one_line() -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        check(["budget.hours=[1"])


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("task=shakespeare", ("task", "name"), "shakespeare"),
        ("policy=greedy", ("policy", "score", "_target_"), "search.policies.selection.scores.Rank"),
        ("operators=tune", ("operators", "tune", "_target_"), "operators.numeric.tune.Tune"),
        ("seed=7", ("seed",), 7),
        ("run=NAME", ("run",), "NAME"),
        ("archive=FILE", ("archive",), "FILE"),
        ("archive=/tmp/some-where/a_b.duckdb", ("archive",), "/tmp/some-where/a_b.duckdb"),
        ("budget.evaluations=60", ("budget", "evaluations"), 60),
        ("budget.hours=1.5", ("budget", "hours"), 1.5),
        ("budget.device_hours=1.5", ("budget", "device_hours"), 1.5),
        ("budget.tokens=5000", ("budget", "tokens"), 5000),
        ("budget.dollars=1.5", ("budget", "dollars"), 1.5),
        ("budget.target=3.1", ("budget", "target"), 3.1),
        ("task.seconds=3", ("task", "seconds"), 3),
        ("executor.slots=2", ("executor", "slots"), 2),
        ("sandbox=none", ("sandbox",), "none"),
    ],
)
def test_public_overrides_arrive(override: str, path: tuple[str, ...], value: object) -> None:
    check([override])
    found = resolve(compose_settings([override]), "cpu")
    for key in path:
        found = found[key]
    assert found == value


def test_a_sweep_is_checked_by_its_first_values() -> None:
    check(["-m", "policy=ucb,greedy", "seed=1,2"])
    with pytest.raises(SettingsError):
        check(["-m", "policy=annealing,ucb"])


def test_several_values_are_for_a_sweep() -> None:
    with pytest.raises(SettingsError, match=r"'seed=1,2' has several values. Add -m for a run of each"):
        check(["seed=1,2"])
    with pytest.raises(SettingsError, match="cannot be read"):
        check(["seed=[1"])
    check(["-m", "policy=glob(*)", "seed=range(1,3)"])
    assert parted(["-m", "seed=range(1,3)", "policy=ucb", "task.seconds=1,2"]).swept == ("seed", "task.seconds")
    assert parted(["seed=1,2"]).swept == ()


def test_a_preset_applies_to_its_device_and_yields_to_the_user() -> None:
    config = compose_settings([])
    assert resolve(config, "cpu")["task"]["seconds"] == 10.0
    on_gpu = resolve(config, "cuda")["task"]
    assert on_gpu["seconds"] == 60.0
    assert on_gpu["constants"]["WIDTH"] == 384
    assert on_gpu["limits"]["parameters"] == 30_000_000
    assert on_gpu["limits"]["log_kb"] == 64
    assert resolve(compose_settings(["task.seconds=5"]), "cuda")["task"]["seconds"] == 5
    assert "presets" not in on_gpu
    typed = parted(["task.seconds=10"])  # the task file's own value, but asked for
    assert resolve(compose_settings(["task.seconds=10"]), "cuda", typed)["task"]["seconds"] == 10


def test_a_task_of_ones_own_is_found_on_a_gpu_and_keeps_its_budget(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    own = "defaults: [shakespeare, _self_]\nname: notes\nseconds: 30\npresets: null\n"
    (tmp_path / "task" / "notes.yaml").write_text(own)
    arguments = ["--config-dir", str(tmp_path), "task=notes"]
    assert resolve(check(arguments), "cuda", parted(arguments))["task"]["seconds"] == 30
    inherited = own.replace("presets: null\n", "")
    (tmp_path / "task" / "notes.yaml").write_text(inherited)
    assert resolve(check(arguments), "cuda", parted(arguments))["task"]["seconds"] == 60.0


def test_differences_name_each_value() -> None:
    before = identity(resolve(compose_settings([]), "cpu"))
    after = identity(resolve(compose_settings(["policy.score.c=0.2", "seed=3", "budget.evaluations=99"]), "cpu"))
    assert differences(before, after) == ["policy.score.c: 0.1 -> 0.2", "seed: 0 -> 3"]
