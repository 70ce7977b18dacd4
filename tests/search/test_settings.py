"""Overrides are public interface: the right ones arrive, the wrong ones get an answer that names the valid ones."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest

from prepare.config import SettingsError
from search.cli.early import imported, packages_for
from search.settings import config_for, differences
from search.words import words_of


def composed(*arguments: str) -> None:
    words_of(arguments).composition()


def test_unknown_override_names_the_valid_keys() -> None:
    with pytest.raises(SettingsError) as caught:
        composed("budget.evaluation=3")
    assert "unknown override 'budget.evaluation'" in str(caught.value)
    assert "Did you mean budget.evaluations" in str(caught.value)
    assert "policy" in str(caught.value)


def test_unknown_choice_names_the_choices() -> None:
    with pytest.raises(SettingsError) as caught:
        composed("policy=annealing")
    assert "there is no policy=annealing" in str(caught.value)
    assert "ucb" in str(caught.value)
    assert "hillclimb" in str(caught.value)


def test_unreadable_override_is_answered_in_one_line() -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        composed("budget.hours=[1")


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
    found = config_for([override], "cpu").plain
    for key in path:
        found = found[key]
    assert found == value


def test_a_sweep_is_checked_by_its_first_values() -> None:
    composed("-m", "policy=ucb,greedy", "seed=1,2")
    with pytest.raises(SettingsError):
        composed("-m", "policy=annealing,ucb")


def test_several_values_are_for_a_sweep() -> None:
    with pytest.raises(SettingsError, match=r"'seed=1,2' has several values. Add -m for a run of each"):
        composed("seed=1,2")
    with pytest.raises(SettingsError, match="cannot be read"):
        composed("seed=[1")
    composed("-m", "policy=glob(*)", "seed=range(1,3)")
    words = words_of(["-m", "seed=range(1,3)", "policy=ucb", "task.seconds=1,2"])
    assert words.swept == ("seed", "task.seconds")
    assert words.runs()[1:3] == [
        ("seed=1", "policy=ucb", "task.seconds=2"),
        ("seed=2", "policy=ucb", "task.seconds=1"),
    ]
    assert [run[0] for run in words_of(["policy=glob(r*)", "-m"]).runs()] == ["policy=random", "policy=rank_softmax"]
    assert words_of(["seed=1,2"]).swept == ()
    with pytest.raises(SettingsError, match="has no list of values"):
        composed("-m", "task.seconds=interval(1,2)")


def test_options_and_overrides_come_in_any_order() -> None:
    words = words_of(["seed=1", "--config-dir", "mine", "~task.smallest_gain", "--cfg", "job", "+x=-1"])
    assert words.overrides == ("seed=1", "~task.smallest_gain", "+x=-1")
    assert (words.lasting, words.shown, words.multirun) == (("--config-dir", "mine"), True, False)
    with pytest.raises(SettingsError, match="unrecognized arguments: --nonsense"):
        words_of(["--nonsense"])


@pytest.mark.parametrize("override", ["hydra/launcher=joblib", "hydra.job.chdir=true"])
def test_settings_of_hydra_that_would_have_no_effect_are_refused(override: str) -> None:
    with pytest.raises(SettingsError, match="would have no effect"):
        composed(override)


def test_a_key_of_the_same_name_is_not_proposed() -> None:
    with pytest.raises(SettingsError) as caught:
        composed("policy=greedy", "policy.score.c=1")
    assert "unknown override 'policy.score.c'. Did you mean policy.score?" in str(caught.value)


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "mine.yaml").write_text("name: [1\n")
    with pytest.raises(SettingsError, match=r"a YAML file cannot be read: .*mine\.yaml"):
        composed("--config-dir", str(tmp_path), "task=mine")


def test_the_archive_may_lie_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert config_for(["archive=~/a.duckdb"], "cpu").archive == "/home/me/a.duckdb"


def test_no_claim() -> None:
    config = config_for(["claim=null"], "cpu")
    assert config.claim is None
    assert config.recorded["claim"] is None


def test_a_preset_applies_to_its_device_and_yields_to_the_user() -> None:
    assert config_for([], "cpu").task["seconds"] == 10.0
    on_gpu = config_for([], "cuda").task
    assert on_gpu["seconds"] == 60.0
    assert on_gpu["constants"]["WIDTH"] == 384
    assert on_gpu["limits"]["parameters"] == 30_000_000
    assert on_gpu["limits"]["log_kb"] == 64
    assert "presets" not in on_gpu
    assert config_for(["task.seconds=5"], "cuda").task["seconds"] == 5
    assert config_for(["task.seconds=10"], "cuda").task["seconds"] == 10, "the task file's own value, but typed"
    assert config_for(["experiment=quick"], "cuda").task["seconds"] == 2.0
    assert config_for(["experiment=quick"], "cuda").task["context"] == 256


def test_a_task_of_ones_own_is_found_on_a_gpu_and_keeps_its_budget(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    own = "defaults: [shakespeare, _self_]\nname: notes\nseconds: 30\npresets: null\n"
    (tmp_path / "task" / "notes.yaml").write_text(own)
    assert config_for(["task=notes"], "cuda", tmp_path).task["seconds"] == 30
    inherited = own.replace("presets: null\n", "")
    (tmp_path / "task" / "notes.yaml").write_text(inherited)
    assert config_for(["task=notes"], "cuda", tmp_path).task["seconds"] == 60.0


def test_differences_name_each_value() -> None:
    before = config_for([], "cpu").identity
    after = config_for(["policy.score.c=0.2", "seed=3", "budget.evaluations=99"], "cpu").identity
    assert differences(before, after) == ["policy.score.c: 0.1 -> 0.2", "seed: 0 -> 3"]


def test_packages_are_imported_early_that_the_parts_will_import() -> None:
    sys.modules.pop("this", None)
    config = config_for(["operators=tune", "llm=none"], "cpu")
    assert packages_for(config) == ("networkx", "scipy.linalg.lapack", "scipy.special")
    local = config_for(["operators=llm", "llm=local"], "cpu")
    assert packages_for(local) == ("networkx", "openai")
    with contextlib.redirect_stdout(io.StringIO()), imported(["no_such_package", "this"]):
        pass
    assert "this" in sys.modules
