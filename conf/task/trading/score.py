"""Judges a trading rule that is fed one bar at a time: what it has not been shown it cannot look at.

Markets are drawn anew for each evaluation: a slow drift, which can be followed, below much larger noise. Luck is taken
out: positions earn what the drift lets expect, and a filter that knows the generator trades the same markets. The rule
also trades markets of pure noise, where nobody can gain before costs.
"""

import numpy as np

import prepare

MARKETS, WARM_UP, YEAR = 16, 100, 252
BARS, CONTROL_BARS = 3200, 800
COST = 0.0005
PERSISTENCE, STRENGTH = 0.97, 0.15
"""Of the drift: an AR(1) process, and its standard deviation as a share of the noise's."""
SIZE, BAND = 0.6, 0.1
"""Of the filter that knows them: its positions, and the change below which it does not trade."""
EXPECTED = 3.968
"""Its Sharpe ratio, the mean of 1,000 seeds; standard error 0.007."""


def prices_of(rng, bars, strength):
    """Return prices, and the expected returns of positions, [bars, MARKETS]; each market has its own volatility."""
    volatility = rng.uniform(0.005, 0.02, size=MARKETS)
    shocks = rng.normal(size=(bars, MARKETS)) * np.sqrt(1 - PERSISTENCE**2)
    drift = np.zeros(MARKETS)
    noise, signal = rng.normal(size=(2, bars, MARKETS))
    for bar in range(bars):
        signal[bar] = strength * drift
        drift = PERSISTENCE * drift + shocks[bar]
    prices = 100 * np.exp(np.cumsum(volatility * (noise + signal), axis=0))
    return prices, np.expm1(volatility * signal + volatility**2 / 2)


class Market:
    """The service ``bar``: takes the positions that are held until the next prices, and returns these."""

    def __init__(self, prices, expected):
        self.prices, self._expected = prices, expected
        self.shown = 0
        self._held = np.zeros(MARKETS)
        self.gross, self.expected, self.costs = [], [], []

    def __call__(self, positions):
        """Return the next prices; None after the last. Raises Invalid for positions that are none."""
        taken = np.asarray(positions)
        if taken.shape != (MARKETS,) or taken.dtype.kind not in "fiu" or not (np.abs(taken) <= 1).all():
            raise prepare.Invalid(f"bar needs {MARKETS} positions from -1 to 1; got {positions!r:.200}")
        if self.shown == len(self.prices):
            return None
        if self.shown:
            change = self.prices[self.shown] / self.prices[self.shown - 1] - 1
            self.costs.append(COST * float(np.abs(taken - self._held).mean()))
            self.gross.append(float((taken * change).mean()))
            self.expected.append(float((taken * self._expected[self.shown]).mean()))
            self._held = taken.copy()
        self.shown += 1
        return self.prices[self.shown - 1]

    @property
    def ratio(self):
        """The annual Sharpe ratio after costs, with the expected return in place of the mean one, and its error."""
        net, expected = np.subtract(self.gross, self.costs), np.subtract(self.expected, self.costs)
        return sharpe(net, expected[WARM_UP:].mean())


def sharpe(returns, mean=None):
    """Return the annual Sharpe ratio of returns by bar after the warm-up, and its standard error (Lo, 2002)."""
    kept = np.array(returns[WARM_UP:])
    deviation, mean = kept.std(), kept.mean() if mean is None else mean
    daily = float(mean / deviation) if deviation > 0 else 0.0
    return daily * YEAR**0.5, ((1 + daily**2 / 2) / len(kept) * YEAR) ** 0.5


def gain():
    """Return the steady-state gain of the Kalman filter of the drift, in units of the noise (Riccati equation)."""
    added = STRENGTH**2 * (1 - PERSISTENCE**2)
    ahead = (((lost := 1 - PERSISTENCE**2 - added) ** 2 + 4 * added) ** 0.5 - lost) / 2
    return ahead / (ahead + 1)


def follow(bar):
    """Trade with the filter."""
    held, drift, squares, weight = np.zeros(MARKETS), np.zeros(MARKETS), np.full(MARKETS, 1e-4), gain()
    before, count = bar(held), 1
    while (prices := bar(held)) is not None:
        returns, before, count = np.log(prices / before), prices, count + 1
        squares += (returns**2 - squares) / count
        volatility = np.sqrt(squares)
        drift = PERSISTENCE * (drift + weight * (returns / volatility - drift))
        unit = 0.005 / volatility
        wanted = np.clip(SIZE * drift / STRENGTH * unit, -1, 1)
        held = np.where(np.abs(wanted - held) > BAND * unit, wanted, held)


def traded(candidate, market):
    """Return the market after the rule has traded it."""
    candidate.call("trade", MARKETS, services={"bar": market})
    candidate.restart()
    if market.shown < len(market.prices):
        raise prepare.Invalid(f"trade returned after {market.shown} of {len(market.prices)} bars")
    return market


def score(candidate, case):
    """Return the annual Sharpe ratio after costs, times the filter's expected one over its own on these markets."""
    rng = np.random.default_rng([case.seed, ("val", "select", "holdout").index(case.split)])
    drawn = prices_of(rng, BARS, STRENGTH)
    market, reference = traded(candidate, Market(*drawn)), Market(*drawn)
    follow(reference)
    noise = traded(candidate, Market(*prices_of(rng, CONTROL_BARS, 0.0)))
    (ratio, error), (theirs, _) = market.ratio, reference.ratio
    (gross, gross_error), before = sharpe(noise.gross), sharpe(market.gross)[0]
    metrics = {"sharpe_low": ratio - 1.96 * error, "sharpe_high": ratio + 1.96 * error, "sharpe_before_costs": before,
               "sharpe_here": ratio, "filter_here": theirs, "noise_low": gross - 1.96 * gross_error,
               "noise_high": gross + 1.96 * gross_error, "noise_z": gross / gross_error}  # fmt: skip
    words = f"Sharpe {before:.2f} before costs, {ratio:.2f} after (the filter {theirs:.2f}); noise {gross:.2f}"
    return prepare.Score(ratio * EXPECTED / theirs, metrics, words)
