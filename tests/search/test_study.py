"""``python -m search study``: a plan is registered before its runs; deviations from it are found in the rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inside import archive as ask
from inside import run
from launching import STUB, command
from launching import run as launched

from archive.paper.deviations import deviations, registration
from archive.query.query import open_reader
from archive.records import sha256
from prepare.config import SettingsError
from search.study.ablation import changes
from search.study.plan import read_plan, scaled

PLAN = """\
study: small
title: Constants of a small model
hypothesis: Tuning lowers the loss.
task: shakespeare
metric: val_bpb
direction: minimise
evaluations: 108
seeds: [1, 2, 3]
settings: [operators=numeric, executor.slots=1]
"""


def study(folder: Path, plan: str = PLAN, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "plan.yaml").write_text(plan)
    return run([sys.executable, "-m", "search", "study", "plan.yaml", *words, *STUB], folder)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    ended = study(folder)
    assert ended.returncode == 0, ended.stderr
    assert "0 deviations" in ended.stdout
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    shutil.copy(done / "treewright.duckdb", tmp_path / "a.duckdb")
    return tmp_path / "a.duckdb"


# ---------------------------------------------------------------- the runs


@pytest.mark.slow
def test_the_stages_keep_to_their_budgets(done: Path) -> None:
    reader = open_reader(done / "treewright.duckdb")
    budgets = registration(reader, "small").plan["stages"]
    assert budgets == scaled(36 - 14)
    counts = "SELECT run, stage, count(*) FROM study_evaluations WHERE study = 'small' GROUP BY ALL"
    found = {(name, stage): count for name, stage, count in reader.query(counts).rows}
    assert {name for name, _ in found} == {"small-1", "small-2", "small-3"}
    for name in ("small-1", "small-2", "small-3"):
        assert found[name, "baseline"] == 3
        assert all(0 < found[name, stage] <= budgets[stage] for stage in ("tuning", "research", "ablation"))
        assert found[name, "claim"] >= 6
    operators = "SELECT DISTINCT stage, operator FROM study_evaluations WHERE stage IN ('tuning', 'ablation')"
    by_stage = set(reader.query(operators).rows)
    assert ("tuning", "tune") in by_stage
    assert ("tuning", "crossover") not in by_stage
    assert ("ablation", "revert") in by_stage


@pytest.mark.slow
def test_what_is_reported_has_three_seeds(done: Path) -> None:
    reader = open_reader(done / "treewright.duckdb")
    runs = (
        "SELECT count(*) FROM study_evaluations WHERE purpose = 'report' OR purpose = 'screen' AND node_id IN "
        "(SELECT node_id FROM study_evaluations WHERE stage IN ('baseline', 'ablation')) GROUP BY node_id, purpose"
    )
    assert min(count for (count,) in reader.query(runs).rows) >= 3


@pytest.mark.slow
def test_the_plan_is_registered_before_the_first_move(done: Path) -> None:
    reader = open_reader(done / "treewright.duckdb")
    registered = registration(reader, "small")
    assert registered.digest == sha256(registered.text)
    assert registered.arrival < reader.query("SELECT min(arrival) FROM moves").rows[0][0]
    assert not deviations(reader, "small")
    assert ask(done, "check").returncode == 0


@pytest.mark.slow
def test_a_finished_study_costs_nothing_again(done: Path, tmp_path: Path) -> None:
    shutil.copy(done / "treewright.duckdb", tmp_path)
    before = open_reader(tmp_path / "treewright.duckdb").query("SELECT count(*) FROM evaluations").rows
    again = study(tmp_path, PLAN, "--json")
    assert json.loads(again.stdout)["runs"] == ["small-1", "small-2", "small-3"]
    assert open_reader(tmp_path / "treewright.duckdb").query("SELECT count(*) FROM evaluations").rows == before


@pytest.mark.slow
def test_a_registered_plan_does_not_change(done: Path, tmp_path: Path) -> None:
    shutil.copy(done / "treewright.duckdb", tmp_path)
    refused = study(tmp_path, PLAN.replace("lowers the loss", "raises the loss"))
    assert refused.returncode == 2
    assert "hypothesis: 'Tuning lowers the loss.' -> 'Tuning raises the loss.'" in refused.stderr
    refused = study(tmp_path, PLAN, "policy=greedy")
    assert refused.returncode == 2
    assert "identity.policy.within" in refused.stderr


@pytest.mark.slow
def test_a_killed_study_is_resumed(tmp_path: Path, done: Path) -> None:
    """Processes, since a kill is what is tested. Seeds are fresh, so a run may find nothing whose steps are ablated."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    words = command("study", "plan.yaml", *STUB, stub=False)
    killed = launched(words, tmp_path, TREEWRIGHT_FAULT="commit:50")
    assert killed.returncode == -9
    assert launched(words, tmp_path).returncode == 0
    rows = (
        "SELECT run, stage, count(*) FROM study_evaluations WHERE stage IN ('baseline', 'tuning', 'research') "
        "GROUP BY ALL ORDER BY ALL"
    )
    found = [open_reader(folder / "treewright.duckdb").query(rows).rows for folder in (tmp_path, done)]
    assert found[0] == found[1]
    assert len(found[0]) == 9
    assert not deviations(open_reader(tmp_path / "treewright.duckdb"), "small")


