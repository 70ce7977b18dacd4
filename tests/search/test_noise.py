"""The seed deviation: formula, outliers, priors, its interval by simulation, equal figures in search and SQL."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from growing import Growth
from scipy.special import chdtri

from archive.interval import deviation
from archive.noise import LEVEL, NoisePrior, SeedDeviation, chi2_quantile, estimate, task_prior
from archive.query.query import open_reader
from archive.records import Replicate
from archive.storage.store import Archive
from search.claims.statistics import repeats, seed_deviation


def known(groups: list[list[float]], prior: NoisePrior | None = None) -> SeedDeviation:
    found = estimate(groups, prior)
    assert found is not None
    return found


def test_groups_are_weighed_by_their_degrees_of_freedom() -> None:
    groups = [[1.0, 2.0, 3.0], [5.0, 7.0], [4.0]]  # sums of squares 2 (2 degrees of freedom) and 2 (1)
    found = known(groups)
    assert (found.value, found.dof) == (pytest.approx(math.sqrt(4 / 3)), 3)
    assert found.low < found.value < found.high
    assert known(groups, NoisePrior(2.0, 1)).value == pytest.approx(math.sqrt((4 + 4) / 4))
    assert estimate([[1.0], []]) is None
    assert estimate([], NoisePrior(2.0, 4)) is None, "nothing of the run itself"
    assert deviation([2.0]) is None


def test_equal_runs_are_no_proof_that_there_is_no_noise() -> None:
    assert known([[3.0, 3.0, 3.0]]) == SeedDeviation(0.0, 0.0, 0.0, 2)
    assert known([[0.1 + 0.2, 0.3]]).high == 0, "rounding is no noise"
    found = known([[3.0, 3.0, 3.0]], NoisePrior(0.01, 1))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0.005


def test_ties_beside_one_difference_are_no_proof_either() -> None:
    """A score in steps: the difference is no outlier of nothing, which would leave a deviation of 0."""
    found = known([[0.8, 0.8], [0.7, 0.9]])
    assert (found.value, found.dof) == (pytest.approx(0.1), 2)
    assert known([[3.5, 3.52, 1e12]]).low > 0, "nor where the rest is lost to rounding"
    with Archive.in_memory() as archive:
        assert archive.query("SELECT robust_squares(0.02, 0.02, 0, 2)")[0][0] == pytest.approx(2 * found.value**2)


def test_three_runs_that_are_close_by_chance_do_not_decide() -> None:
    """0.0000388 bpb from three runs of the root, where other seeds of the same program show 0.004 to 0.036."""
    lucky = [3.6100388, 3.61, 3.6099612]
    assert deviation(lucky) == pytest.approx(0.0000388)
    found = known([lucky], NoisePrior(0.03 / 3, 1))
    assert 0.004 < found.value < 0.02
    assert found.low > 0.002
    assert found.high > 0.008
    assert "0.0000" not in found.words("bpb")


@pytest.mark.parametrize("prior", [None, NoisePrior(0.01, 1), NoisePrior(0.02, 4)])
def test_one_outlier_does_not_spoil_a_run(prior: NoisePrior | None) -> None:
    scores = [3.50, 3.52, 3.90]
    assert (deviation(scores) or 0) > 0.22
    assert known([scores], prior).value < 0.07
    steady = [[3.4, 3.41], [3.3, 3.31, 3.29], [3.2, 3.21]]
    assert known([scores, *steady], prior).value < 0.04
    assert known([scores, *steady], prior).value < known([[3.5, 3.52, 3.56], *steady], prior).value * 2.5
    far = known([[3.50, 3.52, 390.0], *steady], prior)
    assert far.value == pytest.approx(known([scores, *steady], prior).value, rel=0.2), "however far it is"


def test_the_quantile_is_that_of_chi_square() -> None:
    for free in (2.0, 3.0, 6.0, 30.0):
        assert chi2_quantile(free, 0.9674215661) == pytest.approx(float(chdtri(free, 1 / 6)), rel=0.01)
        assert chi2_quantile(free, -0.9674215661) == pytest.approx(float(chdtri(free, 5 / 6)), rel=0.06)
    assert chi2_quantile(1.0, -0.9674215661) < float(chdtri(1.0, 5 / 6)), "wide, where two runs are all there is"


@pytest.mark.parametrize(("runs", "least"), [(2, 0.64), (3, 0.56), (10, 0.62)])
def test_the_interval_covers_what_it_says(runs: int, least: float) -> None:
    """Without a prior, and with one that is right, three times too small, or three times too large after ten runs."""
    rng, tries = np.random.default_rng(1), 1500
    samples = rng.normal(0, 1.0, (tries, runs))

    def coverage(prior: NoisePrior | None) -> float:
        found = [known([list(sample)], prior) for sample in samples]
        return sum(one.low <= 1.0 <= one.high for one in found) / tries

    assert coverage(None) >= least
    assert coverage(NoisePrior(1.0, 1)) >= LEVEL - 0.01
    assert coverage(NoisePrior(1 / 3, 1)) >= 0.5
    low = np.mean([known([list(sample)], NoisePrior(1.0, 1)).value < 0.25 for sample in samples])
    assert low < 0.001, "a quarter of sigma came out in 20% of two runs and in 6% of three"


def test_all_purposes_are_pooled_and_positions_kept_apart() -> None:
    growth = Growth()
    assert seed_deviation(growth.tree) is None
    root = growth.root(3.0)
    assert seed_deviation(growth.tree) is None
    growth.land(growth.choose(Replicate(root)), 3.2)
    child = growth.child(2.9)
    first = growth.next_move
    for purpose, level in (("confirm", 5.0), ("report", 7.0)):
        for shift in (-0.1, 0.1):
            growth.land(growth.choose(Replicate(child, purpose)), level + shift)  # type: ignore[arg-type]
    found = seed_deviation(growth.tree)
    assert found is not None
    assert (found.value, found.dof) == (pytest.approx(math.sqrt(0.02)), 3), "levels differ, deviations do not"
    searching = seed_deviation(growth.tree, before=first)
    assert searching is not None
    assert searching.dof == 1


@pytest.mark.parametrize("smallest", [None, "nan", -1.0, 0.0, math.inf])
def test_a_task_that_states_no_gain_gives_no_prior(smallest: Any) -> None:
    assert task_prior({"task": {"smallest_gain": smallest}}) is None
    assert task_prior({}) is None
    assert task_prior({"task": "shakespeare"}) is None


@pytest.mark.slow
def test_search_and_sql_have_the_same_figures(start: Callable[..., Any], tmp_path: Path) -> None:
    """The first run has its task's prior, the second that of the first; a resume finds the same prior again."""
    first = start("run=a", "budget.evaluations=40", stub={"fail_every": 9})
    second = start("run=b", stub={"noise": 0.05})
    start("run=a", "budget.evaluations=70")
    again = start("run=b", stub={"noise": 0.05})
    assert first.search.tree.noise_prior == NoisePrior(0.03 / 3, 1)
    assert second.search.tree.noise_prior == again.search.tree.noise_prior
    assert second.search.tree.noise_prior.weight == 4
    sql = "SELECT sigma, low, high, degrees_of_freedom, prior, prior_weight FROM noise WHERE run = 'b'"
    (row,) = open_reader(tmp_path / "archive.duckdb").query(sql).rows
    found, prior = seed_deviation(again.search.tree), again.search.tree.noise_prior
    assert found is not None
    expected = (found.value, found.low, found.high, found.dof, prior.deviation, prior.weight)
    assert row == pytest.approx(expected, rel=1e-9)


def test_words_name_the_interval() -> None:
    assert SeedDeviation(0.0112, 0.0078, 0.0203, 4).words("bpb") == "0.011 bpb (67% interval 0.0078 to 0.02)"
    assert replace(SeedDeviation(0.0, 0.0, 0.0, 2)).words() == "0 (67% interval 0 to 0)"


def test_the_kept_estimate_is_that_of_the_tree_as_it_is() -> None:
    """It is asked several times a move; of a tree with thousands of repeats it took a quarter of a second."""
    rng, growth = np.random.default_rng(1), Growth()
    growth.root(3.5, 3.52)
    children = [growth.child(float(3.4 + 0.01 * rng.normal())) for _ in range(6)]
    for number in range(60):
        node_id = children[int(rng.integers(6))]
        purpose = ("screen", "confirm")[number % 2]
        result = "invalid" if number in (20, 40) else float(3.4 + 0.01 * rng.normal())
        growth.land(growth.choose(Replicate(node_id, purpose)), result, violation=number == 40)  # type: ignore[arg-type]
        assert seed_deviation(growth.tree) == estimate(repeats(growth.tree), growth.tree.noise_prior)
