"""The arithmetic of the audit: what is sent, that the score is unbiased, and what a cheat could gain unseen."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from prepare.scoring import Bytes, Floats
from train.language_model import audit
from train.language_model.audit import (
    Expectation,
    SamplingDesign,
    compare,
    could_beat,
    draw,
    expect,
    log_probs_of,
    prior_design,
    sampling_design,
    smallest_sampling_design,
    unseen_after,
)
from train.language_model.ngram import ORDERS, ngram_log_probs

ROWS, CONTEXT = 20, 16
FILLER = bytes([255]) * 1000  # a byte that the rows do not hold


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's randomness, made the same in every test."""
    numbers: Iterator[int] = itertools.count()
    monkeypatch.setattr(os, "urandom", lambda size: next(numbers).to_bytes(size, "little"))


@pytest.fixture
def rows() -> Bytes:
    return np.random.default_rng(5).integers(0, 200, size=(ROWS, CONTEXT + 1)).astype(np.uint8)


def evenly(k: int, rows: int = ROWS, context: int = CONTEXT) -> SamplingDesign:
    return SamplingDesign(k, np.full((rows, context), k / (rows * context)), math.nan)


def unevenly(k: int) -> SamplingDesign:
    weight = np.random.default_rng(8).exponential(size=(ROWS, CONTEXT)) + 0.05
    return SamplingDesign(k, np.minimum(1.0, audit._scale(weight, k) * weight), math.nan)


# ---------------------------------------------------------------- what is sent


def test_a_sent_row_holds_the_real_prefix_and_nothing_of_what_follows(rows: Bytes) -> None:
    plan = draw(rows, FILLER, evenly(15), 8)
    assert len(plan.asked) == 15
    assert plan.rows.shape[1] == CONTEXT
    for sent, (row, position), target in zip(plan.rows[plan.asked], plan.places, plan.targets, strict=True):
        assert np.array_equal(sent[: position + 1], rows[row, : position + 1])
        assert (sent[position + 1 :] == 255).all()
        assert target == rows[row, position + 1]
    others = np.setdiff1d(np.arange(len(plan.rows)), plan.asked)
    assert (plan.rows[others] == 255).all()


def test_the_rows_themselves_are_not_changed(rows: Bytes) -> None:
    before = rows.copy()
    draw(rows, FILLER, evenly(50), 8)
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("k", [1, 15, 80, ROWS * CONTEXT])
def test_every_batch_has_the_same_shape_and_no_row_twice(rows: Bytes, k: int) -> None:
    plan = draw(rows, FILLER, evenly(k), 8)
    covered = 0
    for batch in plan.batches():
        assert plan.rows[batch].shape == (8, CONTEXT)
        asked = plan.places[(plan.asked >= batch.start) & (plan.asked < batch.stop), 0]
        assert len(set(asked)) == len(asked)
        covered += len(asked)
    assert covered == k == len(plan.places)