# ---------------------------------------------------------------- deviations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE studies SET plan = replace(plan, 'lowers', 'raises')", "plan"),
        ("UPDATE studies SET bibliography = replace(bibliography, 'Auer', 'Bauer')", "plan"),
        ("INSERT INTO studies SELECT 'small again', * EXCLUDE (study) FROM studies", "again"),
        ("DELETE FROM evaluations WHERE run = 'small-2' AND move = 3", "missing"),
        ("INSERT INTO studies SELECT * FROM studies", "plan"),
        ("DELETE FROM study_runs WHERE run = 'small-2'", "plan"),
        ("UPDATE studies SET arrival = 1000000", "order"),
        ("DELETE FROM runs WHERE run = 'small-2'", "missing"),
        ("DELETE FROM decisions; DELETE FROM events", "unfinished"),
        ("UPDATE runs SET seed = 7 WHERE run = 'small-2'", "seed"),
        ("UPDATE runs SET identity = json_merge_patch(identity, '{\"policy\": {\"patience\": 3}}')", "settings"),
        ("UPDATE files SET sha = 'other' WHERE node_id IN (SELECT node_id FROM nodes WHERE number = 0)", "baseline"),
        ("UPDATE moves SET stage = NULL", "unplanned"),
        ("UPDATE moves SET stage = 'tuning' WHERE stage IS NOT NULL", "stage"),
        ("UPDATE studies SET plan = replace(plan, '\"evaluations\": 108', '\"evaluations\": 10')", "budget"),
    ],
)  # fmt: skip
def test_a_deviation_is_found(copy: Path, statement: str, code: str) -> None:
    with duckdb.connect(str(copy)) as raw:
        raw.execute(statement)
    assert code in {each.code for each in deviations(open_reader(copy), "small")}


# ---------------------------------------------------------------- plans


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds: [1, 2, 3]", "seeds: [1, 2, 2]", "at least 3 different"),
        ("direction: minimise", "direction: down", "minimise or maximise"),
        ("evaluations: 108", "evaluations: 9", "at least 8 for each seed"),
        ("study: small", "study: ../x", "a name of letters"),
        ("title:", "titel:", "has 'titel'"),
        ("metric: val_bpb\n", "", "not complete"),
        ("settings: [", "settings: [nothing, ", "words like"),
    ],
)
def test_a_plan_that_cannot_be_used_says_why(tmp_path: Path, old: str, new: str, words: str) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN.replace(old, new))
    with pytest.raises(SettingsError, match=words):
        read_plan(tmp_path / "plan.yaml")


def test_another_metric_than_the_tasks_is_refused(tmp_path: Path) -> None:
    refused = study(tmp_path, PLAN.replace("val_bpb", "accuracy"))
    assert refused.returncode == 2
    assert "the plan says accuracy minimise, and task shakespeare has val_bpb minimise" in refused.stderr


def test_the_shares_are_those_of_the_model() -> None:
    assert scaled(62) == {"baseline": 20, "tuning": 12, "research": 12, "ablation": 18}


@given(st.integers(8, 100_000))
def test_scaled_budgets_add_up(evaluations: int) -> None:
    found = scaled(evaluations)
    assert sum(found.values()) == evaluations
    assert min(found.values()) >= 1


# ---------------------------------------------------------------- changes that are taken back


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=8))
def test_each_constant_is_taken_back_alone(values: list[tuple[int, int]]) -> None:
    baseline, program = ([f"C{n} = {pair[side]}\n" for n, pair in enumerate(values)] for side in (0, 1))
    places = [n for n, (before, after) in enumerate(values) if before != after]
    found = changes({"p": "".join(baseline)}, {"p": "".join(program)})
    expected = ["".join([*program[:n], baseline[n], *program[n + 1 :]]) for n in places]
    assert [change.files["p"] for change in found] == expected


def test_lines_that_are_new_are_one_change() -> None:
    (change,) = changes({"p": "a\nb\n"}, {"p": "a\nx\ny\nb\n"})
    assert (change.words, change.files["p"]) == ("without: x and 1 more lines (baseline: nothing)", "a\nb\n")


def test_neighbouring_constants_are_changes_of_their_own() -> None:
    found = changes({"p": "A = 1  # tune: 1..9\nB = 2\n"}, {"p": "A = 5  # tune: 1..9\nB = 6\n"})
    assert [change.words for change in found] == [
        "without: A = 5 (baseline: A = 1)",
        "without: B = 6 (baseline: B = 2)",
    ]
    assert [change.files["p"] for change in found] == ["A = 1  # tune: 1..9\nB = 6\n", "A = 5  # tune: 1..9\nB = 2\n"]
