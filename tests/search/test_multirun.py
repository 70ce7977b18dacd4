"""Several runs with one command, and the one command that compares them."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inside import run as execute
from inside import search as command
from launching import run as launched
from launching import sql

import search
from archive.cli.compare import by_key
from archive.errors import QueryError
from archive.query.query import open_reader
from archive.records import Request
from archive.storage.store import Archive
from search.cli.multirun import closing, name_of, sections_of


def compare(folder: Path, *words: str) -> list[dict[str, Any]]:
    done = execute([sys.executable, "-m", "archive", "compare", *words, "--json"], folder)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


# ---------------------------------------------------------------- the command line


WORDS = ("-m", "policy=ucb,random", "seed=1,2", "run=night", "budget.evaluations=25", "operators=numeric", "llm=none")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("swept")
    done = command(folder, *WORDS, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_a_sweep_ends_with_the_command_that_compares_its_runs(swept: tuple[Path, str]) -> None:
    folder, printed = swept
    last = printed.strip().splitlines()[-1].strip()
    assert last.endswith("-m archive compare")
    done = launched(["bash", "-c", last], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["policy", "runs", "evaluations"]
    assert {line.split()[0] for line in done.stdout.splitlines()[2:]} == {"ucb", "random"}


@pytest.mark.slow
def test_the_table_has_the_means_over_the_seeds(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    rows = compare(folder)
    assert [row["best"] for row in rows] == sorted(row["best"] for row in rows), "the best comes first"
    for row in rows:
        runs = sql(
            folder / "treewright.duckdb",
            "SELECT leader_score, champion, evaluations, (SELECT (detail->>'gain')::DOUBLE FROM decisions AS d "
            "WHERE d.run = s.run AND kind LIKE '%champion') AS gain FROM run_summary AS s "
            f"WHERE policy = '{row['policy']}'",
        )
        gains = [run["gain"] or 0.0 for run in runs]
        assert row["runs"] == 2
        assert row["evaluations"] == statistics.mean(run["evaluations"] for run in runs)
        assert row["best"] == pytest.approx(statistics.mean(run["leader_score"] for run in runs))
        assert row["best_se"] == pytest.approx(statistics.stdev(run["leader_score"] for run in runs) / 2**0.5)
        assert row["gain"] == pytest.approx(statistics.mean(gains))
        assert row["low"] <= row["gain"] <= row["high"]
        assert row["champions"] == sum(run["champion"] is not None for run in runs)


@pytest.mark.slow
def test_any_setting_can_be_compared_by(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    assert {row["seed"]: row["runs"] for row in compare(folder, "--by", "seed")} == {"1": 2, "2": 2}
    assert len(compare(folder, "--by", "policy,seed")) == 4
    assert compare(folder, "--by", "task.seconds")[0]["task.seconds"] == "10.0"
    (single,) = compare(folder, "night-ucb-1", "--by", "policy")
    assert single["runs"] == 1
    assert single["best_se"] is None
    done = execute([sys.executable, "-m", "archive", "compare", "--by", "polcy"], folder)
    assert done.returncode == 1
    assert "no run says what 'polcy' was; expected a setting, such as operators, policy, seed" in done.stderr
    assert compare(folder, "night-ucb-1", "night-random-2")[0].keys() == {"fact", "night-ucb-1", "night-random-2"}


@pytest.mark.slow
def test_the_same_command_goes_on_with_what_is_not_finished(swept: tuple[Path, str]) -> None:
    folder, _ = swept
    before = compare(folder)
    done = command(folder, *WORDS, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Resuming run 'night-") == 4
    assert compare(folder) == before


def test_a_run_that_cannot_go_on_does_not_keep_the_others_from_being_made(tmp_path: Path) -> None:
    words = ("-m", "claim.report_seeds=1,2", "seed=1", "budget.evaluations=3", "archive=a b.duckdb", "llm=none")
    done = command(tmp_path, *words, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1
    assert "1 of the runs failed: claim.report_seeds=1\n" in done.stdout
    assert done.stdout.strip().endswith("-m archive --archive 'a b.duckdb' compare")
    asked = "SELECT config->>'$.sweep.values' AS swept, evaluations FROM run_summary JOIN runs USING (run)"
    (row,) = sql(tmp_path / "a b.duckdb", asked)
    assert json.loads(row["swept"]) == {"claim.report_seeds": "2"}
    assert row["evaluations"] == 3


# ---------------------------------------------------------------- the parts


def test_names_of_runs_hold_whatever_was_swept() -> None:
    assert name_of("night", {"policy": "ucb", "seed": "1"}) == "night-ucb-1"
    assert name_of("n", {"task.seed_file": "../my seeds/a.py", "operators": ""}) == "n-.._my_seeds_a.py-empty"
    one = sections_of(["policy", "seed"], ["policy=ucb", "+seed=1", "budget.hours=2"], None, "abc")
    assert one == {"sweep": {"id": "abc", "values": {"policy": "ucb", "seed": "1"}}, "run": None}
    assert sections_of([], [], "night", "abc")["sweep"]["id"] == "run=night"
    assert sections_of(["run"], ["run=b"], "b", "abc") == {"sweep": {"id": "abc", "values": {"run": "b"}}, "run": "b"}
    assert "9 of the runs failed: a; a; a; a; a; a; a; a; ..." in closing(["a"] * 9, "x")


def made(file: Path, name: str, policy: str, seed: int, seconds: float = 1.0) -> None:
    def score(request: Request) -> float:
        values: dict[str, Any] = {}
        exec(request.files["train.py"], values)
        return float(values["X"]) ** 2 + float(np.random.default_rng(request.seed).normal()) * 0.01

    task = search.OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise", name=name, seconds=seconds)
    with search.Search(task, policy, operators="tune", archive=file, seed=seed, budget=20) as s:
        while (request := s.ask()) is not None:
            s.tell(s.evaluate(request))


@pytest.mark.slow
def test_without_a_sweep_the_runs_of_the_last_task_are_compared_and_nothing_unlike_is_averaged(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    Archive.open(file).close()
    with pytest.raises(QueryError, match="holds no run yet"):
        by_key(open_reader(str(file)), None)
    made(file, "other", "greedy", 1)
    for seed in (1, 2):
        made(file, "mine", "ucb", seed)
    result = by_key(open_reader(str(file)), None)
    assert result.columns[:4] == ("policy", "runs", "evaluations", "best")
    assert result.columns[4:] == ("best_se", "champions", "gain", "low", "high", "gain_se")
    assert [row[:3] for row in result.rows] == [("ucb", 2, 20.0)]
    made(file, "mine", "ucb", 3, seconds=2.0)
    result = by_key(open_reader(str(file)), "policy")
    assert result.columns[:3] == ("policy", "budget_seconds", "runs")
    assert sorted(row[:3] for row in result.rows) == [("ucb", 1.0, 2), ("ucb", 2.0, 1)]
    everything = by_key(open_reader(str(file)), "policy", ["mine-1", "other-1"])
    assert everything.columns[:3] == ("policy", "task", "fingerprint")
