"""The arithmetic of the audit: positions, batches, unbiasedness, what a cheat could gain unseen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from train.audit import audited_log_probs, compare, draw, unseen_gain

ROWS, CONTEXT = 20, 16
FILLER = bytes([255]) * 1000  # a byte that the rows do not hold


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 200, size=(ROWS, CONTEXT + 1)).astype(np.uint8)


def test_a_sent_row_holds_the_real_prefix_and_nothing_of_what_follows(rows: np.ndarray) -> None:
    plan = draw(rows, FILLER, 15)
    assert plan.rows.shape == (15, CONTEXT)
    for sent, (row, position), target in zip(plan.rows, plan.places, plan.targets, strict=True):
        assert np.array_equal(sent[: position + 1], rows[row, : position + 1])
        assert (sent[position + 1 :] == 255).all()
        assert target == rows[row, position + 1]


def test_the_rows_themselves_are_not_changed(rows: np.ndarray) -> None:
    before = rows.copy()
    draw(rows, FILLER, 50)
    assert np.array_equal(rows, before)


def test_no_row_comes_twice_before_all_came_once(rows: np.ndarray) -> None:
    places = draw(rows, FILLER, 3 * ROWS + 7).places[:, 0]
    for turn in range(3):
        assert sorted(places[turn * ROWS : (turn + 1) * ROWS]) == list(range(ROWS))
    assert len(set(places[3 * ROWS :])) == 7


def test_a_row_that_comes_again_comes_with_a_longer_prefix(rows: np.ndarray) -> None:
    """Else a model that remembers what it was sent would know the byte that it is asked for."""
    plan = draw(rows, FILLER, 4 * ROWS)
    for row in range(ROWS):
        positions = plan.places[plan.places[:, 0] == row, 1]
        assert (np.diff(positions) >= 0).all()


def test_no_batch_holds_a_row_twice(rows: np.ndarray) -> None:
    plan = draw(rows, FILLER, 3 * ROWS + 7)
    batches = list(plan.batches(8))
    for batch in batches:
        assert len(set(plan.places[batch, 0])) == batch.stop - batch.start <= 8
    covered = [i for batch in batches for i in range(batch.start, batch.stop)]
    assert covered == list(range(len(plan.rows)))


def test_every_position_is_asked_for_about_equally_often(rows: np.ndarray) -> None:
    positions = np.concatenate([draw(rows, FILLER, 2 * ROWS).places[:, 1] for _ in range(400)])
    counts = np.bincount(positions, minlength=CONTEXT)
    expected = len(positions) / CONTEXT
    assert (np.abs(counts - expected) < 6 * math.sqrt(expected)).all()


def test_the_parent_normalises_by_itself() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32) * 50
    positions, targets = np.array([0, 3, 1]), np.array([4, 0, 2])
    expected = [
        float(logits[i, p, t]) - math.log(np.exp(logits[i, p].astype(np.float64)).sum())
        for i, (p, t) in enumerate(zip(positions, targets, strict=True))
    ]
    assert audited_log_probs(logits, positions, targets) == pytest.approx(expected)
    assert audited_log_probs(logits + np.float32(1000), positions, targets) == pytest.approx(expected, abs=1e-3)
    logits[0, 0, 4] = np.inf
    assert np.isnan(audited_log_probs(logits, positions, targets)[0])


def test_the_score_is_unbiased_whatever_is_claimed(rows: np.ndarray) -> None:
    """mean(claimed) + mean(audited - claimed) over many audits is the honest mean, for claims of pure fiction."""
    honest = -np.random.default_rng(3).exponential(2.0, size=(ROWS, CONTEXT))
    claims = -np.random.default_rng(4).exponential(0.5, size=(ROWS, CONTEXT))
    estimates = []
    for _ in range(3000):
        plan = draw(rows, FILLER, 30)
        audited = honest[plan.places[:, 0], plan.places[:, 1]]
        result, reason = compare(claims, plan, audited, 2e-3)
        assert reason is not None
        estimates.append(claims.mean() + result.correction)
    error = np.std(estimates) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(honest.mean(), abs=5 * error)
    assert abs(claims.mean() - honest.mean()) > 20 * error  # the test could have seen a bias


def test_a_difference_within_the_tolerance_is_corrected_too(rows: np.ndarray) -> None:
    honest = np.full((ROWS, CONTEXT), -2.0)
    plan = draw(rows, FILLER, 10)
    result, reason = compare(honest + 1e-3, plan, honest[plan.places[:, 0], plan.places[:, 1]], 2e-3)
    assert reason is None
    assert result.correction == pytest.approx(-1e-3)


@pytest.mark.parametrize("wrong", [0.01, -0.01, math.nan, math.inf, -math.inf])
def test_one_position_that_differs_is_enough(rows: np.ndarray, wrong: float) -> None:
    honest = np.full((ROWS, CONTEXT), -2.0)
    plan = draw(rows, FILLER, 12)
    audited = honest[plan.places[:, 0], plan.places[:, 1]].copy()
    audited[5] += wrong
    result, reason = compare(honest, plan, audited, 2e-3)
    assert reason is not None
    assert "the audit disagrees" in reason
    assert result.worst == pytest.approx(abs(wrong)) or math.isinf(result.worst)


def test_a_cheat_is_caught_as_often_as_it_says(rows: np.ndarray) -> None:
    """A share f = 1 - 0.05^(1/K) of falsified positions goes unseen in 5% of audits; ``unseen_gain`` is built on it."""
    k = 40
    share = 1 - 0.05 ** (1 / k)
    rng = np.random.default_rng(9)
    unseen = 0
    for _ in range(2000):
        false = rng.random((ROWS, CONTEXT)) < share
        plan = draw(rows, FILLER, k)
        unseen += not false[plan.places[:, 0], plan.places[:, 1]].any()
    assert unseen / 2000 == pytest.approx(0.05, abs=0.02)


def test_the_unseen_gain_in_bits() -> None:
    assert unseen_gain(1024, 0.0, 2.0) == pytest.approx(2.0 * 3.0 / 1024 / math.log(2), rel=0.01)
    assert unseen_gain(1024, 2e-3, 0.0) == pytest.approx(2e-3 / math.log(2))
    assert unseen_gain(2048, 0.0, 2.0) < unseen_gain(1024, 0.0, 2.0)
