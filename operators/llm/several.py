"""Routing between several models: by weights, or by a bandit on gain per dollar.

The choice is a function of (run, move) and, for the bandit, of the results of each model's moves that were known when
the move was chosen. It is the same after a resume, and for the repair turn of the move.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from archive.records import sha256
from operators.llm.base import CallId, Cost, LanguageModel, LlmError, Prompt, answering


@dataclass(frozen=True)
class ModelCredit:
    """Results of one model's moves that had ended when a move was chosen."""

    moves: int
    """Moves that ended: with a score, a failure, or without a candidate."""
    gain: float
    """Sum of max(0, gain of the child over its best parent), in the metric's unit."""
    best: float
    """Largest of these gains."""
    dollars: float | None
    """Cost of the calls; None if a price is unknown."""


AtThisMove = Callable[[], Mapping[str, ModelCredit]]
Credits = Callable[[str, int], Mapping[str, ModelCredit]]
"""(run, move) -> credit of each model at that move; models without ended moves are absent."""


def no_credits(run: str, move: int) -> Mapping[str, ModelCredit]:
    return {}


class Chooser(Protocol):
    """Chooses one of several models. ``chance``: uniform in [0, 1), drawn for the move."""

    def choose(self, weights: Mapping[str, float], credits: AtThisMove, chance: float) -> str: ...


class Weighted:
    """Draws by weight alone."""

    def choose(self, weights: Mapping[str, float], credits: AtThisMove, chance: float) -> str:
        return _drawn(weights, chance)


class Bandit:
    """Asymmetric UCB on gain per dollar.

    With n_m ended moves of model m, N of all models, G the largest gain, and c_m the mean cost of a move of m:

        index_m = (mean_m(max(0, gain)) / G + exploration * sqrt(2 ln N / n_m)) / c_m

    Asymmetric: a child that is worse than its parent counts 0, since a search keeps only improvements (as in
    ShinkaEvolve, Lange et al. 2025). The division by cost is fractional KUBE, whose bound this is (Tran-Thanh, Chapman,
    Rogers, Jennings: "Knapsack based optimal policies for budget-limited multi-armed bandits", AAAI 2012). Gains are in
    [0, 1] after division by G. Models with fewer than ``first`` ended moves are drawn by weight first.

    c_m is the dollars of the calls plus ``training_dollars``, the value of evaluating a child, so that a free model is
    not asked for ever whatever it gains. A model of unknown price is assumed to cost as much as the dearest known one.
    Moves in flight are not counted: which of them have ended depends on the clock, and a resumed search must choose the
    same.
    """

    def __init__(self, exploration: float = 0.5, training_dollars: float = 0.01, first: int = 3) -> None:
        if exploration < 0 or training_dollars <= 0 or first < 1:
            raise ValueError(
                f"the bandit has exploration {exploration}, training_dollars {training_dollars} and first {first}; "
                "expected at least 0, more than 0, and at least 1"
            )
        self.exploration = exploration
        self.training_dollars = training_dollars
        self.first = first

    def choose(self, weights: Mapping[str, float], credits: AtThisMove, chance: float) -> str:
        known = credits()
        fresh = {name: w for name, w in weights.items() if name not in known or known[name].moves < self.first}
        if fresh:
            return _drawn(fresh, chance)
        index = self.index({name: known[name] for name in weights})
        best = max(index.values())
        return _drawn({name: weights[name] for name, value in index.items() if value == best}, chance)

    def index(self, credits: Mapping[str, ModelCredit]) -> dict[str, float]:
        """Return the index above, for models with at least one ended move each."""
        total = sum(credit.moves for credit in credits.values())
        largest = max(credit.best for credit in credits.values()) or 1.0
        each = {name: _each(credit) for name, credit in credits.items()}
        dearest = max((cost for cost in each.values() if cost is not None), default=0.0)
        found = {}
        for name, credit in credits.items():
            gain = credit.gain / credit.moves / largest
            wide = self.exploration * math.sqrt(2 * math.log(total) / credit.moves)
            cost = each[name]
            found[name] = (gain + wide) / ((dearest if cost is None else cost) + self.training_dollars)
        return found


