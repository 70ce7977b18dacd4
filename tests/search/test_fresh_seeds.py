"""Evaluation seeds: never the same twice, in no two runs; the search's own choices follow from its seed alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import torch
from inside import archive

import search
from archive.records import Request, Run
from archive.storage.store import Archive
from prepare.session import candidate_seed
from search.run import resume
from search.run.engine import evaluation_seed

Start = Callable[..., Any]
Made = Callable[..., Run]
CHOICES = """
    SELECT move, kind, m.operator, purpose, n.number, n.idea, s.text FROM moves AS m
    LEFT JOIN nodes AS n USING (run, move) LEFT JOIN programs AS s ON s.node_id = n.node_id
    WHERE m.run = 'night' ORDER BY move
"""


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with Archive.open(path) as opened:
        return opened.query(sql)


def seeds_of(bench: Any) -> set[int]:
    return {record.seed for record in bench.search.tree.moves.values()}


@pytest.mark.slow
def test_two_runs_of_one_archive_share_no_evaluation_seed(start: Start) -> None:
    one, other = start("run=one"), start("run=other")
    assert len(seeds_of(one)) == len(one.search.tree.moves) > 20
    assert not seeds_of(one) & seeds_of(other)
    assert one.opened.run.seed == other.opened.run.seed


@pytest.mark.slow
def test_runs_of_one_name_and_seed_choose_alike_and_are_evaluated_with_other_seeds(
    start: Start, tmp_path: Path, evaluation_seeds_that_repeat: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise their results are equal, so that all choices, programs included, follow from the seed."""
    monkeypatch.setattr(resume, "_new_run", evaluation_seeds_that_repeat)
    words = ("run=night", "seed=3")
    one, other = (start(*words, slots=1, stub={"noise": 0.0}, name=f"{n}.duckdb") for n in ("one", "other"))
    assert one.opened.run.run_id != other.opened.run.run_id
    assert not seeds_of(one) & seeds_of(other)
    assert rows(tmp_path / "one.duckdb", CHOICES) == rows(tmp_path / "other.duckdb", CHOICES)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_own_seeds(start: Start) -> None:
    start("run=other")
    start("run=night", stop_after=9)
    bench = start("run=night")
    run_id, moves = bench.opened.run.run_id, bench.search.tree.moves
    assert {n: record.seed for n, record in moves.items()} == {n: evaluation_seed(run_id, n) for n in moves}
    assert len(bench.display.landings) < len(moves), "some were made before"


@pytest.mark.slow
def test_an_open_move_keeps_the_seed_that_an_earlier_version_stored(start: Start, tmp_path: Path) -> None:
    last = max(start("run=night", stop_after=4).search.tree.moves)
    with duckdb.connect(str(tmp_path / "archive.duckdb")) as connection:
        connection.execute(f"DELETE FROM curves; DELETE FROM evaluations WHERE move = {last}")
        connection.execute(f"UPDATE moves SET seed = 1234567 WHERE move = {last}")
    bench = start("run=night")
    made = {evaluation.request.move: evaluation.request.seed for evaluation in bench.display.landings}
    assert made[last] == 1234567
    assert made[last + 1] == evaluation_seed(bench.opened.run.run_id, last + 1)


def test_ten_thousand_moves_of_several_runs_have_as_many_seeds() -> None:
    seeds = {evaluation_seed(run, number) for run in ("a", "b", "c") for number in range(10_000)}
    assert len(seeds) == 30_000
    assert 2**62 < max(seeds) < 2**63, "DuckDB's BIGINT holds them"


def test_a_program_gets_a_seed_that_every_generator_accepts() -> None:
    seed = candidate_seed(2**63 - 1)
    np.random.RandomState(seed + 1000)
    torch.manual_seed(seed)
    assert torch.tensor([seed], dtype=torch.int32).item() == seed
    assert candidate_seed(1_234_567_890) == 1_234_567_890, "seeds of earlier versions are what they were"
    spread = {candidate_seed(evaluation_seed("a", number)) for number in range(1000)}
    assert len(spread) > 990


def test_a_scoring_function_gets_such_a_seed_and_the_archive_keeps_the_other(tmp_path: Path) -> None:
    seen: list[int] = []

    def score(request: Request) -> float:
        seen.append(request.seed)
        return float(np.random.RandomState(request.seed).normal())

    task = search.OwnTask(score, "X = 1.0  # tune: -2..2\n", direction="minimise")
    with search.Search(task, operators="numeric", archive=tmp_path / "a.duckdb", budget=4, claim=False) as s:
        while (request := s.ask()) is not None:
            assert request.seed > 2**32, "all but one in two thousand million are"
            s.tell(s.evaluate(request))
    stored = [seed for (seed,) in rows(tmp_path / "a.duckdb", "SELECT seed FROM evaluations ORDER BY arrival")]
    assert list(map(candidate_seed, stored)) == seen
    assert max(stored) > 2**32 > max(seen)


def test_seeds_are_texts_in_json_and_whole_in_sql(start: Start, tmp_path: Path) -> None:
    """JavaScript reads 2**53 + 1 as 2**53. All rows of a column are texts, so that it has one type."""
    bench = start("budget.evaluations=2")
    root, path = bench.search.tree.root, ("--archive", str(tmp_path / "archive.duckdb"))
    seeds = sorted(map(str, seeds_of(bench)))
    wide = f"SELECT unnest([1, {2**53 + 1}, NULL]) AS a, unnest([1, {2**53}, 3]) AS b, [{-(2**63)}, 3] AS c"
    found = json.loads(archive(tmp_path, wide, "--json", *path).stdout)
    assert [row["a"] for row in found] == ["1", "9007199254740993", None]
    assert [row["b"] for row in found] == [1, 2**53, 3]
    assert found[0]["c"] == ["-9223372036854775808", 3]
    shown = json.loads(archive(tmp_path, "show", root, "--json", *path).stdout)["evaluations"]
    assert sorted(evaluation["seed"] for evaluation in shown) == seeds
    table = archive(tmp_path, "SELECT seed FROM evaluations", *path).stdout
    assert sorted(table.split()[2:]) == seeds
