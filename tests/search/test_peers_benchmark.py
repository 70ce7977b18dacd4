"""The head to head of tests/benchmarks/peers.py: the stand-in model, the scores, and the figures of its report."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gallery import StandIn as StandInCandidate
from gallery import module_of
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import peers_edits
import peers_model
import peers_report
from peers_evaluations import Evaluations
from peers_model import StandIn
from peers_systems import SCRIPTS
from peers_tables import climbed
from peers_tasks import SIGMA, PeerTask, peer_task

from operators.languages.parameters import find_parameters
from operators.numeric.search_space import declared_range
from operators.rewrite.answers.search_replace import apply, read_answer
from prepare.load import task_from
from prepare.program import ProgramTask, folder_settings
from search.playing.tables import nk
from train.program.scorer_main import Judge

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), min_size=1, max_size=12)


class Here:
    """Evaluations in this process instead of a pool's."""

    def __init__(self, task: PeerTask) -> None:
        self.task = task

    def submit(self, evaluated: Callable[..., Any], name: str, seed: int, program: str, number: int) -> Future[Any]:
        found: Future[Any] = Future()
        try:
            found.set_result((self.task.score(program, number), ""))
        except (NameError, TypeError, SyntaxError) as error:
            found.set_result((None, str(error)))
        return found


def edited(answer: str, text: str) -> str:
    """Return a text after the search/replace blocks of an answer, as OpenEvolve and Shinka apply them."""
    for searched, replacement in re.findall(r"<<<<<<< SEARCH\n(.*?)=======\n(.*?)>>>>>>> REPLACE", answer, re.DOTALL):
        assert text.count(searched) == 1
        text = text.replace(searched, replacement)
    return text


@given(LINES, LINES)
@settings(max_examples=80, deadline=None)
def test_a_block_turns_one_text_into_the_other(before: list[str], after: list[str]) -> None:
    old, new = "".join(["start\n", *before, "end\n"]), "".join(["start\n", *after, "end\n"])
    if old != new:
        searched, replacement = peers_model.block(old, new)
        assert old.find(searched) == old.rfind(searched)
        assert old.replace(searched, replacement) == new


PROMPTS = {
    "treewright": "The program:\n\n<data>\n{}</data>\n\nThe program before the last step: none",
    "openevolve": "# Current Program Information\n# Current Program\n```python\n{}```\nUse SEARCH/REPLACE",
    "shinka": "Answer in <DIFF>\n# Prior programs\n```python\nother\n```\n# Current program\n```python\n{}```",
    "shinka, whole": "Answer in <CODE>\n# Current program\n```python\n{}```",
    "gepa": "The component being optimized:\n\n```\n{}\n```\nwithin ``` blocks",
}


@pytest.mark.parametrize("name", ["noisy", "circles26", "binpacking"])
@pytest.mark.parametrize("form", PROMPTS)
def test_each_system_gets_the_same_program_in_its_own_form(form: str, name: str) -> None:
    task = peer_task(name, 1)
    text = task.program
    for number in range(1, 9):
        text = task.catalogue.another(text, 1, number)
    model = StandIn(task.catalogue, 1, task.program, answers=8)
    answer = model.answer(PROMPTS[form].format(text))
    fenced = re.search(r"```python\n(.*?)```", answer, re.DOTALL)
    made = fenced[1] if fenced else edited(answer, text)
    assert made == task.catalogue.another(text, 1, 9) != text
    if form == "treewright":
        assert apply(read_answer(answer, [task.file]), {task.file: text})[task.file] == made


def test_a_prompt_without_a_program_gets_no_answer_and_counts_none() -> None:
    task = peer_task("noisy", 1)
    model = StandIn(task.catalogue, 1, task.program)
    assert "nothing" in model.answer("Summarise what was tried.")
    assert model.answers == 0
    assert (
        task.program
        != re.search(r"```python\n(.*?)```", model.answer("Write a new program for the task"), re.DOTALL)[1]
    )  # type: ignore[index]


