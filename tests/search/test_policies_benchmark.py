"""The report of ``tests/benchmarks/policies.py``: ranks, critical differences, and searches that a file keeps."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import histories
import policies
from policies_ranks import diagram, ranks
from policies_samplers import TableSearch, sampled

from search.playing.game import Played
from search.playing.tables import nk


def test_critical_difference_is_the_published_one() -> None:
    """Demsar 2006, section 3.2.2: four classifiers on 14 data sets, 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    figures = np.random.default_rng(0).normal(size=(4, 14))
    found = ranks({name: row.tolist() for name, row in zip("abcd", figures, strict=True)})
    assert found.tables == 14
    assert found.difference == pytest.approx(1.25, abs=0.005)


def test_lower_figures_rank_first_and_ties_share_a_rank() -> None:
    found = ranks({"worse": [2.0, 2.0, 5.0], "best": [1.0, 1.0, 1.0], "tied": [2.0, 3.0, 4.0]})
    assert dict(found.mean) == pytest.approx({"best": 1.0, "worse": 2.5, "tied": 2.5})
    assert next(iter(found.mean)) == "best"


def test_policies_that_do_not_differ_are_one_clique() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 40))
    found = ranks({"a": noise[0].tolist(), "b": noise[1].tolist(), "far": [9.0] * 40})
    assert [set(group) for group in found.cliques] == [{"a", "b"}]
    assert found.p < 0.001
    lines = diagram(found).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(found.mean)
    assert ["|" in line for line in lines[1:]] == [True, True, False]


def test_ranks_need_three_policies() -> None:
    with pytest.raises(ValueError, match=r"3 policies and 2 tables at least, and got figures of shape \(2, 2\)"):
        ranks({"a": [1.0, 2.0], "b": [2.0, 1.0]})


def test_kept_searches_are_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[policies.Job] = []

    def run(job: policies.Job) -> tuple[policies.Job, Played]:
        played.append(job)
        return job, Played(np.full(100, -job.seed - 0.25), -0.123456789)

    monkeypatch.setattr(policies, "run", run)
    jobs = [policies.Job("tpe", ("nk", "1"), seed) for seed in (0, 1, 2)]
    file = tmp_path / "results.jsonl"
    policies.run_all(jobs[:2], 1, file)
    results = policies.run_all(jobs, 1, file)
    assert played == jobs
    assert [job for job, _ in results["tpe", 1]] == jobs
    assert [found.best[-1] for _, found in results["tpe", 1]] == [-0.25, -1.25, -2.25]
    assert {found.picked for _, found in results["tpe", 1]} == {-0.123456789}


def test_ranked_by_the_mean_of_each_table_over_seeds() -> None:
    def row(name: str, bests: list[float]) -> list[tuple[policies.Job, Played]]:
        places = [("nk", "1"), ("nk", "1"), ("nk", "2"), ("nk", "2")]
        return [
            (policies.Job(name, place, number % 2), Played(np.array([0.0, best]), 0.0))
            for number, (place, best) in enumerate(zip(places, bests, strict=True))
        ]

    results = {
        ("a", 1): row("a", [-3.0, -1.0, -3.0, -1.0]),
        ("b", 1): row("b", [-4.0, 0.5, -4.0, 0.5]),
        ("c", 1): row("c", [0.0, 0.0, 0.0, 0.0]),
        ("a", 8): row("a", [-9.0] * 4),
    }
    found = policies.ranked(results, policies.best_of)
    assert found is not None
    assert dict(found.mean) == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert policies.ranked({("a", 1): results["a", 1]}, policies.best_of) is None


def test_one_evaluation_in_five_of_a_sampler_fails() -> None:
    search = TableSearch(nk(1, bits=6), 0)
    scores = [search.evaluate((0, 1, 0, 1, 0, 1)) for _ in range(500)]
    assert 0.15 < scores.count(None) / 500 < 0.25
    assert set(search.best[10:]) == {search.percentile((0, 1, 0, 1, 0, 1))}
    assert search.cost_of_failure == max(score for score in scores if score is not None)


def test_a_failure_before_any_score_costs_no_less_than_any_score() -> None:
    """Scores may be above 0 or below it."""
    for offset in (-5.0, 5.0):
        table = replace(nk(1, bits=6), scores=nk(1, bits=6).scores + offset)
        assert TableSearch(table, 0).cost_of_failure == table.scores.max()


def test_a_sampler_hands_over_a_setting_that_it_has_evaluated() -> None:
    found = sampled("tpe", nk(1, bits=6), 0, 30)
    assert len(found.best) == 30
    assert (np.diff(found.best) <= 0).all()
    assert found.picked >= found.best[-1]


def a_history() -> histories.History:
    table = nk(1, bits=3)
    files = {histories.PATH: table.program((0, 0, 0))}
    space = histories.search_space(files, histories.Editable.of(histories._task(table)))
    rows = [((0, 0, 0), -0.5), ((0, 0, 1), -0.9), ((0, 1, 0), None), ((0, 0, 1), -0.5), ((1, 0, 0), -0.8)]
    return histories.History(table, space, 0, rows)


def test_finalists_of_a_history_are_ordered_by_the_mean_of_their_runs() -> None:
    found = a_history()
    assert histories.by_mean(found, 3) == [(0, 0, 1), (0, 0, 0)]
    assert histories.by_mean(found, 5) == [(1, 0, 0), (0, 0, 1), (0, 0, 0)]
    assert set(histories.by_surrogate(found, 5)) == {(1, 0, 0), (0, 0, 1), (0, 0, 0)}
    assert [(one.score, one.runs, one.state) for one in found.observations(4)][1:] == [
        (pytest.approx(-0.7), 2, "scored"),
        (None, 1, "failed"),
    ]


def test_confirm_runs_choose_among_the_finalists_by_true_scores() -> None:
    found, rng = a_history(), np.random.default_rng(0)
    order = histories.by_mean(found, 5)
    assert histories.confirmed(found, order, 1, 2, rng) == found.percentile(order[0])
    assert histories.confirmed(found, order, 3, 400, rng) == min(map(found.percentile, order))


def test_the_gain_of_the_first_proposal_is_what_it_adds_to_the_best_so_far() -> None:
    truth = np.array([-1.0, -3.0, -0.5])
    assert histories._worth(np.array([0.1, 0.9, 0.0]), truth, -2.0).tolist() == pytest.approx([-3.0, -1.0, 1.0])
    assert histories._worth(np.array([0.9, 0.1, 0.0]), truth, -2.0).tolist() == pytest.approx([-1.0, 0.0, 0.5])