def test_a_row_that_comes_again_comes_later_with_a_longer_prefix(rows: Bytes) -> None:
    """Else a model that remembers what it was sent would know the byte that it is asked for."""
    plan = draw(rows, FILLER, unevenly(120), 8)
    for row in range(ROWS):
        seats = plan.asked[plan.places[:, 0] == row]
        positions = plan.places[plan.places[:, 0] == row, 1]
        assert (np.diff(positions) > 0).all()
        assert (np.diff(seats // 8) > 0).all()


def test_few_rows_are_sent_for_nothing(rows: Bytes) -> None:
    assert len(draw(rows, FILLER, evenly(64), 8).rows) <= 64 + 4 * 8
    assert len(draw(rows, FILLER, evenly(8), 8).rows) <= 8 + 3 * 8


# ---------------------------------------------------------------- the draw


def test_every_position_is_drawn_as_often_as_its_chance_says() -> None:
    chances = unevenly(60).chances.ravel()
    assert chances.max() == 1.0  # some are certain
    assert chances.sum() == pytest.approx(60)
    rng, tries = np.random.default_rng(1), 4000
    draws = [audit._pivotal_sample(chances, rng) for _ in range(tries)]
    assert {len(set(each)) for each in draws} == {60}
    often = np.bincount(np.concatenate(draws), minlength=chances.size) / tries
    assert (np.abs(often - chances) <= 5 * np.sqrt(chances * (1 - chances) / tries)).all()


def test_a_set_is_missed_no_more_often_than_independent_draws_would() -> None:
    """The design is negatively associated: P(F is missed) <= prod (1 - chance) <= exp(-sum of chances)."""
    chances, rng, tries = unevenly(60).chances.ravel(), np.random.default_rng(2), 3000
    draws = [set(audit._pivotal_sample(chances, rng).tolist()) for _ in range(tries)]
    usual = np.flatnonzero(chances < 1)
    for seed in range(5):
        part = np.random.default_rng(seed).choice(usual, size=12, replace=False)
        missed = sum(not found.intersection(part.tolist()) for found in draws) / tries
        alone = float(np.prod(1 - chances[part]))
        assert missed <= alone + 4 * math.sqrt(alone * (1 - alone) / tries)
        assert alone <= math.exp(-chances[part].sum())


def test_the_parent_normalises_by_itself() -> None:
    logits = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32) * 50
    targets = np.array([4, 0, 2])
    expected = [
        float(row[t]) - math.log(np.exp(row.astype(np.float64)).sum()) for row, t in zip(logits, targets, strict=True)
    ]
    assert log_probs_of(logits, targets) == pytest.approx(expected)
    assert log_probs_of(logits + np.float32(1000), targets) == pytest.approx(expected, abs=1e-3)
    logits[0, 4] = np.inf
    assert np.isnan(log_probs_of(logits, targets)[0])


def test_the_logits_of_the_positions_that_count_are_read(rows: Bytes) -> None:
    plan = draw(rows, FILLER, evenly(30), 8)
    logits = np.random.default_rng(3).normal(size=(len(plan.rows), CONTEXT, 256)).astype(np.float32)
    at_revealed = logits[np.arange(len(logits)), plan.revealed]
    audited = np.concatenate([plan.read(batch, at_revealed[batch]) for batch in plan.batches()])
    assert np.array_equal(audited, log_probs_of(logits[plan.asked, plan.places[:, 1]], plan.targets))


# ---------------------------------------------------------------- the verdict


def at(values: Floats, plan: audit.Plan) -> Floats:
    return values[plan.places[:, 0], plan.places[:, 1]].copy()


@pytest.mark.slow
@pytest.mark.parametrize("design", [evenly(30), unevenly(30)], ids=["even", "uneven"])
def test_the_score_is_unbiased_whatever_is_claimed(rows: Bytes, design: SamplingDesign) -> None:
    """mean(claimed) + correction over many audits is the honest mean, for claims of pure fiction."""
    honest = -np.random.default_rng(3).exponential(2.0, size=(ROWS, CONTEXT))
    claims = -np.random.default_rng(4).exponential(0.5, size=(ROWS, CONTEXT))
    estimates = []
    for _ in range(2000):
        plan = draw(rows, FILLER, design, 8)
        result, reason = compare(claims, plan, at(honest, plan), 2e-3)
        assert reason is not None
        estimates.append(claims.mean() + result.correction)
    error = np.std(estimates) / math.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(honest.mean(), abs=4 * error)
    assert abs(claims.mean() - honest.mean()) > 20 * error  # the test could have seen a bias


@pytest.mark.parametrize("wrong", [0.01, -0.01, math.nan, math.inf, -math.inf])
def test_one_position_that_differs_is_enough(rows: Bytes, wrong: float) -> None:
    honest = np.full((ROWS, CONTEXT), -2.0)
    plan = draw(rows, FILLER, evenly(12), 8)
    audited = at(honest, plan)
    audited[5] += wrong
    result, reason = compare(honest, plan, audited, 2e-3)
    assert reason is not None
    assert "the audit disagrees" in reason
    assert result.worst == pytest.approx(abs(wrong)) or math.isinf(result.worst)


# ---------------------------------------------------------------- what a cheat could gain unseen

LARGE, LONG = 128, 64  # evaluation rows for the simulations
K = 512


@pytest.fixture(scope="module")
def honest() -> Floats:
    """Claims of a made-up honest model: what a trigram gives, and a heavy-tailed opinion of its own."""
    return _honest_claims(*_world())


def _world() -> tuple[Floats, np.random.Generator]:
    rng = np.random.default_rng(77)
    after = rng.dirichlet(np.full(24, 0.15), size=(24, 24))
    text = [0, 1]
    for u in rng.random(60_000).tolist():
        text.append(int(np.searchsorted(np.cumsum(after[text[-2], text[-1]])[:-1], u)))
    letters = np.array(text, np.uint8) + 97
    rows = letters[-LARGE * (LONG + 1) :].reshape(LARGE, LONG + 1)
    return ngram_log_probs([letters[: -LARGE * (LONG + 1)]], rows), rng


def _honest_claims(reference: Floats, rng: np.random.Generator) -> Floats:
    opinion = 0.3 * np.abs(reference[1]) * (rng.normal(size=(LARGE, LONG)) - rng.exponential(0.8, size=(LARGE, LONG)))
    return np.minimum(0.8 * reference[2] + 0.2 * reference[1] + opinion, -1e-3)


@pytest.fixture(scope="module")
def reference() -> Floats:
    return _world()[0]


Lift = Callable[[Floats, Expectation], tuple[Floats, Floats]]
"""(honest values, what is expected of them) -> (false values, how soon each position is falsified: highest first)."""


def to_zero(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    """The positions where most is to be won."""
    return np.zeros_like(honest), -honest


def to_the_median(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    """Where the model is unluckiest, lifted to what is usual: nothing about the claim looks odd."""
    return np.maximum(honest, expected.median), expected.median - honest


def to_the_floor(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    """As little as is least looked at."""
    depth = audit._DEPTH * math.log(K) * expected.spread
    floor = expected.median - depth
    return np.minimum(np.maximum(honest + 0.01, floor + 0.25 * depth), 0.0), floor - honest


def anywhere(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    return np.zeros_like(honest), np.random.default_rng(0).random(honest.shape)


def columns(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    """The same few columns of every row."""
    return np.zeros_like(honest), np.broadcast_to(-np.arange(LONG, dtype=float), honest.shape)


def whole_rows(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    return np.zeros_like(honest), np.broadcast_to(-np.arange(LARGE, dtype=float)[:, None], honest.shape)


def by_a_little(honest: Floats, expected: Expectation) -> tuple[Floats, Floats]:
    """Everywhere five tolerances better."""
    return np.minimum(honest + 0.01, 0.0), np.random.default_rng(1).random(honest.shape)


AT_NIGHT = (to_the_floor, anywhere, columns, whole_rows)
CHEATS = [to_zero, to_the_median, by_a_little, *(pytest.param(cheat, marks=pytest.mark.nightly) for cheat in AT_NIGHT)]


def falsify(honest: Floats, reference: Floats, lift: Lift, budget: float) -> tuple[Floats, Floats, SamplingDesign]:
    """(claims, which are false, how they are suspected): as many false ones as make a sum of chances of ``budget``."""
    values, eagerness = lift(honest, expect(honest, reference))
    order = np.argsort(-eagerness, axis=None)
    fewest, most = 0, order.size
    while fewest < most:  # the chances follow from the claims, so the number is searched for
        count = (fewest + most + 1) // 2
        claims = honest.copy()
        claims.flat[order[:count]] = values.flat[order[:count]]
        design = sampling_design(expect(claims, reference), K)
        if design.chances[claims != honest].sum() > budget:
            most = count - 1
        else:
            fewest = count
    claims = honest.copy()
    claims.flat[order[:fewest]] = values.flat[order[:fewest]]
    return claims, claims != honest, sampling_design(expect(claims, reference), K)


def missed(false: Floats, chances: Floats, tries: int = 400) -> float:
    rng, flat = np.random.default_rng(6), false.ravel()
    return sum(not flat[audit._pivotal_sample(chances.ravel(), rng)].any() for _ in range(tries)) / tries


@pytest.mark.slow
@pytest.mark.parametrize("lift", CHEATS)
def test_a_cheat_at_the_bound_gains_no_more_than_it_says(honest: Floats, reference: Floats, lift: Lift) -> None:
    """With pi(F) = 3 it is missed in 5% of audits, and what it has gained is below ``unseen``: the two halves of it."""
    claims, false, design = falsify(honest, reference, lift, -math.log(0.05))
    assert false.any()
    tolerated = 4 * math.sqrt(0.05 * 0.95 / 400)
    assert missed(false, design.chances) <= 0.05 + tolerated
    gain = float((claims - honest).mean()) / math.log(2)
    assert 0 < gain <= design.unseen


@pytest.mark.slow
@pytest.mark.parametrize("lift", CHEATS)
def test_a_cheat_above_the_bound_is_seen(honest: Floats, reference: Floats, lift: Lift) -> None:
    _, false, design = falsify(honest, reference, lift, 7.0)
    assert missed(false, design.chances) <= 0.01


@pytest.mark.slow
def test_uniform_draws_would_leave_more(honest: Floats, reference: Floats) -> None:
    """Why the chances follow the claims: the positions where a model does worst are few, and worth most."""
    uniform = np.full(honest.shape, K / honest.size)
    worst = np.argsort(honest, axis=None)[: int(3 / uniform[0, 0])]
    claims = honest.copy()
    claims.flat[worst] = 0.0
    assert missed(claims != honest, uniform) > 0.02
    gain = float((claims - honest).mean()) / math.log(2)
    assert gain > 1.3 * sampling_design(expect(honest, reference), K).unseen  # three times, on the default task
    assert missed(claims != honest, sampling_design(expect(claims, reference), K).chances) <= 0.02


@pytest.mark.parametrize("lift", CHEATS)
def test_an_audit_before_the_claims_leaves_no_more_than_it_says(honest: Floats, reference: Floats, lift: Lift) -> None:
    """Its probabilities do not know the claims, so it leaves more; the worst choice of positions is reckoned with."""
    design = prior_design(reference, K)
    assert design.chances.sum() == pytest.approx(K)
    values, eagerness = lift(honest, expect(honest, reference))
    order = np.argsort(-eagerness / design.chances, axis=None)
    used = np.cumsum(design.chances.ravel()[order])
    false = order[: int(np.searchsorted(used, -math.log(0.05)))]
    claims = honest.copy()
    claims.flat[false] = values.flat[false]
    assert missed(claims != honest, design.chances) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 400)
    expected = expect(claims, reference)
    unseen = unseen_after(expected, design)
    assert 0 < float((claims - honest).mean()) / math.log(2) <= unseen
    assert unseen > sampling_design(expected, K).unseen


def test_what_a_design_leaves_unseen_agrees_with_the_design_of_the_claims(honest: Floats, reference: Floats) -> None:
    design = sampling_design(expect(honest, reference), K)
    assert unseen_after(expect(honest, reference), design) == pytest.approx(design.unseen, rel=0.02)


def test_more_positions_leave_less_unseen(honest: Floats, reference: Floats) -> None:
    expected = expect(honest, reference)
    left = [sampling_design(expected, k).unseen for k in (64, 256, 1024, 4096, honest.size, 10 * honest.size)]
    assert left == sorted(left, reverse=True)
    assert left[-2:] == [0.0, 0.0]
    assert sampling_design(expected, 10 * honest.size).k == honest.size


def test_the_smallest_audit_that_is_enough_is_chosen(honest: Floats, reference: Floats) -> None:
    expected = expect(honest, reference)
    hidden = sampling_design(expected, 1000).unseen
    assert smallest_sampling_design(expected, hidden, 64, 4096).k == pytest.approx(1000, abs=3)
    assert smallest_sampling_design(expected, 1e-9, 64, 300).k == 300
    assert smallest_sampling_design(expected, 10.0, 64, 300).k == 64
    assert smallest_sampling_design(expected, 1e-9, 64, 10).k == 64


@pytest.mark.parametrize("value", [-math.log(256), -1e-9, 0.0, -700.0])
def test_claims_that_are_all_alike_are_drawn_evenly(reference: Floats, value: float) -> None:
    design = sampling_design(expect(np.full((LARGE, LONG), value), reference), K)
    assert design.chances == pytest.approx(np.full((LARGE, LONG), K / (LARGE * LONG)), rel=1e-6)


def test_no_position_is_out_of_reach(honest: Floats, reference: Floats) -> None:
    """The estimate divides by the chance; and what looks too bad to be false may be false as well."""
    chances = sampling_design(expect(honest, reference), K).chances
    assert chances.sum() == pytest.approx(K)
    assert chances.min() > 0.1 * K / honest.size


def test_an_offset_within_the_tolerance_is_taken_back(honest: Floats, reference: Floats) -> None:
    """It is never seen, and so always corrected: its mean is gone, and the scatter is what the docstring says."""
    tolerance = 2e-3
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 200, size=(LARGE, LONG + 1)).astype(np.uint8)
    offset = rng.uniform(0, tolerance, size=honest.shape)
    claims = np.minimum(honest + offset, 0.0)
    design = sampling_design(expect(claims, reference), K)
    left = []
    for _ in range(100):
        plan = draw(rows, FILLER, design, 16)
        result, reason = compare(claims, plan, at(honest, plan), tolerance)
        assert reason is None
        left.append(float((claims - honest).mean()) + result.correction)
    assert abs(np.mean(left)) <= 4 * np.std(left) / math.sqrt(len(left))
    assert np.std(left) <= 1.2 * tolerance / math.sqrt(K)


def test_claims_made_a_little_worse_do_not_duck_the_audit_of_a_leader() -> None:
    """Within the tolerance they are never seen, and the correction would lift the score over the bar again."""
    worse = 2e-3 / math.log(2)
    assert could_beat(3.5, 3.5 - 1e-6 + worse, 2e-3, "minimise")
    assert not could_beat(3.5, 3.5 + 2 * worse, 2e-3, "minimise")
    assert could_beat(0.5, 0.5 + 1e-6 - worse, 2e-3, "maximise")
    assert not could_beat(0.5, 0.5 - 2 * worse, 2e-3, "maximise")


# ---------------------------------------------------------------- the yardstick


def test_the_yardstick_is_better_with_longer_contexts(reference: Floats) -> None:
    bits = -reference.mean(axis=(1, 2)) / math.log(2)
    assert bits[0] > bits[1] > bits[2]
    assert reference.shape == (ORDERS, LARGE, LONG)
    assert (reference < 0).all()


def test_the_yardstick_counts(rows: Bytes) -> None:
    """By hand: 'b' follows 'a' twice in three times, and 'a' is three bytes of seven."""
    text = np.frombuffer(b"abacaba", np.uint8)
    found = np.exp(ngram_log_probs([text], np.frombuffer(b"ab", np.uint8).reshape(1, 2))[:, 0, 0])
    alone = (2 + 5 / 256) / (7 + 5)
    assert found[0] == pytest.approx(alone)
    assert found[1] == pytest.approx((2 + 5 * alone) / (3 + 5))
    assert found[2] == found[1]  # one byte of context is all that the row has
    assert ngram_log_probs([text[:2]], rows).shape == (ORDERS, ROWS, CONTEXT)
