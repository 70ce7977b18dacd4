"""The trading task: noise gives nothing, the planted signal does, and no rule sees a bar before its position counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gallery import TASKS, cheats_of, judged, module_of, seed_of, task_of

from prepare.scorer import Invalid

Trade = Callable[[int, Any], None]
SCORER = module_of(TASKS / "trading" / "score.py")


def kalman(markets: int, bar: Any) -> None:
    """Trade the steady-state estimate of the drift, with the parameters of the generator."""
    SCORER.follow(bar)


def flat(markets: int, bar: Any) -> None:
    while bar([0.0] * markets) is not None:
        pass


def results(trade: Trade, seed: int) -> Any:
    (found,) = judged("trading", {"trade": trade}, seed=seed)
    return found


@pytest.mark.slow
def test_the_planted_signal_pays_and_noise_does_not() -> None:
    known = task_of("trading").known
    assert known is not None
    ours, best = results(seed_of("trading").trade, 1), results(kalman, 1)
    assert 2.5 < ours.value < best.value < 6
    for each in (ours, best):
        assert each.metrics["noise_low"] < 0 < each.metrics["noise_high"]
        assert each.metrics["sharpe_low"] > 0
    assert known.standing(best.value, maximise=True) == "equals"
    assert best.value == pytest.approx(SCORER.EXPECTED), "luck with the markets is the filter's own"
    assert ours.value == pytest.approx(ours.metrics["sharpe_here"] / best.metrics["sharpe_here"] * SCORER.EXPECTED)


def test_without_positions_nothing_is_gained() -> None:
    assert results(flat, 1).value == 0.0


@pytest.mark.slow
def test_the_filters_expectation_is_what_the_scorer_says() -> None:
    """The mean of 12 seeds, within four standard errors of it: one seed has a deviation of 0.2."""
    found = []
    for seed in range(12):
        market = SCORER.Market(*SCORER.prices_of(np.random.default_rng([seed, 9]), SCORER.BARS, SCORER.STRENGTH))
        SCORER.follow(market)
        found.append(market.ratio[0])
    assert np.mean(found) == pytest.approx(SCORER.EXPECTED, abs=4 * 0.2 / 12**0.5)


def test_prices_follow_the_evaluations_seed() -> None:
    drawn = [SCORER.prices_of(np.random.default_rng([seed, 0]), 50, 0.1)[0] for seed in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_what_positions_earn_is_expected_by_the_drift() -> None:
    prices, expected = SCORER.prices_of(np.random.default_rng(3), 4000, 0.5)
    returns = prices[1:] / prices[:-1] - 1
    noise = returns - expected[1:]
    assert abs(noise.mean()) < 4 * noise.std() / noise.size**0.5
    assert np.corrcoef(returns.ravel(), expected[1:].ravel())[0, 1] > 0.3


def test_a_position_earns_what_comes_after_it() -> None:
    ones = np.ones(SCORER.MARKETS)
    market = SCORER.Market(*(np.array([[a], [b], [c]]) * ones for a, b, c in ((1.0, 2.0, 1.0), (9.0, 0.3, 0.2))))
    assert market(ones)[0] == 1.0  # nothing is earned before the first prices
    assert market(ones)[0] == 2.0
    assert market(-ones)[0] == 1.0
    assert market(ones) is None
    assert market.gross == [1.0, 0.5]
    assert market.expected == pytest.approx([0.3, -0.2])
    assert market.costs == pytest.approx([SCORER.COST, 2 * SCORER.COST])


@pytest.mark.parametrize("path", [path for path in cheats_of("trading") if path.stem != "looks_ahead"])
def test_its_cheats_have_no_score(path: Any) -> None:
    with pytest.raises(Invalid):
        results(module_of(path).trade, 1)


@pytest.mark.slow
def test_looking_ahead_earns_nothing() -> None:
    assert results(module_of(TASKS / "trading" / "cheats" / "looks_ahead.py").trade, 1).value == 0.0


@pytest.mark.parametrize(
    "positions", [None, 0.5, [], [0.0] * 15, [2.0] * 16, [float("nan")] * 16, ["1"] * 16, [True] * 16]
)
def test_what_is_no_position_has_no_score(positions: Any) -> None:
    with pytest.raises(Invalid, match="16 positions"):
        results(lambda markets, bar: bar(positions), 1)


def test_leaving_early_has_no_score() -> None:
    with pytest.raises(Invalid, match="after 0 of"):
        results(lambda markets, bar: None, 1)