class ModelRouter:
    """Models by name; one that can no longer be asked is left out."""

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        weights: Mapping[str, float] | None = None,
        choose: Chooser | None = None,
        credits: Credits = no_credits,
    ) -> None:
        """Set up the router.

        Args:
            weights: Relative frequency of each model; 1 if not given, 0 leaves a model out.
            choose: None draws by weight.
            credits: May be set later.

        Raises:
            ValueError: No model, or invalid weights.
        """
        self._models = {name: model for name, model in models.items() if model is not None}
        given = {name: float(weight) for name, weight in (weights or {}).items() if weight is not None}
        self._weights = {name: given.get(name, 1.0) for name in self._models}
        if not self._models:
            raise ValueError("llm.models is empty; expected at least one model by a name of your own")
        if unknown := set(given) - set(models):
            raise ValueError(f"llm.weights names {min(unknown)!r}; the models are {', '.join(sorted(models))}")
        if any(not math.isfinite(w) or w < 0 for w in self._weights.values()) or not any(self._weights.values()):
            raise ValueError(f"llm.weights are {self._weights}; expected numbers of at least 0, and one above it")
        self._weights = {name: weight for name, weight in self._weights.items() if weight > 0}
        self._chooser = choose or Weighted()
        self._closed: dict[str, str] = {}
        self._lock = threading.Lock()
        self.credits = credits
        self.attempts = max(model.attempts for model in self._models.values())
        self.name = " and ".join(self._models[name].name for name in self._weights)

    @property
    def members(self) -> Mapping[str, LanguageModel]:
        """The models that may be drawn."""
        return {name: self._models[name] for name in self._weights}

    def route(self, call_id: CallId) -> tuple[str, LanguageModel]:
        """Return the model for a move, with its name in ``models``."""
        open_ = {name: weight for name, weight in self._weights.items() if name not in self._closed}
        chance = int(sha256(f"model/{call_id.run}/{call_id.move}")[:12], 16) / 16**12
        name = self._chooser.choose(open_ or self._weights, lambda: self.credits(call_id.run, call_id.move), chance)
        return name, self._models[name]

    def close(self, name: str, reason: str) -> bool:
        """Exclude a model. Return whether another one can still be asked."""
        with self._lock:
            self._closed[name] = reason
            return any(member not in self._closed for member in self._weights)

    def max_cost(self, prompt: Prompt) -> Cost:
        """Return the maximum over the models; dollars are None if a price is unknown."""
        costs = [model.max_cost(prompt) for model in self.members.values()]
        dollars = [cost.dollars for cost in costs if cost.dollars is not None]
        return Cost(max(cost.tokens for cost in costs), max(dollars) if len(dollars) == len(costs) else None)

    def check(self) -> str | None:
        """Check all models. Raises the first LlmError, with the model's name in ``models``. Returns their warnings."""
        warnings = []
        for name, model in self.members.items():
            try:
                warning = model.check()
            except LlmError as error:
                error.args = (f"llm.models.{name}: {error}",)
                raise
            warnings += [f"llm.models.{name}: {warning}"] if warning else []
        return " ".join(warnings) or None

    def answering(self) -> int:
        """Count the calls whose answer is arriving."""
        return sum(answering(model) for model in self.members.values())


def _drawn(weights: Mapping[str, float], chance: float) -> str:
    """Draw a name with probability proportional to its weight."""
    names: Sequence[str] = sorted(weights)
    left = chance * sum(weights.values())
    for name in names:
        left -= weights[name]
        if left < 0:
            return name
    return names[-1]


def _each(credit: ModelCredit) -> float | None:
    return None if credit.dollars is None else credit.dollars / credit.moves
