"""``python -m search adopt``: each format is recognised, becomes a task, and nothing of it runs meanwhile."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folders
import pytest
from folders import written

from prepare.config import SettingsError
from prepare.load import task_from
from prepare.program import ProgramTask, folder_settings
from search.adopt.source import LARGEST_FILE
from search.cli.adopt import adopt

NAMED = ["--metric", "größe_µs", "--direction", "minimise"]
KINDS: Mapping[str, tuple[Mapping[str, str], list[str], list[str], str]] = {
    "OpenEvolve": (folders.OPENEVOLVE, [], ["initial_program.py"], "maximise"),
    "ShinkaEvolve": (folders.SHINKA, [], ["initial.py"], "maximise"),
    "METRIC lines": (folders.METRIC_LINES, NAMED, ["sleep time.sh"], "minimise"),
    "Harbor": (folders.HARBOR, [], ["solve.sh"], "maximise"),
    "AI-Scientist": (
        folders.AI_SCIENTIST,
        ["--metric", "val_loss", "--direction", "minimise"],
        ["experiment.py"],
        "minimise",
    ),
    "autoresearch": (folders.AUTORESEARCH, [], ["train.py"], "minimise"),
}


def adopted(folder: Path, files: Mapping[str, str], *words: str) -> ProgramTask:
    source = written(folder / "theirs", files)
    assert adopt([str(source), "--to", str(folder / "ours"), *words]) == 0
    task = task_from(folder_settings(folder / "ours"))
    assert isinstance(task, ProgramTask)
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_becomes_a_task(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, words, editable, direction = KINDS[kind]
    task = adopted(tmp_path, files, *words)
    said = capsys.readouterr().out
    assert f"ours: {kind}; {task.metric.name}, {direction}" in said
    assert "trust: self_reported" in said
    assert list(task.seed_files()) == editable
    if (name := editable[0]) in files:
        assert (tmp_path / "ours" / name).read_bytes() == files[name].encode()
    assert task.trust == "self_reported"
    assert task.metric.direction == direction
    assert task.instructions()


def test_openevolve_keeps_markers_stages_and_time(tmp_path: Path) -> None:
    task = adopted(tmp_path, folders.OPENEVOLVE)
    runner = task.readonly_files()["openevolve_run.py"].decode()
    assert task.evolve_blocks
    assert (task.seconds, task.clock) == (20.0, "wall")
    assert "CASCADE = True\nTHRESHOLDS = (0.4, 0.75)\n" in runner
    assert "Find the number." in task.instructions()
    assert "openevolve/evaluation_result.py" in task.readonly_files()


def test_texts_among_openevolves_metrics_are_feedback(tmp_path: Path) -> None:
    """Evaluators return {"combined_score": 0, "error": "..."} for a program that they could not run."""

    class Sandbox:
        def call(self, *_: str) -> dict[str, Any]:
            return {"metrics": {"combined_score": 0.0, "error": "no numpy"}, "artifacts": {"log": "x"}, "stage": 1}

    adopted(tmp_path, folders.OPENEVOLVE)
    score = runpy.run_path(str(tmp_path / "ours" / "score.py"))["score"](Sandbox(), None)
    assert (score.value, score.feedback) == (0.0, "error: no numpy\nlog: x")


@pytest.mark.parametrize("config", ["[1, 2", "evaluator: [1]\nprompt: 3\n", "", "&a [*a]", "evaluator: {timeout: -1}"])
def test_unusable_configurations_of_openevolve(tmp_path: Path, config: str) -> None:
    source = written(tmp_path / "theirs", {**folders.OPENEVOLVE, "config.yaml": config})
    status = adopt([str(source), "--to", str(tmp_path / "ours")])
    assert status == (1 if config == "[1, 2" else 0)
    assert (tmp_path / "ours").exists() == (status == 0)


def test_harbor_shows_no_solution_and_moves_paths(tmp_path: Path) -> None:
    task = adopted(tmp_path, folders.HARBOR)
    test = task.readonly_files()["tests/test.sh"].decode()
    assert test == folders.HARBOR["tests/test.sh"].replace("/app", ".").replace("/logs", "./logs")
    assert not (tmp_path / "ours" / "solution").exists()
    assert (task.seconds, task.limits.memory_mb) == (30.0, 512)


def test_ideas_of_others_are_kept_where_no_candidate_sees_them(tmp_path: Path) -> None:
    task = adopted(tmp_path, folders.AI_SCIENTIST, "--metric", "val_loss", "--direction", "minimise")
    kept = {"plot.py", "seed_ideas.json", "prompt.json"}
    names = {path.name for path in (tmp_path / "ours").rglob("*")}
    assert names == {"experiment.py", "score.py", "task.yaml", "program.md", *kept}
    assert not kept & {*task.seed_files(), *task.readonly_files()}


def test_any_command_is_a_task(tmp_path: Path) -> None:
    files = {"main.c": "int main() {}\n", "Makefile": "all:\n", "data.txt": "1\n", "task.yaml": "theirs"}
    words = ["--command", "make bench", "--metric", "ms", "--direction", "minimise", "--files", "*.c"]
    task = adopted(tmp_path, files, *words)
    assert (task.command, task.checks, task.trust) == ("make bench", None, "self_reported")
    assert list(task.seed_files()) == ["main.c"]
    assert set(task.readonly_files()) == {"Makefile", "data.txt"}


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ({"readme.txt": ""}, [], "expected one of\n  OpenEvolve"),
        ({}, [], "It has no files"),
        (folders.METRIC_LINES, [], "the metric has to be named (größe_µs in .auto/measure.sh)"),
        (folders.AI_SCIENTIST, [], "(seconds, val_loss in run_0/final_info.json)"),
        (folders.OPENEVOLVE, ["--files", "*.rs"], "--files *.rs matches no file"),
        ({**folders.OPENEVOLVE, "score.py": ""}, [], "has the name of a file that is added"),
        ({**folders.HARBOR, "task.toml": "= 1"}, [], "task.toml cannot be read"),
        ({f"{n}.py": "" for n in range(40)}, ["--command", "x", *NAMED], "name those that may change with --files"),
    ],
)
def test_refusals_say_what_to_do(
    tmp_path: Path, files: Mapping[str, str], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs").mkdir()
    source = written(tmp_path / "theirs", files)
    assert adopt([str(source), "--to", str(tmp_path / "ours"), *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()


def test_links_large_and_odd_files_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "theirs", folders.OPENEVOLVE)
    (source / "secret.txt").symlink_to("/etc/passwd")
    (source / "away").symlink_to("/etc")
    (source / "a[b].txt").write_text("")
    (source / "binary.npy").write_bytes(b"\xff\x00")
    (source / "huge.bin").touch()
    os.truncate(source / "huge.bin", LARGEST_FILE + 1)
    os.mkfifo(source / "pipe")
    assert adopt([str(source), "--to", str(tmp_path / "ours")]) == 0
    said = capsys.readouterr().out
    for line in ("secret.txt: a link", "away: a link", "a[b].txt: its name", "huge.bin: larger", "pipe: no plain"):
        assert f"left out: {line}" in said
    assert (tmp_path / "ours" / "binary.npy").read_bytes() == b"\xff\x00"
    assert not (tmp_path / "ours" / "away").exists()


def test_a_program_that_is_no_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "theirs", folders.SHINKA)
    (source / "initial.py").write_bytes(b"\xff\xfe")
    assert adopt([str(source), "--to", str(tmp_path / "ours")]) == 1
    assert "is not UTF-8 text" in capsys.readouterr().err


def test_nothing_is_executed_or_overwritten(tmp_path: Path) -> None:
    files = {name: "import os\nos.mkdir('/tmp/executed')\n" for name in ("initial_program.py", "evaluator.py")}
    adopted(tmp_path, files)
    assert not Path("/tmp/executed").exists()
    with pytest.raises(SettingsError, match="exists already"):
        adopt([str(tmp_path / "theirs"), "--to", str(tmp_path / "ours")])
    with pytest.raises(SettingsError, match="is not a folder"):
        adopt([str(tmp_path / "nothing")])