def test_a_broken_program_is_repaired_and_a_simpler_one_has_an_edit_less() -> None:
    task = peer_task("noisy", 1)
    broken = next(edit for edit in task.catalogue.edits if edit.kind == "broken")
    good = next(edit for edit in task.catalogue.edits if edit.kind == "good")
    assert task.catalogue.another(broken.make(task.program), 1, 1) == task.program
    assert task.catalogue.simpler(good.make(task.program), 1, 1) == task.program
    with pytest.raises(TypeError):
        task.score(broken.make(task.program), 0)


@pytest.mark.parametrize("name", ["circles26", "binpacking", "noisy"])
def test_every_edit_fits_the_seed_program_and_is_seen_to_be_made(name: str) -> None:
    task = peer_task(name, 1)
    for edit in task.catalogue.edits:
        made = edit.make(task.program)
        assert edit.fits(task.program)
        assert edit.made(made)
        assert edit.undo(made) == task.program
    assert {edit.kind for edit in task.catalogue.edits} == {"good", "neutral", "harmful", "broken"}


@given(st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_settings_stay_in_their_ranges(seed: int) -> None:
    text = peers_edits.another_setting(peer_task("noisy", 1).program, np.random.default_rng(seed))
    for parameter in find_parameters(text):
        span = declared_range(parameter)
        assert span is not None
        assert span.low <= parameter.value <= span.high


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_worth_of_edits_is_their_kind(seed: int) -> None:
    for name in ("noisy", "null"):
        task = peer_task(name, seed)
        gains = {"good": set[bool](), "neutral": set[bool](), "harmful": set[bool]()}
        for edit in task.catalogue.edits:
            if edit.kind != "broken":
                gains[edit.kind].add(task.gain(edit.make(task.program)) > peers_report.NO_BETTER)
        assert gains["good"] == ({True} if name == "noisy" else set())
        assert gains["neutral"] == gains["harmful"] == {False}
        best = max(task.gain(peers_edits.another_setting(task.program, np.random.default_rng(n))) for n in range(60))
        assert (best > peers_report.NO_BETTER) == (name == "noisy")


def test_scores_have_noise_around_the_truth_for_peers_and_for_ours(tmp_path: Path) -> None:
    task = peer_task("noisy", 1)
    task.write(tmp_path / "task")
    judge = Judge(module_of(tmp_path / "task" / "score.py"))
    functions: dict[str, Any] = {}
    exec(task.program, functions)
    handle: Any = StandInCandidate(functions)
    ours = [next(iter(judge.score(handle, "val", seed)))["value"] for seed in range(200)]
    theirs = [task.score(task.program, number) for number in range(200)]
    for scores in (ours, theirs):
        assert abs(np.mean(scores) - task.truth(task.program)) < 5 * SIGMA / 200**0.5
        assert 0.8 * SIGMA < np.std(scores) < 1.2 * SIGMA
    assert task.score(task.program, 7) == theirs[7]


@pytest.mark.parametrize("name", ["noisy", "null", "circles26", "binpacking"])
def test_the_folder_of_a_task_is_one_for_search(name: str, tmp_path: Path) -> None:
    task = peer_task(name, 1)
    assert task.write(tmp_path / "task") == f"task={tmp_path / 'task'}"
    read = task_from(folder_settings(tmp_path / "task"))
    assert isinstance(read, ProgramTask)
    assert (read.name, read.seed_files()) == (name, {task.file: task.program})


def test_the_service_counts_evaluations_and_ends_with_them() -> None:
    task = peer_task("noisy", 1)
    with Evaluations("noisy", 1, 2, Here(task)) as service:  # type: ignore[arg-type]
        assert service.evaluate(task.program) == {"score": task.score(task.program, 0)}
        assert "error" in service.evaluate("def design(): return missing")
        assert service.evaluate(task.program) == {"error": "no evaluation is left"}
        assert [entry.score is None for entry in service.entries] == [False, True]


def test_the_hill_climber_keeps_what_scores_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = peer_task("noisy", 2)
    model = StandIn(task.catalogue, 2, task.program)
    (tmp_path / "initial.py").write_text(task.program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(SCRIPTS))
    with model.server() as api, Evaluations("noisy", 2, 30, Here(task)) as service:  # type: ignore[arg-type]
        monkeypatch.setenv("EVALUATIONS_URL", service.url)
        monkeypatch.setattr(sys, "argv", ["hillclimb.py", f"{api.url}/v1", peers_model.MODEL, "30"])
        runpy.run_path(str(SCRIPTS / "hillclimb.py"))
        scores = [entry.score for entry in service.entries]
        programs = [entry.program for entry in service.entries]
    lines = [line.split("\t") for line in (tmp_path / "results.tsv").read_text().splitlines()]
    kept = [int(number) for number, _, status in lines if status == "keep"]
    best = [max(score for score in scores[: number + 1] if score is not None) for number in range(30)]
    assert kept == [number for number in range(30) if scores[number] == best[number]]
    assert json.loads((tmp_path / "best.json").read_text()) == {"program": programs[kept[-1]], "score": best[-1]}
    assert programs[0] == task.program
    assert all(task.catalogue.another(programs[kept[0]], 2, n) == programs[n] for n in range(1, kept[1] + 1))


ROW = {"task": "noisy", "evaluations": 60, "seconds": 30.0, "cpu": 6.0, "bytes": 6000}


def test_the_report_pairs_seeds_and_counts_false_claims() -> None:
    gains = {"treewright": (0.2, 0.3, 0.4), "other": (0.1, 0.1, 0.0)}
    rows = [
        {**ROW, "system": system, "seed": seed, "gain": gain, "claimed": seed != 1, "over_claim": seed / 10}
        for system, values in gains.items()
        for seed, gain in enumerate(values, 1)
    ]
    other = peers_report.tasks_report(rows)["noisy"]["other"]
    half = 4.302653 * np.std([0.1, 0.2, 0.4], ddof=1) / 3**0.5
    assert other["behind"] == pytest.approx([0.7 / 3, 0.7 / 3 - half, 0.7 / 3 + half])
    assert (other["claimed"], other["false_claims"], other["gain"]) == (2, 1, pytest.approx(0.2 / 3))
    assert other["over_claim"] == pytest.approx(0.25)  # of the two that claim
    assert (other["nodes_per_hour"], other["cpu_per_node"], other["bytes_per_node"]) == (7200, 0.1, 100)
    assert peers_report.tasks_report(rows)["noisy"]["treewright"]["behind"] is None
    assert "| noisy | other | 0.0667 | +0.2333 (" in peers_report.markdown(peers_report.tasks_report(rows))


def test_the_report_of_tables_averages_seeds_before_tables() -> None:
    ours = [("a", 1, -3.0), ("a", 2, -2.0), ("b", 1, -4.0), ("b", 2, -4.0)]
    rows = [
        {"system": system, "task": table, "seed": seed, "best": value + behind, "picked": value}
        for system, behind in (("treewright", 0.0), ("optuna", 0.5))
        for table, seed, value in ours
    ]
    found = peers_report.tables_report(rows)
    assert found["optuna"]["best"] == pytest.approx(-2.75)
    assert found["optuna"]["best_behind"] == pytest.approx([0.5, 0.5, 0.5])
    assert found["treewright"]["picked_behind"] is None


def test_the_climber_on_a_table_never_falls_back() -> None:
    table = nk(3, bits=8)
    played = climbed(table, 1, 60)
    assert (np.diff(played.best) <= 0).all()
    assert played.best[-1] < played.best[0]
    assert np.array_equal(climbed(table, 1, 60).best, played.best)
    assert played.best[-1] <= played.picked <= 0
